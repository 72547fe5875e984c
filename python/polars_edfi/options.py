"""The options of the calls: types for editors and type checkers, and what each option means.

What an option is by default, and what it must be, the Rust side alone knows; the signatures and
docstrings of the calls show it. A plain dict can be unpacked into any call (``**auth``); its names
are checked when the call runs. To pass options on, take them as a call does:

>>> from typing import Unpack
>>> import polars as pl
>>> import polars_edfi as edfi
>>> def read_students(
...     districts: pl.DataFrame, **options: Unpack[edfi.options.BatchGetAllOptions]
... ) -> pl.DataFrame:
...     runner = edfi.Resource(edfi.endpoints.STUDENTS)
...     return runner.batch_get_all(districts, key_col="District BK", **options)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta  # noqa: TC003 - get_type_hints looks for it
from os import PathLike  # noqa: TC003 - get_type_hints looks for it
from typing import Any, Literal, TypeAlias, TypedDict

import polars as pl

SchemaDict: TypeAlias = pl.Schema | pl.Struct | Mapping[str, Any]
"""Columns and their dtypes."""
SchemaArgument: TypeAlias = Literal["auto", "infer", "openapi"] | SchemaDict
"""How records become columns."""


class ClientOptions(TypedDict, total=False):
    """Those of :class:`EdFiClient`."""

    base_url: str
    """The ODS's base URL. Data is read from ``{base_url}/data/{version}/{endpoint}``."""
    api_version: str | None
    """``"v3"``, an ODS/API release such as ``"7.1"`` or ``"8.0"`` (whose URLs have no version), or
    up to release 6 a year as well: ``"v3/2025"``. ``""`` means that the base URL is the data URL.
    By default the discovery document at the base URL says; only paths are taken from it. Where
    there is none, ``v3``."""
    client_id: str | None
    """The key of OAuth2 client credentials."""
    client_secret: str | None
    """Its secret. Both go only to the origins of ``base_url`` and ``token_url``."""
    token_url: str | None
    """Where tokens come from; ``{base_url}/oauth/token`` by default."""
    bearer_token: str | None
    """A token that was fetched before, instead of credentials."""
    timeout: float
    """Seconds without a byte from the server. A body that trickles in may take twice this time, and
    a second more for each KiB of it."""
    connect_timeout: float
    """The longest time to connect, in seconds."""
    max_retries: int
    """Tries after the first of a read, a put or a delete that met 408, 429, 500, 502, 503, 504 or a
    broken connection; of a post where it is known that it was not processed."""
    max_wait: float
    """The longest wait between two tries, in seconds. A server that asks for a longer one by
    ``Retry-After`` is not waited for: that is an error. It does not bound the ``retry_backoff`` of
    a call."""
    max_body: int
    """The most bytes, after decompression, that all answers being read at once may hold together.
    Beyond it the largest of them fail."""
    max_rate: float | None
    """Requests a second to one origin (scheme, host and port), those for tokens and metadata
    included; unlimited by default. What a server refuses (429, or 503 with ``Retry-After``) pauses
    its origin for all calls of the client, and lessens the requests in flight to it for a while;
    the request is sent again, writes included: it was not processed. When ``max_retries`` pauses
    in a row have led to nothing, the rows that wait are errors."""
    allow_http: bool
    """Let credentials and tokens go over plain http to other machines than this one."""
    ca_certs: str | PathLike[str] | bytes | None
    """PEM certificates to trust beside those of the system: a path, or the bytes themselves."""
    user_agent: str | None
    """The ``User-Agent`` header; ``polars-edfi/<version>`` by default."""
    headers: Mapping[str, str] | None
    """Headers that are sent with every request, such as a gateway's subscription key. Their values
    are secrets, as tokens are. Those that requests set themselves (``Authorization``, ``Accept``,
    ``Content-Type``, ``If-Match``, ...) are refused."""
    profile: str | None
    """Read and write resources through the media types of this profile. What a readable profile
    leaves out does not come, and what a writable one leaves out an ODS drops without a word. A Data
    Management Service refuses them."""
    token_cache: str | PathLike[str] | None
    """A folder in which the processes of one user share tokens: one for each token URL, client and
    secret, whoever asks for it, and one request where many ask at once. ``fetch_token`` and
    ``batch_fetch_tokens`` give the shared token, too, while it has life left. The folder is made if
    it is not there; one that others can enter raises. Its files hold tokens, but no secrets. On
    Windows it has the permissions of the folder that it is in: name one below the user's own."""
    metadata_cache: str | PathLike[str] | None
    """A folder in which OpenAPI documents are kept between processes, by their URL and by what the
    discovery document says of version, build and data models. A document that has an ETag is asked
    for again by each client, once an hour at most, and comes again only if it is another one. The
    folder is made if it is not there, and its own files grow to 1 GiB at most, any of which may be
    deleted at any time; others in the folder are left alone."""


