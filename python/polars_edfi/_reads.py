"""Reads of whole resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

from polars_edfi import _native
from polars_edfi._arguments import batch_arguments, choice, frame, names, params, schema
from polars_edfi._base import SKIP, ClientBase, raise_if_interrupted, warn, watched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from polars_edfi._arguments import SchemaArgument


class GetAllResult(TypedDict):
    """What became of ``get_all``."""

    key: object
    status: str | None
    message: str | None
    data: pl.DataFrame | None
    http_status: int | None
    correlation_id: str | None


class Reads(ClientBase):
    """The calls that read every record of a resource."""

    def get_all(
        self,
        *,
        key: object,
        endpoint: str | None = None,
        params: Mapping[str, object] | None = None,
        limit: int = 500,
        workers: int = 8,
        show_progress: bool = False,
        progress_desc: str | None = None,
        label: str | None = None,
        schema: SchemaArgument = "auto",
        separator: str = ".",
        links: bool = True,
        explode: str | Sequence[str] | None = None,
        paging: Literal["auto", "offset", "cursor"] = "auto",
        min_change_version: int | None = None,
        max_change_version: int | None = None,
        snapshot: bool = False,
        on_short: Literal["error", "warn"] = "error",
    ) -> GetAllResult:
        """Read every record of one resource of the client's own ODS.

        Parameters
        ----------
        key
            Given back in the result.
        endpoint
            The resource, such as ``"ed-fi/students"``; the runner's own by default.
        params, limit, workers, schema, separator, links, explode, paging, min_change_version, \
