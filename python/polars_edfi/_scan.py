"""Lazy frames over ODSs: only what a query needs is read, page by page."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, Unpack, overload

from polars.io.plugins import register_io_source

from polars_edfi import _native, endpoints
from polars_edfi._base import native_side, warn
from polars_edfi._client import EdFiClient
from polars_edfi._filters import Filters
from polars_edfi._signatures import with_options
from polars_edfi.options import ScanAllOptions, ScanOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from polars_edfi._base import ClientBase


class Source:
    """What Polars calls for the columns and the rows of a scan."""

    def __init__(self, scan: _native.Scan, endpoint: str | None, client: ClientBase | None) -> None:
        self._scan = scan
        self._client = client
        # The client's own, where a caller that knows no types says None.
        self._endpoint = (endpoint or getattr(client, "_endpoint", None) or "").strip("/")
        self._lock = threading.Lock()
        self._schema: pl.Schema | None = None

    def __repr__(self) -> str:
        return f"<scan of {self._endpoint}>"

    def __reduce__(self) -> tuple[Callable[[int], Source], tuple[int]]:
        return _registered, (_native.register_scan(self),)

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
        # With a slice before the filter it is the rows of the slice that are meant.
        is_read = self._scan.pushdown and n_rows is None and predicate is not None
        filters = Filters(predicate, self._scan.keys()) if is_read else Filters(None, None)
        pages = self._scan.pages(
            with_columns,
            n_rows,
            None if predicate is None else filters.values,
            filters.districts,
        )
        if self._client is not None:
            self._client._counted = pages  # noqa: SLF001
        try:
            for page in pages:
                # Polars stops only between frames, also where none of the rows fits.
                yield page if predicate is None else page.filter(predicate)
        finally:
            pages.close()
        warn(pages, stacklevel=3)

    def lazy(self) -> pl.LazyFrame:
        """Give the lazy frame that reads from here."""
        sent = "; equalities and is_in of the selection are sent" if self._scan.pushdown else ""
        names = {"explain_name": "ED-FI", "explain_detail": self._endpoint + sent}
        known = inspect.signature(register_io_source).parameters
        labels: dict[str, Any] = {name: text for name, text in names.items() if name in known}
        return register_io_source(self, schema=self.schema, **labels)


def _registered(number: int) -> Source:
    """Find the source that a pickled plan names: a plan holds no secret, client or frame."""
    source: Source = _native.registered_scan(number)
    return source


@overload
def scan(endpoint: str, *, client: EdFiClient, **options: Unpack[ScanOptions]) -> pl.LazyFrame: ...


@overload
def scan(endpoint: str, *, client: Any, _unpacked: object, **options: Any) -> pl.LazyFrame: ...


@with_options("scan", ScanOptions)
def scan(endpoint: str, *, client: EdFiClient, **options: Any) -> pl.LazyFrame:
    """Scan a resource of one ODS lazily.

    Nothing is sent before the query is run or its columns are asked for. Then only the columns that
    the query needs are decoded, ``head`` and early ends stop the paging, and ``workers`` pages are
    fetched ahead, twice as many at most where the query waits for them, so that ``sink_parquet``
    works on a resource of any size. Where parts of a collection are read side by side (by page
    token, by windows, by the values of an ``is_in``), up to four pages of each of ``workers`` parts
    are fetched ahead.

    Of a ``filter``, equalities and ``is_in`` on fields that the ODS's OpenAPI document lists as
    query parameters are sent to the server: records of one student are one small request.
    ``explain()`` shows the filter that reaches the scan as its ``SELECTION``; it is applied here as
    well, so that a server that ignores it changes nothing but the time. Rows of an ``is_in`` that
    was sent come by ascending value: the one thing that differs from a query on the collected
    frame.

    Parameters
    ----------
    endpoint
        The resource, such as ``"ed-fi/students"``.
    client
        The client of the ODS, with a ``base_url`` and credentials.
    **options
        Those of :class:`polars_edfi.options.ScanOptions`.

    Returns
    -------
    LazyFrame
        One row per record. Every ``collect`` reads anew, and a plan that has the scan twice reads
        twice; ``.cache()`` reads once. A record that comes twice, since others were written
        meanwhile, is handed on once.

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
    With a narrow ``schema``, ``_unknown`` holds all the rest of each record as text. Where nobody
    wants that, ``.drop("_unknown")``: it is not decoded then, and a sink takes a tenth of the
    memory. ``sink_parquet`` collects 122,880 rows for each row group, whatever comes in, and holds
    up to three of them; ``row_group_size`` makes that less.

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
    native = _native.Scan(native_side(client), None, endpoint=endpoint, **options)
    return Source(native, endpoint, client).lazy()


@overload
def scan_all(
    districts: pl.DataFrame,
    endpoint: str = ...,
    *,
    key_col: str,
    client: EdFiClient | None = ...,
    **options: Unpack[ScanAllOptions],
) -> pl.LazyFrame: ...


@overload
def scan_all(
    districts: pl.DataFrame, endpoint: Any = ..., *, key_col: Any, _unpacked: object, **options: Any
) -> pl.LazyFrame: ...


@with_options("scan_all", ScanAllOptions)
def scan_all(
    districts: pl.DataFrame,
    endpoint: str = endpoints.STUDENT_ASSESSMENTS,
    *,
    key_col: str,
    client: EdFiClient | None = None,
    **options: Any,
) -> pl.LazyFrame:
    """Scan a resource of many districts lazily, one district after another.

    The first pages of up to ``workers`` districts are fetched ahead, and those of up to 64 more
    while the query waits for a district that does not answer; other pages as by :func:`scan`: those
    of the next district once all those of the one before are on their way.

    Parameters
    ----------
    districts
        One row per district, as :meth:`EdFiClient.batch_get_all` takes them. A row without a usable
        URL or token, or whose key came before with another URL or API version, raises at once;
        with ``on_error="row"`` it is an error row.
    endpoint
        The resource; ``"ed-fi/studentAssessments"`` by default.
    key_col
        What tells districts apart; it is the first column of the result.
    client
        What the rows do not bring: timeouts, ``allow_http``, an API version, credentials. By
        default a client without any settings.
    **options
        Those of :class:`polars_edfi.options.ScanAllOptions`.

    Returns
    -------
    LazyFrame
        ``key_col`` (as in ``districts``), then the flattened records. With ``on_error="row"``
        ``status`` (String), ``message`` (String), ``http_status`` (Int32) and ``correlation_id``
        (String) stand between them. A property whose name is taken is kept as ``<name>_record``.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError
        A named column is not there.
    polars.exceptions.SchemaError
        A column has a type that it cannot have.
    EdFiError
        An argument is wrong. All of these at once, before anything is sent.
    AuthError, HttpError
        From the query, unless ``on_error="row"``: a district failed; the text names its key. See
        :func:`scan`.

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

    A district that fails ends no sink:

    >>> districts = pl.DataFrame({"k": ["down"], "targetUrl": ["http://127.0.0.1:1"], "t": ["a"]})
    >>> client = edfi.EdFiClient(max_retries=0, api_version="v3")
    >>> lf = edfi.scan_all(districts, key_col="k", token_col="t", client=client,
    ...     schema={"id": pl.String}, on_error="row")
    >>> lf.collect().select("k", "status", "id").rows()
    [('down', 'error', None)]
    """
    side = native_side(EdFiClient() if client is None else client)
    native = _native.Scan(side, districts, endpoint=endpoint, key_col=key_col, **options)
    return Source(native, endpoint, client).lazy()