class EndpointOption(TypedDict, total=False):
    """The resource of a call."""

    endpoint: str | None
    """The resource, such as ``"ed-fi/students"``; by default that of a :class:`Resource` or a
    :class:`StudentAssessment`. A plain :class:`EdFiClient` has none, and a call without one
    raises."""


class WorkersOption(TypedDict, total=False):
    """How many requests a call has in flight."""

    workers: int
    """Requests in flight at once, over all districts together."""


class ProgressOptions(TypedDict, total=False):
    """The bar of a call."""

    show_progress: bool
    """Whether to draw a bar."""
    progress_desc: str | None
    """A prefix for its text: ``"[4/7]"``."""
    label: str | None
    """A text in place of its own."""


class SkipOptions(TypedDict, total=False):
    """Which rows are left out."""

    skip_statuses: str | Sequence[str] | None
    """Rows whose status is one of these are neither sent nor in the result; a log line counts them.
    A :func:`sync` has an error row for such a district, since its copy stays as it was."""
    status_col: str
    """The column with the rows' status, where there is one."""


class RowOptions(SkipOptions, WorkersOption, ProgressOptions, total=False):
    """Which columns hold what each row needs."""

    url_col: str
    """The base URL of each row, String. Without a column of the default name the client's own base
    URL serves."""
    token_col: str
    """The token of each row, String. Without a column of the default name the client's own
    credentials serve."""
    api_version_col: str | None
    """Each row's API version; blank cells mean the client's."""
    auth_key_col: str | None
    """Each row's key. With this, ``auth_secret_col`` and ``oauth_endpoint``, a token that is
    missing, that ``expires_col`` says is over, or that is answered with 401 is renewed, once for
    all rows of a client."""
    auth_secret_col: str | None
    """Each row's secret."""
    oauth_endpoint: str | None
    """Where tokens are renewed: ``{base URL}/{oauth_endpoint}``."""
    expires_col: str | None
    """When each token ends: Datetime (without a time zone: UTC), seconds since 1970, or such a
    number as text."""
    refresh_cooldown: float
    """Seconds that renewals for a client pause after three failures in a row. The first pause is
    waited out, in later ones rows fail at once. 0 never pauses."""
    row_id_col: str | None
    """A column that comes back as ``row_id``. Reads of whole resources have no such column in their
    result, since a row of it is a record; the column must exist all the same."""


class BatchFetchTokensOptions(SkipOptions, WorkersOption, ProgressOptions, total=False):
    """Those of :meth:`EdFiClient.batch_fetch_tokens`."""

    url_col: str
    """The base URL of each row, String. Without a column of the default name the client's own
    serves."""
    key_col: str
    """The key of each row, String."""
    secret_col: str
    """The secret of each row, String. Where key and secret are absent under their default names:
    the client's own serve."""
    token_col: str
    """The result's column of tokens."""
    expires_col: str
    """The result's column of their ends."""


class ColumnOptions(TypedDict, total=False):
    """How properties become columns."""

    separator: str
    """What stands between the names of nested properties: ``ref.name``."""
    links: bool
    """Whether the ``link`` objects of references become columns."""


class ParamsOption(TypedDict, total=False):
    """Filters of the server."""

    params: Mapping[str, object] | None
    """Filters, as the API names them: ``{"schoolId": 255901001}``. Values are texts, numbers,
    booleans, dates, datetimes (with a time zone: written in UTC) or Decimals; a None is left out. A
    server ignores names that it does not know and returns everything, so names that the OpenAPI
    documents of all districts lack raise; where only some districts lack them, these are error
    rows."""


class ChangeWindowOptions(TypedDict, total=False):
    """A range of change versions."""

    min_change_version: int | None
    """Only what changed at this version or later."""
    max_change_version: int | None
    """Only what changed at this version or before."""