max_change_version, snapshot, on_short, show_progress, progress_desc, label
            As in :meth:`batch_get_all`.

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
        call = _native.Call()
        arguments = read_arguments(
            endpoint=endpoint,
            query=params,
            limit=limit,
            workers=workers,
            wanted=schema,
            separator=separator,
            links=links,
            explode=explode,
            paging=paging,
            min_change_version=min_change_version,
            max_change_version=max_change_version,
            snapshot=snapshot,
            on_short=on_short,
        )
        bar = (show_progress, progress_desc, label)
        watch = watched(call, bar, "fetching records", "districts")
        with watch as tick:
            data, message, http_status, correlation_id = self._native.get_all(
                call, tick, **arguments
            )
        warn(call)
        raise_if_interrupted(call)
        return {
            "key": key,
            "status": None if data is not None else "error",
            "message": message,
            "data": data,
            "http_status": http_status,
            "correlation_id": correlation_id,
        }

    def batch_get_all(
        self,
        df: pl.DataFrame,
        *,
        key_col: str,
        params: Mapping[str, object] | None = None,
        limit: int = 500,
        endpoint: str | None = None,
        workers: int = 8,
        show_progress: bool = False,
        progress_desc: str | None = None,
        label: str | None = None,
        skip_statuses: Sequence[str] = SKIP,
        status_col: str = "row status",
        url_col: str = "targetUrl",
        token_col: str = "EdFi Token",
        api_version_col: str | None = None,
        auth_key_col: str | None = None,
        auth_secret_col: str | None = None,
        oauth_endpoint: str | None = None,
        expires_col: str | None = None,
        refresh_cooldown: float = 30.0,
        row_id_col: str | None = None,
        schema: SchemaArgument = "auto",
        separator: str = ".",
        links: bool = True,
        explode: str | Sequence[str] | None = None,
        paging: Literal["auto", "offset", "cursor"] = "auto",
        min_change_version: int | None = None,
        max_change_version: int | None = None,
        snapshot: bool = False,
        on_short: Literal["error", "warn"] = "error",
    ) -> pl.DataFrame:
        """Read every record of one resource from each district of a frame.

        Parameters
        ----------
        df
            One row per district, or more: each distinct ``key_col`` is visited once, with its
            first row. Blank keys are skipped and counted in a log line; a key that comes back with
            another URL is an error row.
        key_col
            What tells districts apart; it is the first column of the result.
        params
            Filters, as the API names them: ``{"schoolId": 255901001}``. A server ignores names that
            it does not know and returns everything, so names that the OpenAPI documents of all
            districts lack raise; where only some districts lack them, these are error rows.
        limit
            Records a page. A server that allows fewer is asked for what it allows.
        endpoint
            The resource, such as ``"ed-fi/students"``; the runner's own by default.
        workers
            Requests in flight at once, over all districts together.
        show_progress, progress_desc, label
            Whether to draw a bar, a prefix for its text (``"[4/7]"``), and another text.
        skip_statuses, status_col
            Rows whose ``status_col`` is one of these are left out.
        url_col, token_col
            Base URL and token of each row, String. A column that is absent under its default name:
            the client's own base URL and credentials serve.
        api_version_col
            Each row's API version; blank cells mean the client's.
        auth_key_col, auth_secret_col, oauth_endpoint
            With all three, a token that is missing, that ``expires_col`` says is over, or that is
            answered with 401 is renewed with the row's key and secret at
            ``{base URL}/{oauth_endpoint}``, once for all rows of a client.
        expires_col
            When each token ends: Datetime (without a time zone: UTC), seconds since 1970, or such
            a number as text.
        refresh_cooldown
            Seconds that renewals for a client pause after three failures in a row. The first pause
            is waited out, in later ones rows fail at once. 0 never pauses.
        row_id_col
            Taken for the sake of the other batch calls; a result row here is a record, and no row
            of ``df``. The column must exist.
        schema
            How records become columns. ``"auto"``: the types of the ODS's own OpenAPI document;
            inferred where the ODS serves no metadata, or where it does not know the resource. Where
            some districts have a document, theirs hold for all; documents that differ are widened
            (Int32 with Int64 is Int64, anything else String). ``"openapi"``: the same, but a
            district without a document that knows the resource is an error row. Metadata that
            fails is an error of its district. The documents are kept for the process.
            ``"infer"``: from the records, all of them. A Schema, Struct or dict: these columns,
            named as flattened. With a document or a given schema, a column ``_unknown`` (String)
            is always there: null, or a JSON object of what has no place in the others, values
            that do not fit their type included; with a document, a warning counts these records.
        separator
            What stands between the names of nested properties: ``ref.name``.
        links
            Whether the ``link`` objects of references become columns.
        explode
            List columns that become one row per element, such as ``"scoreResults"``; a record with
            none keeps one row.
        paging
            How pages are asked for. ``"cursor"``: by page token, parts of the resource side by
            side (``/partitions``), as ODS/API 7.3 and later serve it; a server without is an error
            row. ``"offset"``: by offset, pages side by side; slow far into a large resource, and on
            data that changes it can miss records (which ``on_short`` then notices). ``"auto"``: by
            token where the first answer has a ``Next-Page-Token``, else by offset.
        min_change_version, max_change_version
            Only records that changed in this range, ends included.
        snapshot
            Read from the ODS's snapshot (``Use-Snapshot``).
        on_short
            What becomes of a district with fewer distinct records than its server counts
            (``Total-Count``) even when read again: ``"error"``, one error row; ``"warn"``, its
            records and a warning.

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
            After Ctrl-C, with all rows in ``rows``: unfinished districts are error rows. A second
            Ctrl-C stops at once.

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
        call = _native.Call()
        frame(df)
        arguments = read_arguments(
            endpoint=endpoint,
            query=params,
            limit=limit,
            workers=workers,
            wanted=schema,
            separator=separator,
            links=links,
            explode=explode,
            paging=paging,
            min_change_version=min_change_version,
            max_change_version=max_change_version,
            snapshot=snapshot,
            on_short=on_short,
        )
        arguments |= batch_arguments(
            skip_statuses,
            key_col=key_col,
            status_col=status_col,
            url_col=url_col,
            token_col=token_col,
            api_version_col=api_version_col,
            auth_key_col=auth_key_col,
            auth_secret_col=auth_secret_col,
            oauth_endpoint=oauth_endpoint,
            expires_col=expires_col,
            refresh_cooldown=refresh_cooldown,
            row_id_col=row_id_col,
        )
        bar = (show_progress, progress_desc, label)
        watch = watched(call, bar, "fetching records", "districts")
        with watch as tick:
            rows = self._native.batch_get_all(df, call, tick, **arguments)
        return self._finish(call, rows)


def read_arguments(
    *,
    endpoint: str | None,
    query: Mapping[str, object] | None,
    wanted: SchemaArgument,
    explode: str | Sequence[str] | None,
    paging: str,
    on_short: str,
    **plain: Any,
) -> dict[str, Any]:
    """Put together what every read has."""
    kind, schema_frame = schema(wanted)
    return plain | {
        "endpoint": endpoint,
        "params": params(query),
        "paging": choice("paging", paging, ["auto", "offset", "cursor"]),
        "schema": kind,
        "schema_frame": schema_frame,
        "explode": names("explode", explode) or [],
        "on_short": choice("on_short", on_short, ["error", "warn"]),
    }
