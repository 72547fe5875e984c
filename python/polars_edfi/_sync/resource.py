"""One resource of one ODS, brought up to date: a window, or everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from polars_edfi._changes import Changes
from polars_edfi._errors import EdFiError, HttpError
from polars_edfi._sync import stamps
from polars_edfi._sync.asker import UNKNOWN
from polars_edfi._sync.merge import ID, Difference, Merged, difference, merged
from polars_edfi._sync.people import People, Renamed, held, holding
from polars_edfi._sync.report import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polars_edfi._sync.asker import Asker, Stream
    from polars_edfi._sync.state import State

FEW_BY_ID = 20
"""So many rows are read again one by one, whatever the size of the resource."""
WINDOWS = 2
"""How often a copy that disagrees reads a window before it reads everything: others write on."""
SMALL = 20_000
"""A copy of so many rows is sooner looked through as a whole."""
DOCUMENTED = (pl.Date, pl.Datetime, pl.Int32)
"""Dtypes that columns have by a document alone."""
READINGS = 3
"""How often everything is read where records went missing on the way."""

Window = list[tuple[str, int]]
"""The records of a window, each by its id and its stamp."""


class Copy(Protocol):
    """Where the copy of one resource of one ODS is kept."""

    where: str

    def state(self) -> State | None:
        """Read what the copy says of itself."""

    def scan(self) -> pl.LazyFrame:
        """Give its rows."""

    def new_file(self, spools: Path) -> Path:
        """Give the path of a file for its new rows."""

    def spool(self, rows: pl.LazyFrame, file: Path, state: Callable[[], State]) -> None:
        """Stream new rows into a file; their state is asked for when all of them are there."""

    def spooled(self, file: Path) -> pl.LazyFrame:
        """Give the rows of such a file."""

    def replace(self, new: Path, state: State) -> None:
        """Put new rows and their state in its place, at once."""

    def remember(self, state: State) -> None:
        """Keep what was learnt of a copy that stays as it is, where there is a place for that."""


@dataclass
class Resource:
    """One resource of one ODS in one run."""

    asker: Asker
    copy: Copy
    state: State | None
    fresh: State
    """The state of a copy that is begun now."""
    key_fields: Callable[[], tuple[str, ...] | None]
    """Asks for the columns of its natural key."""
    people: People
    district: int
    overlap: int
    verify: str | None
    spools: Path

    def full(self) -> Row:
        """Read everything."""
        before = self.state
        found, state = self._read_everything()
        version = self.fresh.version
        row = self._row("full", None, version, state.rows)
        row.written = state.rows if before is None else found.written
        row.deleted = found.removed
        if self.verify == "count" and version is not None and before is None:
            # Others wrote while it was read: what they did is in the next window.
            self.state = state
            self._settle(row, self.asker.count())
        return self._counted(row)

    def window(self, window: Window | None, count: int | None) -> Row:
        """Read what changed; everything, where that does not do."""
        state = self._known
        renamed = self.people.since(state, self.overlap)
        row = self._row("unchanged", state.version, state.version, state.rows)
        row.written = row.deleted = row.repaired = 0
        holders = self._holders(renamed)
        if holders is None:
            return self.full()
        agrees = count is None or count - state.surplus == state.rows
        nothing_new = self.verify == "count" and count is not None and self._has(window)
        if nothing_new and agrees and not holders:
            self._remember(window or [])
            return self._counted(row)
        row.mode = "changes"
        try:
            self._merge(row, holders)
        except HttpError as error:
            # Whoever may read records need not be allowed to read what changed.
            if not str(error).startswith("HTTP 403"):
                raise
            return self.full()
        if self.verify == "count":
            self._settle(row, self.asker.count())
        elif self.verify == "full":
            self._repair(row, None)
        if row.mode == "changes" and not (row.written or row.deleted or row.repaired):
            row.mode = "unchanged"
        return self._counted(row)

    def _remember(self, window: Window) -> None:
        """Keep what was found out of a copy that stays as it is."""
        state = self._known
        handled = self.people.handled(state, state.version or 0, self.overlap)
        if window or handled != state.handled:
            known = state.with_stamps(stamps.of_window(window)) if window else state
            self.copy.remember(replace(known, handled=handled))

    @property
    def _is_given(self) -> bool:
        """Whether the caller says the columns, of which texts may hold anything."""
        return not isinstance(self.asker.options["schema"], str)

    @property
    def _known(self) -> State:
        if self.state is None:
            msg = "there is no copy yet"
            raise EdFiError(msg)
        return self.state

    def _row(self, mode: Any, since: int | None, version: int | None, rows: int) -> Row:
        row = Row(self.district, self.asker.endpoint, mode=mode, since=since, version=version)
        row.rows = rows
        row.repaired = 0
        return row

    def _counted(self, row: Row) -> Row:
        row.requests, row.seconds = self.asker.requests, self.asker.seconds
        return row

    def _has(self, window: Window | None) -> bool:
        """Tell whether the copy has all records of a window already."""
        if not window:
            return window is not None
        copy = self.copy.scan()
        names = stamps.columns(copy.collect_schema())
        if not names:
            return False
        rows = copy.select(names).filter(pl.col(ID).is_in([id_ for id_, _ in window]))
        is_small = self._known.rows <= SMALL
        known = stamps.of_each(rows.collect(engine="in-memory" if is_small else "streaming"))
        return known.issuperset(stamp for _, stamp in window)

    def _holders(self, renamed: list[Renamed]) -> list[str] | None:
        """Give the rows that may hold an old key of somebody; none if all must be read."""
        if not renamed:
            return []
        if not all(one.whole for one in renamed):
            return None
        copy = self.copy.scan()
        rows = holding(copy.collect_schema(), renamed, in_texts=self._is_given)
        ids: list[str] = copy.filter(rows).select(ID).collect(engine="streaming")[ID].to_list()
        if ids and self.asker.options["snapshot"]:
            return None  # items by id are read as they are now
        pages = self._known.rows // self.asker.options["limit"] + 1
        return ids if len(ids) <= max(FEW_BY_ID, pages) else None

    def _merge(self, row: Row, holders: list[str]) -> None:
        """Merge the window since the copy's version, and read some rows again."""
        state, asker = self._known, self.asker
        begin = max((state.version or 0) - self.overlap, 0)
        key_changes = asker.key_changes(begin)
        records = asker.records(begin)
        self._check_columns(records)
        deletes = asker.deletes(begin)
        silent = self._silent(key_changes, records)
        if silent and asker.options["snapshot"]:  # where nothing moves, they are gone
            deletes = _with_ids(deletes, silent)
        elif silent:
            holders = [*holders, *silent]
        if holders:
            there, gone = asker.by_id(holders, self.copy.scan().collect_schema())
            frames = [frame for frame in (records, there) if frame.width]
            records = pl.concat(frames, how="diagonal_relaxed") if frames else records
            deletes = _with_ids(deletes, gone)
        changes = Changes(records, deletes, key_changes, 0)
        found = merged(self.copy.scan(), changes, state.key_fields, state.rows)
        version = self.fresh.version
        if not found.difference and not holders:
            return
        handled = self.people.handled(state, version or 0, self.overlap)
        self._write(found, replace(state, rows=found.height, version=version, handled=handled))
        row.version, row.rows = version, found.height
        row.written = (row.written or 0) + found.difference.written
        row.deleted = (row.deleted or 0) + found.difference.removed

    def _check_columns(self, records: pl.DataFrame) -> None:
        """Refuse records whose columns were guessed, where those of the copy are of a document.

        In a night without the document, texts would make texts of all dates for good.
        """
        if self.asker.options["schema"] != "auto" or UNKNOWN in records.columns:
            return
        schema = self.copy.scan().collect_schema()
        for name, dtype in records.schema.items():
            ours = schema.get(name)
            is_documented = isinstance(ours, DOCUMENTED)
            if is_documented and dtype not in (ours, pl.Null):
                msg = (
                    f"the ODS serves no OpenAPI document now, by which this copy's {name!r} is"
                    f" {ours}; the copy is as it was"
                )
                raise EdFiError(msg)

    def _silent(self, key_changes: pl.DataFrame, records: pl.DataFrame) -> list[str]:
        """Give the rows whose keys changed, and of which no record came.

        They were made again, or went out of sight. Nobody tells so, and the key that they are told
        to have may be that of somebody who has another one by now.
        """
        if not key_changes.height:
            return []
        changed = key_changes[ID]
        if ID in records.columns:
            changed = changed.filter(~changed.is_in(records[ID].implode()))
        rows = self.copy.scan().select(ID).filter(pl.col(ID).is_in(changed.implode()))
        ids: list[str] = rows.collect(engine="streaming")[ID].to_list() if changed.len() else []
        return ids

    def _settle(self, row: Row, count: int | None) -> None:
        """Read on until the copy has as many rows as the ODS counts."""
        for _ in range(WINDOWS):
            state = self._known
            if count is None or count - state.surplus == state.rows:
                return
            self._merge(row, [])
            count = self.asker.count()
        if count is not None and count - self._known.surplus != self._known.rows:
            self._repair(row, count)

    def _repair(self, row: Row, count: int | None) -> None:
        """Read everything, since the copy disagrees with the ODS."""
        found, state = self._read_everything(count)
        row.repaired = found.added + found.changed + found.removed
        row.version, row.rows = state.version, state.rows

    def _read_everything(self, count: int | None = None) -> tuple[Difference, State]:
        """Read everything anew, and tell what was different before."""
        for reading in range(READINGS):
            try:
                return self._read_once(count)
            except (EdFiError, pl.exceptions.ComputeError) as error:
                # Records that went missing while others were written, as reads in a batch do.
                if "the server counts" not in str(error) or reading + 1 == READINGS:
                    raise
        raise AssertionError

    def _read_once(self, count: int | None) -> tuple[Difference, State]:
        newest = None if count is None else self.asker.newest()
        stream = self.asker.scan()
        handled = self.people.handled(None, self.fresh.version or 0, self.overlap)
        schema = pl.Schema(stream.schema)
        base = replace(
            self.fresh,
            key_fields=self.key_fields(),
            people=held(schema, in_texts=self._is_given),
            handled=handled,
        )
        file = self.copy.new_file(self.spools)
        try:
            self.copy.spool(stream.lazy(), file, lambda: as_streamed(stream, base))
            rows, distinct = stream.rows, stream.distinct()
            if distinct is None:
                rows, distinct = _counts(self.copy.spooled(file))
            if distinct < rows:
                twice = self.copy.spooled(file).collect()
                once = twice.unique(ID, keep="last", maintain_order=True)
                rows = once.height
                base = base.with_stamps(stamps.of(once))
                self.copy.spool(once.lazy(), file, lambda: replace(base, rows=rows))
            else:
                base = as_streamed(stream, base)
            state = replace(base, rows=rows)
            surplus = self._surplus(count, rows, newest)
            if surplus:
                state = replace(state, surplus=surplus)
                other = file.with_name(f"{file.name}.counted.new")
                self.copy.spool(self.copy.spooled(file), other, lambda: state)
                other.replace(file)
            found = Difference(added=rows)
            if self.state is not None:
                found = difference(self.copy.scan(), self.copy.spooled(file))
            self.copy.replace(file, state)
        finally:
            file.unlink(missing_ok=True)
        self.state = state
        return found, state

    def _surplus(self, count: int | None, rows: int, newest: int | None) -> int:
        """Tell how many records more the ODS counts than it gives, if nobody wrote meanwhile.

        There are releases that count too many, and servers that count up to a limit.
        """
        if count is None or count == rows or self.asker.count() != count:
            return 0
        return count - rows if self.asker.newest() == newest else 0

    def _write(self, found: Merged, state: State) -> None:
        file = self.copy.new_file(self.spools)
        state = replace(state, people=held(found.rows.collect_schema(), in_texts=self._is_given))
        state = state.with_stamps(stamps.of(found.touched))
        try:
            self.copy.spool(found.rows, file, lambda: state)
            self.copy.replace(file, state)
        finally:
            file.unlink(missing_ok=True)
        self.state = state


def _with_ids(deletes: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    return pl.concat([deletes, pl.DataFrame({ID: ids}, {ID: pl.String})], how="diagonal_relaxed")


def as_streamed(stream: Stream, base: State) -> State:
    """Give the state of a copy of all that a stream brought."""
    return replace(base, rows=stream.rows).with_stamps(stream.newest.stamps())


def _counts(rows: pl.LazyFrame) -> tuple[int, int]:
    """Count rows, and those of them that differ in their id.

    Ids are counted by their hashes, which take less memory: two ids of one hash cost a look at all.
    """
    counts = rows.select(pl.len(), pl.col(ID).hash().n_unique().alias("distinct"))
    if rows.collect_schema()[ID] != pl.String:
        counts = rows.select(pl.len(), pl.len().alias("distinct"))
    return counts.collect(engine="streaming").row(0)
