"""Lazy frames over ODSs: only what a query needs is read, page by page."""

from __future__ import annotations

import inspect
import secrets
import threading
import warnings
from typing import TYPE_CHECKING, Any, Literal

from polars.io.plugins import register_io_source

from polars_edfi import _native, endpoints
from polars_edfi._arguments import batch_arguments, frame
from polars_edfi._base import SKIP
from polars_edfi._client import EdFiClient
from polars_edfi._errors import EdFiError
from polars_edfi._kept import native_side
from polars_edfi._progress import progress
from polars_edfi._reads import read_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

    from polars_edfi._arguments import SchemaArgument

_SOURCES: dict[int, Source] = {}
"""What pickled plans name by a number: a plan holds no secret, no client and no frame."""

Bar = tuple[bool, str | None, str | None]


class Source:
    """What Polars calls for the columns and the rows of a scan."""

    def __init__(self, scan: _native.Scan, endpoint: str, bar: Bar) -> None:
        self._scan = scan
        self._endpoint = endpoint
        self._bar = bar
        self._lock = threading.Lock()
        self._schema: pl.Schema | None = None
        self._number: int | None = None

    def __repr__(self) -> str:
        return f"<scan of {self._endpoint}>"

    def __reduce__(self) -> tuple[Callable[[int], Source], tuple[int]]:
        with self._lock:
            if self._number is None:
                self._number = secrets.randbits(63)
                _SOURCES[self._number] = self
        return _revive, (self._number,)

    def schema(self) -> pl.Schema:
        """Give the columns; the first time this may ask the server."""
        with self._lock:
            if self._schema is None:
                self._schema = self._scan.schema().schema
            return self._schema

    def __call__(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,  # noqa: ARG002
    ) -> Iterator[pl.DataFrame]:
        """Read from the start: so many rows, of these those that fit, some columns of them."""
        self.schema()
        pages = self._scan.pages(with_columns, n_rows)
        show, desc, label = self._bar
        bar = progress(
            pages, show=show, desc=desc, label=label, default="scanning records", unit="districts"
        )
        try:
            with bar as tick:
                for page in pages:
                    if tick is not None:
                        tick()
                    rows = page if predicate is None else page.filter(predicate)
                    if rows.height:
                        yield rows
        finally:
            pages.close()
        for text in pages.warnings():
            warnings.warn(text, UserWarning, stacklevel=2)

    def lazy(self) -> pl.LazyFrame:
        """Give the lazy frame that reads from here."""
        names = {"explain_name": "ED-FI", "explain_detail": self._endpoint}
        known = inspect.signature(register_io_source).parameters
        labels: dict[str, Any] = {name: text for name, text in names.items() if name in known}
        return register_io_source(self, schema=self.schema, **labels)


def _revive(number: int) -> Source:
    source = _SOURCES.get(number)
    if source is None:
        msg = (
            "the scan of this plan lives in another process: a plan holds neither clients nor "
            "districts; make the scan anew there"
        )
        raise EdFiError(msg)
    return source


