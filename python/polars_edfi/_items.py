"""Single items: read and deleted by id, and their ids found by key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast, overload

from polars_edfi import _native
from polars_edfi._base import ClientBase
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind
from polars_edfi._signatures import with_options
from polars_edfi.options import (
    BatchDeleteOptions,
    BatchFindIdsOptions,
    BatchGetByIdOptions,
    DeleteOptions,
    EndpointOption,
)

if TYPE_CHECKING:
    import polars as pl


class GetByIdResult(TypedDict):
    """What became of ``get_by_id``; after an error ``data`` is ``None``, as for ``get_all``."""

    id: str
    status: str | None
    message: str | None
    data: dict[str, Any]
    http_status: int | None
    correlation_id: str | None


class DeleteResult(TypedDict):
    """What became of ``delete_by_id``."""

    id: str
    key: object
    status: str | None
    message: str | None
    http_status: int | None
    correlation_id: str | None


class Items(ClientBase):
    """The calls that take ids, or find them."""

    @with_options("get_by_id", EndpointOption)
    def get_by_id(self, resource_id: str, **options: Unpack[EndpointOption]) -> GetByIdResult:
        """Read one item of the client's own ODS.

        Parameters
        ----------
        resource_id
            The item's id.
        **options
            Those of :class:`polars_edfi.options.EndpointOption`.

        Returns
        -------
        dict
            ``id``, ``status`` (``None`` or ``"error"``), ``message``, ``data`` (the item as a dict,
            or ``None``), ``http_status`` and ``correlation_id``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or an argument is wrong.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=4) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     students = edfi.Resource(
        ...         "ed-fi/students", base_url=url, client_id=key, client_secret=secret
        ...     )
        ...     first = students.get_all(key="x")["data"]["id"][0]
        ...     item, nothing = students.get_by_id(first), students.get_by_id("nobody")
        >>> item["data"]["id"] == first, nothing["status"], nothing["http_status"]
        (True, 'error', 404)
        """
        text, message, http_status, correlation_id = _native.get_by_id(
            self._native, self._call(), _id(resource_id), **options
        )
        data = None
        if text is not None:
            try:
                data = json.loads(text)
            except (ValueError, RecursionError):
                message = f"HTTP {http_status} OK: the item holds a number that is too long"
        return {
            "id": resource_id,
            "status": None if data is not None else "error",
            "message": message,
            "data": cast("dict[str, Any]", data),
            "http_status": http_status,
            "correlation_id": correlation_id,
        }

    @overload
    def batch_get_by_id(
        self, df: pl.DataFrame, *, id_col: str, **options: Unpack[BatchGetByIdOptions]
    ) -> pl.DataFrame: ...

    @overload
    def batch_get_by_id(
        self, df: pl.DataFrame, *, id_col: Any, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_get_by_id", BatchGetByIdOptions)
    def batch_get_by_id(self, df: pl.DataFrame, *, id_col: str, **options: Any) -> pl.DataFrame:
        """Read the item of each row.

        Parameters
        ----------
        df
            One row per item, each with its own credentials.
        id_col
            The items' ids. A null or blank one is an error row.
        **options
            Those of :class:`polars_edfi.options.BatchGetByIdOptions`.

        Returns
        -------
        DataFrame
            One row per row that took part, in input order: ``id`` (as in ``df``, trimmed),
            ``status`` (String: null or ``"error"``), ``message`` (String), ``http_status`` (Int32),
            ``correlation_id`` (String), ``row_index`` (the position in ``df``), ``row_id``, and
            ``data`` (Struct, null where there is no item; without a ``schema`` Null where no row
            has one) or its flattened columns.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=4) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     runner = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        ...     ids = runner.get_all(key="x")["data"].select("id")
        ...     out = runner.batch_get_by_id(ids, id_col="id", flatten=True)
        >>> out["status"].null_count(), "studentReference.studentUniqueId" in out.columns
        (4, True)
        """
        return self._batch(_native.batch_get_by_id, df, id_col=id_col, **options)

    @with_options("delete_by_id", DeleteOptions)
    def delete_by_id(
        self, resource_id: str, *, key: object, **options: Unpack[DeleteOptions]
    ) -> DeleteResult:
        """Delete one item of the client's own ODS.

        Parameters
        ----------
        resource_id
            The item's id.
        key
            Given back in the result.
        **options
            Those of :class:`polars_edfi.options.DeleteOptions`.

        Returns
        -------
        dict
            ``id``, ``key``, ``status`` (``"deleted"``, ``"error"`` or ``"dry_run"``), ``message``,
            ``http_status`` and ``correlation_id``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or an argument is wrong.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> runner = edfi.Resource("ed-fi/students", base_url="http://127.0.0.1:1")
        >>> runner.delete_by_id("0a13ceb8", key=1)["status"]
        'dry_run'
        """
        answer = _native.delete_by_id(self._native, self._call(), _id(resource_id), **options)
        return {
            "id": resource_id,
            "key": key,
            "status": answer["status"],
            "message": answer["message"],
            "http_status": answer["http_status"],
            "correlation_id": answer["correlation_id"],
        }

    @overload
    def batch_delete_by_id(
        self, df: pl.DataFrame, *, id_col: str, key_col: str, **options: Unpack[BatchDeleteOptions]
    ) -> pl.DataFrame: ...

    @overload
    def batch_delete_by_id(
        self, df: pl.DataFrame, *, id_col: Any, key_col: Any, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_delete_by_id", BatchDeleteOptions)
    def batch_delete_by_id(
        self,
        df: pl.DataFrame,
        *,
        id_col: str,
        key_col: str,
        **options: Any,
    ) -> pl.DataFrame:
        """Delete the item of each row.

        Parameters
        ----------
        df
            One row per item, each with its own credentials.
        id_col
            The items' ids. A null or blank one is an error row.
        key_col
            A column that comes back as ``key``.
        **options
            Those of :class:`polars_edfi.options.BatchDeleteOptions`.

        Returns
        -------
        DataFrame
            One row per row that took part, in input order: ``id`` and ``key`` (as in ``df``,
            trimmed), ``status`` (String: ``"deleted"``, ``"error"`` or ``"dry_run"``), ``message``
            (String), ``http_status`` (Int32), ``correlation_id`` (String), ``row_index`` (the
            position in ``df``) and ``row_id``.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``.

        Notes
        -----
        A delete whose connection broke is sent again; if the item is gone then, it is
        ``"deleted"``.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> df = pl.DataFrame({"id": ["0a13ceb8", None], "k": [1, 2]})
        >>> runner = edfi.Resource("ed-fi/students", base_url="http://127.0.0.1:1")
        >>> planned = runner.batch_delete_by_id(df, id_col="id", key_col="k")
        >>> planned.select("status", "message").rows()
        [('dry_run', None), ('error', "missing 'id'")]
        """
        return self._batch(
            _native.batch_delete_by_id, df, id_col=id_col, key_col=key_col, **options
        )

    @overload
    def batch_find_ids(
        self, df: pl.DataFrame, **options: Unpack[BatchFindIdsOptions]
    ) -> pl.DataFrame: ...

    @overload
    def batch_find_ids(
        self, df: pl.DataFrame, *, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_find_ids", BatchFindIdsOptions)
    def batch_find_ids(self, df: pl.DataFrame, **options: Any) -> pl.DataFrame:
        """Find the id of each row's item by its natural key.

        The key of a resource is what the ODS's own OpenAPI document says: the query parameters that
        it flags as identity; of descriptors it is ``namespace`` and ``codeValue``. A row tells its
        key by columns, or by a payload.

        Parameters
        ----------
        df
            One row per item, each with its own credentials. A key that stands in several rows is
            asked for once.
        **options
            Those of :class:`polars_edfi.options.BatchFindIdsOptions`.

        Returns
        -------
        DataFrame
            One row per row that took part, in input order: ``id`` (String), ``status`` (String:
            null for an item that was found, ``"missing"``, ``"error"``), ``message`` (String),
            ``http_status`` (Int32), ``correlation_id`` (String), ``row_index`` (the position in
            ``df``) and ``row_id``.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, and where a part of the key has no column, before anything
            but metadata is asked for.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``.

        Notes
        -----
        The key of what comes back must be the key that was asked for: numbers are compared by
        value, descriptors in any case, all else exactly. A server that ignores the key and answers
        with other items is an error, or, with ``how="auto"``, has its collection read. More than
        one item of a key is an error.

        Examples
        --------
        Delete by natural key:

        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=4) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     runner = edfi.Resource("ed-fi/students", base_url=url, client_id=key,
        ...         client_secret=secret)
        ...     known = runner.get_all(key="x")["data"].select("id", "studentUniqueId").head(1)
        ...     df = pl.DataFrame({"studentUniqueId": [known["studentUniqueId"][0], "nobody"]})
        ...     found = runner.batch_find_ids(df)
        ...     gone = runner.batch_delete_by_id(
        ...         found.filter(pl.col("id").is_not_null()), id_col="id", key_col="row_index"
        ...     )
        >>> found["id"][0] == known["id"][0], found["status"].to_list(), gone["status"].to_list()
        (True, [None, 'missing'], ['dry_run'])
        """
        return self._batch(_native.batch_find_ids, df, **options)


def _id(resource_id: object) -> str:
    if isinstance(resource_id, list | dict | tuple | set | bytes):
        msg = f"resource_id must be a text, got {kind(resource_id)}"
        raise EdFiError(msg)
    return "" if resource_id is None else str(resource_id)