class PageOptions(TypedDict, total=False):
    """The pages of a read."""

    limit: int
    """Records a page. A server that allows fewer is asked for what it allows."""
    snapshot: bool
    """Read from the ODS's snapshot (``Use-Snapshot``; up to ODS/API 6 the newest one that the ODS
    lists, by ``Snapshot-Identifier``)."""


class PagingOption(TypedDict, total=False):
    """How pages are asked for."""

    paging: Literal["auto", "offset", "cursor", "windows"]
    """How pages are asked for. ``"cursor"``: by page token, parts of the resource side by side
    (``/partitions``), as ODS/API 7.3 and later serve it; a server without is an error where one
    page does not hold everything. ``"offset"``: by offset, pages side by side, each of which must
    continue the one before it; slow far into a large resource. ``"windows"``: by change version, in
    windows of at most 25,000 records side by side, each by offset; for ODSs that have change
    queries and no tokens. ``"auto"``: by token where the first answer has a ``Next-Page-Token``; by
    windows where the server counts more than 100,000 records and has change queries; else by
    offset."""


class SchemaOption(TypedDict, total=False):
    """How records become columns."""

    schema: SchemaArgument
    """How records become columns. ``"auto"``: the types of the ODS's own OpenAPI document; inferred
    where the ODS serves no metadata, or where it does not know the resource. Where only some
    districts have a document, it holds for all; documents that differ are widened (Int32 with Int64
    is Int64, anything else String). ``"openapi"``: the same, but a district without a document that
    knows the resource is an error row. Metadata that fails is an error of its district. The
    process keeps the documents; each client asks once an hour at most, by ETag, whether they are
    still the ODS's.
    ``"infer"``: from the records, all of them. A Schema, Struct or dict: these columns, named as
    flattened; a ``pl.String`` takes a list or an object as its JSON text, a ``pl.Datetime`` cuts
    off decimals beyond its unit. With a document or a given schema, a column ``_unknown`` (String)
    is always there: null, or a JSON object of what has no place in the others, values that do not
    fit their type included; with a document, a warning counts these records."""


class ShortOption(TypedDict, total=False):
    """What happens to reads that miss records."""

    on_short: Literal["error", "warn"]
    """What happens to a district that gives fewer distinct records than its server counts
    (``Total-Count``), even when it is read again. ``"error"``: it is one error row. ``"warn"``: its
    records, and a warning."""


class ExplodeOption(TypedDict, total=False):
    """Lists that become rows."""

    explode: str | Sequence[str] | None
    """List columns that become one row per element, such as ``"scoreResults"``; a record with none
    keeps one row. A name that the schema does not have as a list, whether it was given or is the
    OpenAPI document's, is an error before anything is read. Where columns are inferred, records
    alone can tell: each keeps one row where none of them has the list."""


class ListsOption(TypedDict, total=False):
    """Lists in columns of their own."""

    lists: Literal["list", "json"]
    """What lists become: ``"list"``, List columns; ``"json"``, String columns of compact JSON, for
    files and databases that know no lists. :func:`tables` gives lists frames of their own."""


class RecordOptions(
    ParamsOption,
    PageOptions,
    PagingOption,
    SchemaOption,
    ColumnOptions,
    ExplodeOption,
    ListsOption,
    ChangeWindowOptions,
    ShortOption,
    total=False,
):
    """How whole resources are read."""


class GetAllOptions(EndpointOption, WorkersOption, RecordOptions, ProgressOptions, total=False):
    """Those of :meth:`EdFiClient.get_all`."""


class BatchGetAllOptions(EndpointOption, RecordOptions, RowOptions, total=False):
    """Those of :meth:`EdFiClient.batch_get_all`."""


class ScanSchemaOption(TypedDict, total=False):
    """How the records of a scan become columns."""

    schema: SchemaArgument
    """``"openapi"``: the columns of the ODS's own OpenAPI document. A Schema, Struct or dict: these
    columns, named as flattened. ``"infer"``: the columns of the first page of each ODS and of one
    far from it, which are read for it; String columns hold anything, texts as they are and other
    values as JSON. ``"auto"``: as ``"openapi"``, and inferred only where the ODS has no document.
    In all of them the column ``_unknown`` (String) has one JSON object of what there is no place
    for: properties that come up later, values that do not fit a document or a given schema. A
    warning counts these at the end, if the query uses ``_unknown`` and the columns were not given.
    A later value that does not fit a column that was inferred is an error.
    :meth:`EdFiClient.get_all` infers from all records, so that its columns may be more and of wider
    types."""


