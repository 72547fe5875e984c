"""Reads of whole resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast, overload

from polars_edfi import _native
from polars_edfi._base import ClientBase, warn
from polars_edfi._signatures import with_options
from polars_edfi.options import BatchGetAllOptions, GetAllOptions

if TYPE_CHECKING:
    import polars as pl


class GetAllResult(TypedDict):
    """What became of ``get_all``; after an error ``data`` is ``None``, which its type leaves out.

    Otherwise every use of it would have to be checked twice, by ``status`` and for a type checker.
    """

    key: object
    status: str | None
    message: str | None
    data: pl.DataFrame
    http_status: int | None
    correlation_id: str | None


class Reads(ClientBase):
    """The calls that read every record of a resource."""

    @with_options("get_all", GetAllOptions)
    def get_all(self, *, key: object, **options: Unpack[GetAllOptions]) -> GetAllResult:
        """Read every record of one resource of the client's own ODS.

        Parameters
        ----------
        key
            Given back in the result.
        **options
            Those of :class:`polars_edfi.options.GetAllOptions`.

        Returns
        -------
        dict
            ``key``, ``status`` (``None`` or ``"error"``), ``message``, ``data`` (a flat DataFrame,
            one row per record; ``None`` after an error: never half of the records),
            ``http_status`` and ``correlation_id``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or an argument is wrong.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=12) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     runner = edfi.Resource(
        ...         "ed-fi/schools", base_url=url, client_id=key, client_secret=secret
        ...     )
        ...     result = runner.get_all(key="255901")
        >>> result["status"], "schoolId" in result["data"].columns
        (None, True)
        """
        call = self._call()
        data, message, http_status, correlation_id = _native.get_all(self._native, call, **options)
        warn(call, stacklevel=3)
        return {
            "key": key,
            "status": None if data is not None else "error",
            "message": message,
            "data": cast("pl.DataFrame", data),
            "http_status": http_status,
            "correlation_id": correlation_id,
        }

    @overload
    def batch_get_all(
        self, df: pl.DataFrame, *, key_col: str, **options: Unpack[BatchGetAllOptions]
    ) -> pl.DataFrame: ...

    @overload
    def batch_get_all(
        self, df: pl.DataFrame, *, key_col: Any, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_get_all", BatchGetAllOptions)
    def batch_get_all(self, df: pl.DataFrame, *, key_col: str, **options: Any) -> pl.DataFrame:
        """Read every record of one resource from each district of a frame.

        Parameters
        ----------
        df
            One row per district, or more: each distinct ``key_col`` is visited once, with its
            first row. Blank keys are skipped and counted in a log line; a key that comes back with
            another URL or API version is an error row.
        key_col
            What tells districts apart; it is the first column of the result.
        **options
            Those of :class:`polars_edfi.options.BatchGetAllOptions`.

        Returns
        -------
        DataFrame
            ``key_col`` (as in ``df``), ``status`` (String: null, or ``"error"``), ``message``
            (String), ``http_status`` (Int32), ``correlation_id`` (String), then the flattened
            records, one row per record, columns in first-seen order. Values of one property that do
            not agree in type become String: texts as they are, others as JSON. A district that
            failed is one row; half a district is never returned. A property whose name is taken is
            kept as ``<name>_record``. A record that was read twice is kept once.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError
            A named column is not there.
        polars.exceptions.SchemaError
            A column has a type that it cannot have.
        EdFiError
            An argument is wrong. All of these before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, within half a second, with all rows in ``rows``: unfinished districts are
            error rows. The same holds for whatever a signal handler raises.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901", "255902"], records=10) as ods:
        ...     records = edfi.StudentAssessment().batch_get_all(
        ...         ods.districts(),
        ...         key_col="District BK",
        ...         auth_key_col="oAuthKey",
        ...         auth_secret_col="oAuthSecret",
        ...         oauth_endpoint="oauth/token",
        ...     )
        >>> records.group_by("District BK").len().sort("District BK").rows()
        [('255901', 10), ('255902', 10)]
        """
        return self._batch(_native.batch_get_all, df, key_col=key_col, **options)
