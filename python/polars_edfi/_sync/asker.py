"""What one ODS is asked for one resource, within the limit of the run, and how often."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.io.plugins import register_io_source

from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._errors import HttpError
from polars_edfi._sync.stamps import Newest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polars_edfi._client import EdFiClient

LOGGER = logging.getLogger("polars_edfi")
READ_OPTIONS = ("workers", "limit", "schema", "separator", "links", "paging", "snapshot")
"""Options of everything that is read."""
UNKNOWN = "_unknown"
FEW_IDS = 20_000
"""So many ids of a stream are kept to be counted."""


@dataclass
class Asker:
    """Asks one ODS about one resource."""

    client: EdFiClient
    endpoint: str
    limiter: _native.Limiter
    options: Mapping[str, Any]
    key_col: str | None
    key: pl.Series | None
    """The district's key, one value."""
    began: float = field(default_factory=time.perf_counter)
    asked: int = 0
    """Requests that others have sent for it."""
    _sent: list[_native.Call | _native.Pages] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many requests it took so far."""
        return self.asked + sum(one.requests() for one in self._sent)

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return time.perf_counter() - self.began

    def _call(self) -> _native.Call:
        call = _native.Call(self.limiter)
        self._sent.append(call)
        return call

    def _told(self, call: _native.Call | _native.Pages) -> None:
        for text in call.warnings():
            LOGGER.warning("%s: %s", self.endpoint, text)

    @property
    def _native(self) -> _native.Client:
        return native_side(self.client)

    @property
    def _reading(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name in READ_OPTIONS}

    def count(self) -> int | None:
        """Count the records; none where the ODS does not count."""
        try:
            return _native.count(
                self._native,
                self._call(),
                endpoint=self.endpoint,
                snapshot=self.options["snapshot"],
            )
        except HttpError as error:
            if "no Total-Count" in str(error):
                return None
            raise

    def newest(self) -> int:
        """Ask for the newest change version, that of the snapshot where one is read."""
        snapshot = self.options["snapshot"]
        return _native.available_change_versions(self._native, self._call(), snapshot=snapshot)[1]

    def key_changes(self, since: int) -> pl.DataFrame:
        """Read the changed keys; an ODS that knows none has none."""
        return self._tracked(_native.key_changes, since, None)

    def deletes(self, since: int) -> pl.DataFrame:
        """Read the deletes; a resource that has none of its own has none."""
        return self._tracked(_native.deletes, since, None)

    def keys_before(self, since: int, until: int) -> pl.DataFrame:
        """Read the changed keys of a range."""
        return self._tracked(_native.key_changes, since, until)

    def _tracked(self, read: Any, since: int, until: int | None) -> pl.DataFrame:
        given = {name: self.options[name] for name in ("limit", "workers", "snapshot")}
        window = {"min_change_version": since, "max_change_version": until}
        try:
            rows: pl.DataFrame = read(
                self._native, self._call(), endpoint=self.endpoint, **window, **given
            )
        except HttpError as error:
            if str(error).startswith("HTTP 404"):
                return pl.DataFrame(schema={"id": pl.String, "changeVersion": pl.Int64})
            raise
        return rows

    def records(self, since: int) -> pl.DataFrame:
        """Read what is new or changed since a version, by offset: such windows are small."""
        given = self._reading | {"paging": "offset"}
        call = self._call()
        data, message, *_ = _native.get_all(
            self._native, call, endpoint=self.endpoint, min_change_version=since, **given
        )
        if data is None:
            raise HttpError(message)
        self._told(call)
        return self._with_key(data)

    def by_id(self, ids: Sequence[str], schema: pl.Schema) -> tuple[pl.DataFrame, list[str]]:
        """Read items again: those that are there, and the ids of those that are not."""
        wanted = {n: t for n, t in schema.items() if n not in (self.key_col, UNKNOWN)}
        found = _native.batch_get_by_id(
            self._native,
            self._call(),
            pl.DataFrame({"id": ids}),
            endpoint=self.endpoint,
            id_col="id",
            flatten=True,
            schema=wanted,
            workers=self.options["workers"],
        )
        gone = pl.col("http_status") == 404  # noqa: PLR2004
        for message in found.filter(pl.col("status").is_not_null() & ~gone)["message"]:
            raise HttpError(message)
        there = found.filter(pl.col("status").is_null())
        about = ["status", "message", "http_status", "correlation_id", "row_index", "row_id"]
        # The item's own id stands behind the column of ids that was given.
        there = there.drop("id").rename({"id_record": "id"}, strict=False).drop(about)
        if "id" not in there.columns:
            there = there.with_columns(found.filter(pl.col("status").is_null())["id"])
        if not self.options["links"] and UNKNOWN in there.columns:
            bare = pl.col(UNKNOWN).map_elements(_without_links, return_dtype=pl.String)
            there = there.with_columns(bare)
        return self._with_key(there), found.filter(gone)["id"].to_list()

    def scan(self) -> Stream:
        """Read everything as a stream."""
        scan = _native.Scan(
            self._native, None, limiter=self.limiter, endpoint=self.endpoint, **self._reading
        )
        return Stream(self, scan)

    def _with_key(self, df: pl.DataFrame) -> pl.DataFrame:
        """Put the district's key before the columns of its records."""
        if self.key_col is None or self.key is None:
            return df
        if self.key_col in df.columns:
            df = df.rename({self.key_col: f"{self.key_col}_record"})
        return df.insert_column(0, self.key.alias(self.key_col).new_from_index(0, df.height))


class Stream:
    """All records of a resource, as they come."""

    def __init__(self, asker: Asker, scan: _native.Scan) -> None:
        self._asker = asker
        self._scan = scan
        self.rows = 0
        """How many came so far."""
        empty = asker._with_key(scan.schema())  # noqa: SLF001
        # Where nobody knows the columns of records and there is none, rows are told by their id.
        self.schema = empty.schema if "id" in empty.columns else empty.schema | {"id": pl.String}
        self.newest = Newest(self.schema)
        self._ids: list[pl.Series] | None = []

    def distinct(self) -> int | None:
        """Count the ids that came, as long as they were few."""
        ids = self._ids
        if ids is None or self.schema["id"] != pl.String:
            return None
        return pl.concat(ids).n_unique() if ids else 0

    def lazy(self) -> pl.LazyFrame:
        """Give the lazy frame that reads once."""
        return register_io_source(self, schema=pl.Schema(self.schema))

    def __call__(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,  # noqa: ARG002
    ) -> Iterator[pl.DataFrame]:
        if predicate is not None or n_rows is not None:
            msg = "a copy is made of all rows"
            raise NotImplementedError(msg)
        asker = self._asker
        pages = self._scan.pages(None, None, [], None)
        asker._sent.append(pages)  # noqa: SLF001
        try:
            for page in pages:
                self.rows += page.height
                rows = asker._with_key(page)  # noqa: SLF001
                self.newest.add(rows)
                if self.rows > FEW_IDS:
                    self._ids = None
                if self._ids is not None and rows.height:
                    self._ids.append(rows["id"])
                yield rows if with_columns is None else rows.select(with_columns)
        finally:
            pages.close()
        asker._told(pages)  # noqa: SLF001


def _without_links(text: str | None) -> str | None:
    """Leave the links out of what had no column, as reads without links do."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {name: bare(inner) for name, inner in value.items() if name != "link"}
            return {name: inner for name, inner in kept.items() if inner not in ({}, [])}
        if isinstance(value, list):
            items = [bare(item) for item in value]
            return [] if all(item == {} for item in items) else items
        return value

    kept = {} if text is None else bare(json.loads(text))
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False) if kept else None