class ScanPagingOptions(PageOptions, PagingOption, ChangeWindowOptions, total=False):
    """The pages of a scan."""


class PushdownOption(TypedDict, total=False):
    """What a scan leaves to the server."""

    pushdown: bool
    """Equalities and ``is_in`` on fields that the ODS's OpenAPI document lists as query parameters,
    joined by ``&``, are sent as parameters, those on ``key_col`` leave out districts. The whole
    filter is applied here as well, and what an ODS cannot be asked is read without. ``False`` reads
    everything. An ``is_in`` is one request for each value while that takes fewer requests than the
    pages after the first one; its records come by ascending value. A join is never sent: filter
    by ``pl.col(...).is_in(small["id"].implode())`` before it."""


class ScanOptions(
    ParamsOption,
    ScanSchemaOption,
    ColumnOptions,
    ListsOption,
    ScanPagingOptions,
    PushdownOption,
    total=False,
):
    """Those of :func:`scan`."""

    workers: int
    """Requests in flight at once, and pages ahead of the query."""


class ScanAllOptions(
    ParamsOption,
    ScanSchemaOption,
    ColumnOptions,
    ExplodeOption,
    ListsOption,
    ScanPagingOptions,
    PushdownOption,
    RowOptions,
    total=False,
):
    """Those of :func:`scan_all`."""

    on_short: Literal["error", "warn"]
    """``"error"``: a district with fewer records than its server counts has failed. ``"warn"``:
    its records, and a warning at the end. There is no second reading: rows are handed on as they
    come."""
    on_error: Literal["raise", "row"]
    """What a district that fails means. ``"raise"``: the query ends, and the text names the
    district. ``"row"``: ``status``, ``message``, ``http_status`` and ``correlation_id`` stand after
    ``key_col``, and the district is one row with the status ``"error"``, after the rows that it
    gave before; the others go on. One that failed when the columns were looked for is asked again
    by each later query, by the columns that the others have."""


class DeletesOptions(PageOptions, WorkersOption, ChangeWindowOptions, total=False):
    """Those of :meth:`EdFiClient.deletes` and :meth:`EdFiClient.key_changes`."""


class ChangesOptions(
    PageOptions,
    PagingOption,
    SchemaOption,
    ColumnOptions,
    ShortOption,
    WorkersOption,
    total=False,
):
    """Those of :meth:`EdFiClient.changes`."""

    since: int | None
    """``next_version`` of the call before; ``None`` reads everything."""
    overlap: int
    """How many change versions before ``since`` the range begins. An ODS numbers a change before
    its transaction is committed, so that a late commit has a version below the newest that was told
    before: without an overlap it is never delivered. What was delivered before comes again, and to
    apply it twice does no harm. 0 is right after a reading of a snapshot."""


class BatchGetByIdOptions(EndpointOption, RowOptions, total=False):
    """Those of :meth:`EdFiClient.batch_get_by_id`."""

    flatten: bool
    """Whether the item's properties become columns, in place of one Struct column ``data``."""
    schema: SchemaDict | Literal["auto", "infer"] | None
    """The properties that are wanted, named as flattened, with their dtypes; ``_unknown`` then
    holds the rest. By default they are inferred from the items."""


class CommitOption(TypedDict, total=False):
    """Whether anything is written."""

    commit: bool
    """Without it nothing is sent, no token is fetched, and the status is ``"dry_run"``."""


class DetailsOption(TypedDict, total=False):
    """What the result says of refused rows."""

    details: bool
    """Whether two more columns tell of an error body: ``problem`` (its ``type``) and ``errors``
    (a list of ``path`` and ``message``)."""


