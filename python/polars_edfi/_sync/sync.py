"""The call that copies ODSs, and keeps the copies equal to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import polars as pl

from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._client import EdFiClient
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind
from polars_edfi._signatures import with_options
from polars_edfi._sync import places, report, sources
from polars_edfi._sync.dtypes import storable_schema
from polars_edfi._sync.ledger import Ledger
from polars_edfi._sync.lock import only_run
from polars_edfi._sync.merge import ID
from polars_edfi._sync.parquet import ParquetFile
from polars_edfi._sync.run import Plan, run
from polars_edfi.options import SyncOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from polars_edfi._sync.resource import Copy
    from polars_edfi._sync.sources import Ods

OVERLAP = 400
"""How many change versions a window goes back: fewer than a page has records, so that a resource in
which nothing changed costs one request for its window."""


@overload
def sync(
    source: EdFiClient | pl.DataFrame,
    endpoints: str | Sequence[str] | None = ...,
    *,
    into: str | os.PathLike[str],
    format: Literal["parquet", "delta"] = ...,
    key_col: str | None = ...,
    verify: Literal["count", "full"] | None = ...,
    full: bool = ...,
    overlap: int | None = ...,
    storage_options: Mapping[str, str] | None = ...,
    client: EdFiClient | None = ...,
    **options: Unpack[SyncOptions],
) -> pl.DataFrame: ...


@overload
def sync(
    source: EdFiClient | pl.DataFrame,
    endpoints: Any = ...,
    *,
    into: Any,
    _unpacked: object,
    **options: Any,
) -> pl.DataFrame: ...


@with_options("sync", SyncOptions)
def sync(
    source: EdFiClient | pl.DataFrame,
    endpoints: str | Sequence[str] | None = None,
    *,
    into: str | os.PathLike[str],
    format: Literal["parquet", "delta"] = "parquet",  # noqa: A002
    key_col: str | None = None,
    verify: Literal["count", "full"] | None = "count",
    full: bool = False,
    overlap: int | None = None,
    storage_options: Mapping[str, str] | None = None,
    client: EdFiClient | None = None,
    **options: Any,
) -> pl.DataFrame:
    """Copy whole ODSs into files or tables, and keep the copies equal to them.

    The first time everything is read, as a stream. Then each run reads what changed since: changed
    keys, new and changed records, deletes. A resource in which nothing changed costs two requests
    (with the default ``verify``). See ``docs/copies.md`` for what is guaranteed, and how to run it
    every night.

    Parameters
    ----------
    source
        The client of one ODS, or a frame of districts, as :meth:`EdFiClient.batch_get_all` takes
        them.
    endpoints
        The resources, such as ``["ed-fi/students"]``; by default all resources and descriptors that
        each ODS lists in its own documents.
    into
        A folder, or the URL of an object store (``s3://...``) that Polars or Delta can write to.
    format
        ``"parquet"``: a file ``{into}/ed-fi/students/{key}.parquet`` for each district
        (``data.parquet`` for a client), which is replaced at once. ``"delta"`` (extra
        ``polars-edfi[delta]``): a table ``{into}/ed-fi/students``, partitioned by ``key_col``.
    key_col
        What tells the districts of a frame apart; it is the first column of their copies. Under
        another name, or of another dtype than the last time, copies are made anew. Neither
        ``"id"`` nor a column of the report.
    verify
        ``"count"``: the copy is compared with the server's count, and read anew where they
        disagree. ``"full"``: everything is read and compared, which also finds what vanished from
        sight while as much came into it. ``None``: neither.
    full
        Read everything anew.
    overlap
        How many change versions each window goes back before the newest one that was told the last
        time: a write that commits late has a version below that. 400 by default, which a page of
        500 records holds. 0 is right for snapshots.
    storage_options
        Of the object store, as Polars and Delta take them.
    client
        For a frame of districts what its rows do not bring: timeouts, ``allow_http``, an API
        version, credentials. By default a client without any settings.
    **options
        Those of :class:`polars_edfi.options.SyncOptions`.

    Returns
    -------
    DataFrame
        One row for each resource of each district: ``key_col`` (for a frame), ``endpoint``,
        ``status`` (String: null, or ``"error"``; then all numbers are null, and the copy is as it
        was), ``message`` (String), ``mode`` (String: ``"full"``, ``"changes"``, ``"unchanged"``),
        ``since`` and ``version`` (Int64: the change versions at which the window began, without its
        overlap, and at which the next one begins; null where an ODS has no change queries, where
        everything is read each time), ``rows`` (of the copy), ``written`` (rows that are new or
        changed), ``deleted``, ``repaired`` (rows that the comparison added, changed or removed),
        ``requests`` (Int64: those for this resource, but for pages that only tell its columns where
        no document does) and ``seconds`` (Float64: 0 where nothing changed, since all such
        resources are asked for together).

    Raises
    ------
    polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError
        A named column of the frame is not there, or has a type that it cannot have.
    EdFiError
        An argument is wrong, or another run is copying into the same place. All of these before
        anything is sent. What goes wrong with a district, a resource or its copy is its row.
    KeyboardInterrupt
        After Ctrl-C. Copies that were brought up to date are; the others are as they were.

    Examples
    --------
    >>> import tempfile
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(records=40) as ods, tempfile.TemporaryDirectory() as lake:
    ...     _, url, key, secret = ods.districts().row(0)
    ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    ...     first = edfi.sync(client, ["ed-fi/students"], into=lake)
    ...     ods.mutate("255901", "ed-fi/students", "insert", 2)
    ...     second = edfi.sync(client, ["ed-fi/students"], into=lake)
    ...     students = pl.read_parquet(f"{lake}/ed-fi/students/data.parquet")
    >>> first.select("mode", "rows").row(0), second.select("mode", "written").row(0)
    (('full', 10), ('changes', 2))
    >>> students.height
    12
    """
    plan = planned(
        source,
        endpoints,
        into=into,
        format=format,
        key_col=key_col,
        verify=verify,
        full=full,
        overlap=overlap,
        storage_options=storage_options,
        client=client,
        options=options,
    )
    with only_run(plan.into):
        try:
            return report.frame(run(plan), plan.keys)
        finally:
            if plan.ledger is not None:
                plan.ledger.save()


def planned(
    source: object,
    endpoints: str | Sequence[str] | None,
    *,
    into: str | os.PathLike[str],
    format: str = "parquet",  # noqa: A002
    key_col: str | None = None,
    verify: str | None = "count",
    full: bool = False,
    overlap: int | None = None,
    storage_options: Mapping[str, str] | None = None,
    client: EdFiClient | None = None,
    options: Mapping[str, Any] | None = None,
    is_part: bool = False,
) -> Plan:
    """Check what :func:`sync` was given, and say what is to do.

    A part of a run shares its folder with others, and leaves to them what they have in common.
    """
    given = dict(options or {})
    _native.check_sync(**given)
    settings = _native.defaults("sync") | given
    if format not in ("parquet", "delta"):
        msg = f'format must be "parquet" or "delta", got {format!r}'
        raise EdFiError(msg)
    schema = settings["schema"]
    if format == "delta" and isinstance(schema, Mapping | pl.Struct):
        # Changes are read as a table has them: what is merged keeps its dtypes.
        fields = schema.to_schema() if isinstance(schema, pl.Struct) else schema
        settings["schema"] = storable_schema(fields)
    if verify not in ("count", "full", None):
        msg = f'verify must be "count", "full" or None, got {verify!r}'
        raise EdFiError(msg)
    if overlap is not None and (
        isinstance(overlap, bool) or not isinstance(overlap, int) or overlap < 0
    ):
        msg = f"overlap must be a whole number >= 0, got {overlap!r}"
        raise EdFiError(msg)
    named = None if endpoints is None else _endpoints(endpoints)
    _check_key(key_col)
    keys, odss = _odss(source, key_col, client, settings)
    place = places.as_text(into)
    is_files = format == "parquet" and not places.is_remote(place)
    # Read before the lock is taken: an old one costs work, and never a row.
    ledger = Ledger(place) if is_files and not is_part else None
    return Plan(
        into=place,
        odss=odss,
        keys=keys,
        endpoints=named,
        open_copy=_opener(place, format, key_col, storage_options, ledger),
        ledger=ledger,
        is_local=is_files,
        is_part=is_part,
        key_col=key_col if keys is not None else None,
        verify=verify,
        full=full,
        overlap=OVERLAP if overlap is None else overlap,
        options=settings,
    )


def _check_key(key_col: str | None) -> None:
    """Refuse a name that the report has, or by which records are told apart."""
    if key_col == ID:
        why = "records are told apart by a column of that name"
    elif key_col in report.SCHEMA:
        why = "the report has a column of that name"
    else:
        return
    msg = f"key_col must not be {key_col!r}: {why}; rename the column of the frame"
    raise EdFiError(msg)


def _endpoints(endpoints: str | Sequence[str]) -> list[str]:
    """Check the names of resources; each is taken once."""
    names = [endpoints] if isinstance(endpoints, str) else list(endpoints)
    found: dict[str, str] = {}
    for name in names:
        plain = name.strip().strip("/") if isinstance(name, str) else ""
        parts = plain.split("/")
        if len(parts) != 2 or not all(part.strip(".") for part in parts) or "\\" in plain:  # noqa: PLR2004
            msg = f'endpoints must be resources such as "ed-fi/students", got {name!r}'
            raise EdFiError(msg)
        found.setdefault(plain.lower(), plain)
    return list(found.values())


def _odss(
    source: object, key_col: str | None, client: EdFiClient | None, settings: Mapping[str, object]
) -> tuple[pl.Series | None, list[Ods]]:
    if not isinstance(source, pl.DataFrame | EdFiClient) and hasattr(source, "__arrow_c_stream__"):
        source = pl.DataFrame(source)
    if isinstance(source, pl.DataFrame):
        if key_col is None:
            msg = "key_col must name the column that tells the districts apart"
            raise EdFiError(msg)
        own = EdFiClient() if client is None else client
        native_side(own)
        keys = source[key_col]
        keys = keys.str.strip_chars() if keys.dtype == pl.String else keys
        return keys, sources.of_frame(source, key_col, own, settings)
    if not isinstance(source, EdFiClient):
        hint = "; call .collect() first" if isinstance(source, pl.LazyFrame) else ""
        msg = f"source must be an EdFiClient or a frame of districts, got {kind(source)}{hint}"
        raise EdFiError(msg)
    if key_col is not None or client is not None:
        msg = "key_col and client are for a frame of districts; source is a client"
        raise EdFiError(msg)
    return None, sources.of_client(source)


def _opener(
    place: str,
    format_: str,
    key_col: str | None,
    storage_options: Mapping[str, str] | None,
    ledger: Ledger | None,
) -> Callable[[Ods, str], Copy]:
    given = None if storage_options is None else dict(storage_options)
    if format_ == "delta":
        from polars_edfi._sync.delta import Tables

        return Tables(place, key_col, given).open

    def open_file(ods: Ods, endpoint: str) -> ParquetFile:
        return ParquetFile(places.below(place, endpoint), ods.key, given, ledger)

    return open_file