def scan(
    endpoint: str,
    *,
    client: EdFiClient,
    params: Mapping[str, object] | None = None,
    schema: SchemaArgument = "auto",
    limit: int = 500,
    workers: int = 8,
    paging: Literal["auto", "offset", "cursor"] = "auto",
    separator: str = ".",
    links: bool = True,
    min_change_version: int | None = None,
    max_change_version: int | None = None,
    snapshot: bool = False,
) -> pl.LazyFrame:
    """Scan a resource of one ODS lazily.

    Nothing is sent before the query is run or its columns are asked for. Then only the columns that
    the query needs are decoded, ``head`` and early ends stop the paging, and ``workers`` pages at
    most are fetched ahead, so that ``sink_parquet`` works on a resource of any size.

    Parameters
    ----------
    endpoint
        The resource, such as ``"ed-fi/students"``.
    client
        The client of the ODS, with a ``base_url`` and credentials.
    params
        Filters, as the API names them: ``{"schoolId": 255901001}``. Names that the OpenAPI document
        does not list are refused. A Polars ``filter`` is never sent to the server.
    schema
        ``"openapi"``: the columns of the ODS's own OpenAPI document. A Schema, Struct or dict:
        these columns, named as flattened. ``"infer"``: the columns of the first page, which is
        read for it; String columns hold anything, texts as they are and other values as JSON.
        ``"auto"``: as ``"openapi"``, and inferred only where the ODS has no document. In all of
        them the column ``_unknown`` (String) has one JSON object of what there is no place for:
        properties that come up later, values that do not fit. A warning counts these at the end,
        if the query uses ``_unknown`` and the columns were not given. :meth:`EdFiClient.get_all`
        infers from all records, so that its columns may be more and of wider types.
    limit
        Records a page. A server that allows fewer is asked for what it allows.
    workers
        Requests in flight at once, and pages ahead of the query.
    paging
        ``"offset"``, ``"cursor"`` (by page token, partitions side by side), or ``"auto"``: by token
        where the first answer has one. Rows stand in the order of :meth:`EdFiClient.get_all`.
    separator
        What stands between the names of nested properties: ``ref.name``.
    links
        Whether the ``link`` objects of references become columns.
    min_change_version, max_change_version
        Only records that changed in this range, ends included.
    snapshot
        Read from the ODS's snapshot (``Use-Snapshot``).

    Returns
    -------
    LazyFrame
        One row per record. Every ``collect`` reads anew, and a plan that has the scan twice reads
        twice; ``.cache()`` reads once. A record that the server gives twice, since others were
        written meanwhile, is there twice: what was handed on is not kept to compare with.

    Raises
    ------
    EdFiError
        At once: an argument is wrong, the client has no ``base_url`` or no credentials.
    AuthError, HttpError
        From the query: the server refused, did not answer, or gave fewer records than it counts
        (``Total-Count``). Rows that were handed on before are not withdrawn, so a file that was
        being written then has only a part.
    polars.exceptions.ComputeError
        From the query: the columns could not be found out. Polars makes this of every error there;
        the text is that of the error.

    Notes
    -----
    Plans can be pickled with the extra ``polars-edfi[pickle]``, without secrets: a pickled plan
    names its scan by a number that means something in this process only.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901"], records=1200) as ods:
    ...     url, key, secret = ods.districts().row(0)[1:]
    ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    ...     results = edfi.scan("ed-fi/studentAssessments", client=client)
    ...     by_assessment = (
    ...         results.group_by("assessmentReference.assessmentIdentifier").len().collect()
    ...     )
    ...     some = results.select("id", "administrationDate").head(10).collect()
    >>> by_assessment["len"].sum(), some.shape
    (1200, (10, 2))
    """
    side = native_side(client)
    arguments = read_arguments(
        endpoint=endpoint,
        query=params,
        wanted=schema,
        limit=limit,
        workers=workers,
        paging=paging,
        separator=separator,
        links=links,
        explode=None,
        min_change_version=min_change_version,
        max_change_version=max_change_version,
        snapshot=snapshot,
        on_short="error",
    )
    native = _native.Scan(side, None, **arguments)
    return Source(native, endpoint.strip("/"), (False, None, None)).lazy()


def scan_all(
    districts: pl.DataFrame,
    endpoint: str = endpoints.STUDENT_ASSESSMENTS,
    *,
    key_col: str,
    client: EdFiClient | None = None,
    params: Mapping[str, object] | None = None,
    limit: int = 500,
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
) -> pl.LazyFrame:
    """Scan a resource of many districts lazily, one district after another.

    Parameters
    ----------
    districts
        One row per district, as :meth:`EdFiClient.batch_get_all` takes them. A row that cannot be
        visited, for its URL, its token, or a key that stands there with another URL before, raises
        at once.
    endpoint
        The resource; ``"ed-fi/studentAssessments"`` by default.
    key_col
        What tells districts apart; it is the first column of the result.
    client
        What the rows do not bring: timeouts, ``allow_http``, an API version, credentials. By
        default a client without any settings.
    on_short
        ``"error"``: a district with fewer records than its server counts raises. ``"warn"``: its
        records, and a warning at the end. There is no second reading: rows are handed on as they
        come.
    schema
        As in :func:`scan`; inferred columns are those of the first pages of all districts.
    params, limit, workers, show_progress, progress_desc, label, skip_statuses, status_col, \
url_col, token_col, api_version_col, auth_key_col, auth_secret_col, oauth_endpoint, expires_col, \
refresh_cooldown, row_id_col, separator, links, explode, paging, min_change_version, \
max_change_version, snapshot
        As in :meth:`EdFiClient.batch_get_all`. The first pages of up to ``workers`` districts are
        fetched ahead, and as many other pages: those of the next district once all those of the one
        before are on their way.

    Returns
    -------
    LazyFrame
        ``key_col`` (as in ``districts``), then the flattened records; there is no ``status``. A
        property that is named as ``key_col`` is kept as ``<name>_record``.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError
        A named column is not there.
    polars.exceptions.SchemaError
        A column has a type that it cannot have.
    EdFiError
        An argument is wrong. All of these at once, before anything is sent.
    AuthError, HttpError
        From the query: a district failed; the text names its key. See :func:`scan`.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901", "255902"], records=10) as ods:
    ...     results = edfi.scan_all(
    ...         ods.districts(),
    ...         key_col="District BK",
    ...         auth_key_col="oAuthKey",
    ...         auth_secret_col="oAuthSecret",
    ...         oauth_endpoint="oauth/token",
    ...     )
    ...     per_district = results.group_by("District BK").len().sort("District BK").collect()
    >>> per_district.rows()
    [('255901', 10), ('255902', 10)]
    """
    frame(districts)
    side = native_side(EdFiClient() if client is None else client)
    arguments = read_arguments(
        endpoint=endpoint,
        query=params,
        wanted=schema,
        limit=limit,
        workers=workers,
        paging=paging,
        separator=separator,
        links=links,
        explode=explode,
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
    native = _native.Scan(side, districts, **arguments)
    return Source(native, endpoint.strip("/"), (show_progress, progress_desc, label)).lazy()