class JournalOptions(TypedDict, total=False):
    """What outlives the end of a process."""

    journal: str | PathLike[str] | None
    """A file (SQLite, made where there is none, readable for its owner only) that remembers each
    row and its answer. A row is noted before it is sent, and its answer before it counts: after the
    end of the process at any moment the same call goes on. Rows that were confirmed are not sent
    again, as long as nothing else was written to their item since; they come back as they were
    answered, with ``attempts`` 0. A row that was sent and has no answer is an error that says so,
    unless ``retry_broken=True``; deletes and puts are always sent again, and so are rows that
    failed. Items are told apart by the natural key that the ODS's OpenAPI document tells, else by
    ``key_col``, which must be unique then. Rows of one item go one after another; equal ones are
    sent once. Without ``commit`` the file is neither written nor read. It holds keys and the
    server's words, but no payload, token or secret. See :func:`read_journal`."""
    resend_after: timedelta | float | None
    """What was confirmed longer ago than this (a timedelta, or seconds) is sent again; so is what
    bears a time that is still to come, as where the clock was set back."""
    journal_sync: Literal["normal", "full"]
    """``"normal"``: what is noted outlives the process, however it ends. ``"full"``: it outlives a
    power cut, too, at the price of waiting for the disk at every step."""


class RetryOptions(TypedDict, total=False):
    """What happens after a post that is refused."""

    retry_statuses: Collection[int] | None
    """Statuses that are posted again, up to ``max_retries`` times, after ``retry_backoff * 2**n``
    seconds, or longer where ``Retry-After`` says so. 401 is none of them: see ``auth_key_col``."""
    retry_messages: str | Collection[str] | None
    """Only where the message holds one of these texts, whatever the case."""
    max_retries: int
    """How often such a post is sent again."""
    retry_backoff: float
    """The seconds before the first repetition."""
    allow_statuses: Mapping[int, str | None] | None
    """``{409: "warning"}``: the row status of an answer that was not posted again, in place of
    ``"error"``. A 401 in it is not renewed."""
    retry_broken: bool
    """Whether to post again where the connection broke after the payload was sent. It may have been
    applied then; since a post is an upsert, twice is as good as once."""


class EtagOption(TypedDict, total=False):
    """Writes that are made only while an item is as it was read."""

    etag_col: str | None
    """A column of etags (``_etag``, quoted or not). A row whose item has another one by now is
    answered 412, which is final. A null cell asks for nothing."""


class PostOptions(EndpointOption, CommitOption, RetryOptions, total=False):
    """Those of :meth:`EdFiClient.post_payload`."""


class ValidateOption(TypedDict, total=False):
    """Whether rows are checked before they are sent."""

    validate: bool
    """Whether rows are checked as :meth:`EdFiClient.validate` does; those with errors are not sent,
    and say ``invalid: <path>: <detail> (and n more)``. A dry run then reads what the checks
    need."""


class ValidateOptions(RowOptions, total=False):
    """Those of :meth:`EdFiClient.validate`."""

    payload_col: str
    """The column of payloads: String (JSON) or Struct."""
    rules: str | Sequence[Literal["schema", "keys", "descriptors", "references"]]
    """What is checked. ``"schema"``: JSON, and what the OpenAPI document says of it; names that it
    does not know are warnings. ``"keys"``: the same natural key in several rows with different
    payloads (a warning), the same key twice within a list. ``"descriptors"``, ``"references"``:
    what neither the ODS nor the rows themselves have."""


class CompareOptions(RowOptions, total=False):
    """Those of :meth:`EdFiClient.compare`."""

    payload_col: str
    """The column of payloads: String (JSON) or Struct."""
    key_cols: str | Sequence[str] | Mapping[str, str] | None
    """Which columns hold the natural key: ``{"studentUniqueId": "Student BK"}``, a body path or the
    name of a query parameter, and a column; a list names columns after the parts. By default the
    key stands in the payload, where the ODS's OpenAPI document says."""
    extra: bool
    """Whether items on the server that no row names have a row, too: ``"extra"``. A row that is an
    error, or left out for its status, names none: see to it that there are no such rows before
    items are removed. A frame without rows names no ODS, and has no such items."""


class BatchPostOptions(
    EndpointOption,
    RowOptions,
    CommitOption,
    DetailsOption,
    RetryOptions,
    JournalOptions,
    ValidateOption,
    EtagOption,
    total=False,
):
    """Those of :meth:`EdFiClient.batch_post_payload` and :meth:`EdFiClient.batch_put_payload`."""

    order_by_col: str | None
    """Rows with the same value here, such as the natural key, go one after another in the frame's
    order. Otherwise the order in which an ODS sees rows is not promised."""
    keep_server_fields: bool
    """Whether a Struct payload keeps the top-level ``id``, ``_etag`` and ``_lastModifiedDate``, and
    every ``link`` inside a reference."""


class DeleteOptions(EndpointOption, CommitOption, total=False):
    """Those of :meth:`EdFiClient.delete_by_id`."""


class BatchDeleteOptions(
    EndpointOption,
    RowOptions,
    CommitOption,
    DetailsOption,
    JournalOptions,
    EtagOption,
    total=False,
):
    """Those of :meth:`EdFiClient.batch_delete_by_id`."""


class RoundsOptions(TypedDict, total=False):
    """What a call over many resources goes by."""

    rounds: int
    """The most times that a row which waits for others is sent. It is sent once more where the rows
    after it may have brought what it lacks, then as long as a round gets anything through."""
    order: Sequence[str | Sequence[str]] | None
    """The order of endpoints for ODSs that serve no document of dependencies (404): each by
    itself, or several in a list side by side. Writes go in this order, removals in reverse."""


class SendOptions(
    RowOptions,
    CommitOption,
    DetailsOption,
    RetryOptions,
    JournalOptions,
    RoundsOptions,
    ValidateOption,
    total=False,
):
    """Those of :meth:`EdFiClient.send`.

    408, 429, 500, 502, 503, 504 and the 409 of two writers at once are posted again as
    ``retry_statuses`` are, named there or not.
    """

    skip_same: bool
    """Whether rows that the ODS has as they are stay here (see :meth:`EdFiClient.compare`): status
    null, message ``same``, no attempts, and the item's id; a journal notes them as confirmed. Rows
    of one key, in whatever case, stay only if all of them are the same. What the ODS has otherwise
    is sent, whatever a journal knows of it. With this or ``validate``, LazyFrames are collected
    before anything is sent."""
    order_by_col: str | None
    """Rows of a frame with the same value here go one after another, in place of those with the
    same natural key."""
    keep_server_fields: bool
    """Whether a Struct payload keeps the top-level ``id``, ``_etag`` and ``_lastModifiedDate``, and
    every ``link`` inside a reference."""


class RemoveOptions(
    RowOptions, CommitOption, DetailsOption, JournalOptions, RoundsOptions, total=False
):
    """Those of :meth:`EdFiClient.remove`."""


class BatchFindIdsOptions(EndpointOption, RowOptions, total=False):
    """Those of :meth:`EdFiClient.batch_find_ids`."""

    key_cols: str | Sequence[str] | Mapping[str, str] | None
    """The columns of the key. A list: columns that are named as the parts of the key, by their path
    in a body (``"studentReference.studentUniqueId"``) or by their query parameter
    (``"studentUniqueId"``). A dict: part to column. Parts that are not named are columns of the
    name of their path or parameter, if there are any. With ``payload_col``, the paths of the key
    alone: only ODSs whose documents do not tell the key need them."""
    payload_col: str | None
    """A column of payloads, String (JSON) or Struct, in which the keys stand."""
    how: Literal["auto", "lookup", "scan"]
    """``"lookup"``: one request for each distinct key. ``"scan"``: the collection is read once.
    ``"auto"``: whichever takes fewer requests; where an ODS does not filter by keys, as older ones
    do not, its collection is read."""


class ExpressionOptions(TypedDict, total=False):
    """Those of :func:`get_by_id`, and of the other expressions."""

    endpoint: str | None
    """The resource; the client's own by default, else ``ed-fi/studentAssessments``."""
    api_version: str | None
    """``"v3"``, or an ODS/API release; the client's by default, else ``"v3"``."""
    workers: int
    """Requests in flight at once for this client in the whole process, however many threads Polars
    calls from; without a client, for this expression."""


class PostExpressionOptions(ExpressionOptions, CommitOption, RetryOptions, total=False):
    """Those of :func:`post_payload`."""


class DeleteExpressionOptions(ExpressionOptions, CommitOption, total=False):
    """Those of :func:`delete_by_id`."""


class GetAllExpressionOptions(ExpressionOptions, ParamsOption, total=False):
    """Those of :func:`get_all`."""

    limit: int
    """Records a page. A server that allows fewer is asked for what it allows."""


class FetchTokenExpressionOptions(TypedDict, total=False):
    """Those of :func:`fetch_token`."""

    oauth_endpoint: str
    """Where tokens come from, below each base URL, or an absolute URL."""


class SyncOptions(PageOptions, PagingOption, SchemaOption, ColumnOptions, RowOptions, total=False):
    """Those of :func:`sync`."""
