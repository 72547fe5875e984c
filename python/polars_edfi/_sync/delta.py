"""Copies in Delta tables: one table for each resource, the state of a district in its commit."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import polars as pl

from polars_edfi._apply import apply_changes
from polars_edfi._changes import Changes
from polars_edfi._errors import EdFiError
from polars_edfi._sync import people, places
from polars_edfi._sync.commit import (
    Rows,
    Target,
    is_leftover,
    name_file,
    takes_files,
    write,
)
from polars_edfi._sync.dtypes import storable, storable_schema
from polars_edfi._sync.parquet import spool
from polars_edfi._sync.state import NAME, OTHER, CopyError, State, digest_of, from_json, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deltalake import CommitProperties, DeltaTable

    from polars_edfi._sync.sources import Ods

NOT_IN_URLS = "%?#[]{}*|^"
"""What has another meaning in the URL that a table's folder becomes."""
LONGEST = 250
"""Characters of a partition's folder, as it is written there."""
COMMITS = 100
"""How often a commit is tried while others commit before it."""
HARMLESS = {
    "OPTIMIZE",
    "VACUUM START",
    "VACUUM END",
    "SET TBLPROPERTIES",
    "UPDATE TABLE METADATA",
    "UPDATE FIELD METADATA",
    "ADD CONSTRAINT",
    "DROP CONSTRAINT",
    "ADD FEATURE",
}
"""What others may do with a table without changing its rows."""
CASTS = pl.ScanCastOptions(
    integer_cast="upcast",
    float_cast="upcast",
    datetime_cast="millisecond-upcast",
    missing_struct_fields="insert",
    extra_struct_fields="ignore",
)
"""What files of a table may differ by from it."""


class Tables:
    """The tables of a run; each is opened once."""

    def __init__(
        self, into: str, key_col: str | None, storage_options: dict[str, str] | None
    ) -> None:
        try:
            import deltalake  # noqa: F401
        except ImportError:
            msg = 'format="delta" needs deltalake: pip install "polars-edfi[delta]"'
            raise EdFiError(msg) from None
        refused = "" if places.is_remote(into) else next((c for c in into if c in NOT_IN_URLS), "")
        if refused:
            msg = (
                f"into: deltalake opens no table in a folder with {refused!r} in its name: {into!r}"
            )
            raise EdFiError(msg)
        self._into = into
        self._key_col = key_col
        self._options = storage_options
        self._tables: dict[str, Table] = {}
        self._lock = threading.Lock()

    def open(self, ods: Ods, endpoint: str) -> Partition:
        """Give the copy of a resource of one ODS."""
        with self._lock:
            place = places.below(self._into, endpoint)
            table = self._tables.setdefault(endpoint, Table(place, endpoint, self._options))
        return Partition(table, ods, self._key_col)


@dataclass
class Table:
    """One table; its commits go one after another."""

    where: str
    endpoint: str
    options: dict[str, str] | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    _opening: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is opened: once, and not by each of many threads."""
    _states: dict[str | None, State] | None = None
    is_touched: bool = False
    """Whether others have changed rows since the oldest commit that is known."""
    _seen: int = -1
    """The last commit that was looked at."""
    _is_touched_now: bool = False
    """Whether others have changed rows during this run."""
    _open: DeltaTable | None = None
    _files: tuple[DeltaTable, pl.DataFrame] | None = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Tell what is wrong with a table as what is wrong with a copy."""
        from deltalake.exceptions import DeltaError

        try:
            yield
        except CopyError:
            raise
        except Exception as error:  # some of its errors have no class of their own
            if not isinstance(error, DeltaError) and type(error) is not Exception:
                raise
            # Behind the first line stand rows that others' constraints refuse: people's data.
            msg = f"{self.where}: {str(error).partition(chr(10))[0]}"
            raise CopyError(msg) from None

    def read(self) -> DeltaTable | None:
        """Open it, once for all that is done between two commits; none where there is none."""
        with self._opening:
            if self._open is None:
                self._open = self._read()
            return self._open

    def changed(self) -> None:
        """Open it anew the next time."""
        self._open = self._files = None

    def is_beyond(self, table: DeltaTable | None) -> bool:
        """Tell whether others have committed since it was opened."""
        self.changed()
        now = self.read()
        return now is not None and (table is None or now.version() > table.version())

    def scan(self, table: DeltaTable, key_col: str | None, value: Any) -> pl.LazyFrame:
        """Give the rows of a district, from its own files alone.

        Polars' own scan asks for files by the URLs of their names, and finds none where a folder or
        ``key_col`` has a space in its name.
        """
        rows = pl.scan_delta(table)
        with self.errors():
            schema = rows.collect_schema()
        self.check_partitions(table, key_col)
        if table.protocol().reader_features:  # others have rewritten it: rows may be marked as gone
            return rows if key_col is None else rows.filter(pl.col(key_col) == value)
        files = self.files_of(table)
        if key_col is not None and isinstance(value, str) != (schema[key_col] == pl.String):
            msg = f"{self.where}: its {key_col} is {schema[key_col]}; give the keys that dtype"
            raise CopyError(msg)
        if key_col is not None and files.height:
            files = files.filter(pl.col(f"partition.{key_col}") == value)
        if not files.height:
            return pl.LazyFrame(schema=schema)
        rows = pl.scan_parquet(
            [f"{self.where.rstrip('/')}/{unquote(path)}" for path in files["path"]],
            schema={name: dtype for name, dtype in schema.items() if name != key_col},
            glob=False,
            hive_partitioning=False,
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=CASTS,
            storage_options=self.options,
        )
        if key_col is not None:
            rows = rows.with_columns(pl.lit(value, schema[key_col]).alias(key_col))
        return rows.select(schema.names())

    def check_partitions(self, table: DeltaTable, key_col: str | None) -> None:
        """Refuse a table that others have divided otherwise: its files lack other columns."""
        there = table.metadata().partition_columns
        mine = [] if key_col is None else [key_col]
        if there != mine:
            msg = f"{self.where} is partitioned by {there}, not by {mine}; copy elsewhere"
            raise CopyError(msg)

    def _read(self) -> DeltaTable | None:
        from deltalake import DeltaTable

        with self.errors():
            if DeltaTable.is_deltatable(self.where, self.options):
                return DeltaTable(self.where, storage_options=self.options)
        if not places.is_remote(self.where) and not is_leftover(self.where):
            msg = f"{self.where} holds what is no Delta table; copy into a folder of its own"
            raise CopyError(msg)
        return None

    def files_of(self, table: DeltaTable) -> pl.DataFrame:
        """Give the files of a table, with their partitions."""
        with self._opening:
            known = self._files  # others may commit meanwhile
            if known is None or known[0] is not table:
                with self.errors():
                    known = table, pl.DataFrame(table.get_add_actions(flatten=True))
                self._files = known
            return known[1]

    def states(self, table: DeltaTable) -> dict[str | None, State]:
        """Give the last state of each district that the table's log still tells."""
        with self.lock:
            if self._states is None:
                found: dict[str | None, State] = {}
                with self.errors():
                    commits = table.history()
                for commit in commits:  # the last one first
                    if NAME in commit:
                        state = from_json(commit[NAME], self.where)
                        found.setdefault(state.key, self._as_it_is(state))
                    elif _is_touch(commit):
                        self.is_touched = True
                self._states, self._seen = found, table.version()
            return self._states

    def as_written(self, table: DeltaTable, state: State) -> State:
        """Give the state of new rows: others may have changed meanwhile what they stem from."""
        unseen = table.version() - self._seen
        with self.errors():
            commits = table.history(unseen) if unseen > 0 else []
        self._is_touched_now |= any(map(_is_touch, commits))
        self._seen = table.version()
        return replace(state, shape=OTHER, stamps="") if self._is_touched_now else state

    def _as_it_is(self, state: State) -> State:
        """Give a state, or that of rows that are not what it says: others wrote after it.

        As whoever restores an old version does.
        """
        return replace(state, shape=OTHER, stamps="") if self.is_touched else state


def _is_touch(commit: Mapping[str, Any]) -> bool:
    """Tell whether others may have changed rows by a commit."""
    return NAME not in commit and commit.get("operation") not in HARMLESS


class Partition:
    """The copy of one resource of one ODS: its rows in the table."""

    def __init__(self, table: Table, ods: Ods, key_col: str | None) -> None:
        self._table = table
        self._ods = ods
        self._key_col = key_col
        self.where = table.where if ods.key is None else f"{table.where} ({key_col} {ods.key})"

    @property
    def _value(self) -> Any:
        return None if self._ods.value is None else self._ods.value.item()

    @property
    def _app(self) -> str:
        """The name under which the table's log keeps the version for good."""
        source = hashlib.sha256(self._ods.source.encode()).hexdigest()[:16]
        return f"{NAME}:{places.file_name(self._ods.key)}:{source}"

    def state(self) -> State | None:
        """Read what the last commit of this district says."""
        if len(quote(f"{self._key_col}={self._ods.key}")) > LONGEST:
            msg = f"{self.where}: the key is too long for the folder of a table's partition"
            raise CopyError(msg)
        table = self._table.read()
        if table is None:
            return None
        self._check_files(table)
        known = self._table.states(table).get(self._ods.key)
        if known is not None:
            return known
        with self._table.errors():  # this reads the log anew
            version = table.transaction_version(self._app)
            shape = table.transaction_version(f"{self._app}:shape")
        rows = self._scan(table).select(pl.len()).collect().item()
        if version is None:
            if rows:
                msg = f"{self.where} has rows that no run of this ODS has written; remove them"
                raise CopyError(msg)
            return None
        # The log is cleaned up after some time; what is left of it says how to go on.
        schema = self._scan(table).collect_schema()
        known_shape = "" if shape is None else digest_of(shape)
        return State(
            self._table.endpoint,
            self._ods.source,
            self._ods.key,
            rows,
            version or None,
            None,
            OTHER if self._table.is_touched else known_shape,
            people.held(schema),
        )

    def _check_files(self, table: DeltaTable) -> None:
        """Refuse rows of which files are missing: where nothing changes, nobody else notices."""
        if places.is_remote(self._table.where):
            return
        files = self._table.files_of(table)
        name = f"partition.{self._key_col}"
        if name in files.columns and files.height:
            files = files.filter(pl.col(name).cast(pl.String) == str(self._value))
        for path in files["path"]:
            if not Path(self._table.where, unquote(path)).exists():
                msg = f"{self.where} is damaged: its file {path!r} is not there"
                raise CopyError(msg)

    def scan(self) -> pl.LazyFrame:
        """Give its rows."""
        table = self._table.read()
        if table is None:
            msg = f"{self.where} is gone"
            raise CopyError(msg)
        return self._scan(table)

    def _scan(self, table: DeltaTable) -> pl.LazyFrame:
        return self._table.scan(table, self._key_col, self._value)

    def new_file(self, spools: Path) -> Path:
        """Give the path of a file for new rows, from which they go into the table."""
        name = hashlib.sha256(self.where.encode()).hexdigest()[:24]
        return spools / f"{name}.new"

    def spool(self, rows: pl.LazyFrame, file: Path, state: Callable[[], State]) -> None:  # noqa: ARG002
        """Stream rows into a new file as a table's files are; their state goes into the commit."""
        rows = rows.cast(storable_schema(rows.collect_schema()))
        spool(rows.drop(self._key_col or [], strict=False), file)

    def spooled(self, file: Path) -> pl.LazyFrame:
        """Give the rows of a new file, with the district's key."""
        rows = pl.scan_parquet(file, glob=False)
        if self._key_col is None or self._ods.value is None:
            return rows
        key = pl.lit(self._value, storable(self._ods.value.dtype)).alias(self._key_col)
        return rows.select(key, pl.all())

    def replace(self, new: Path, state: State) -> None:
        """Put new rows into the place of the old ones, in one commit with their state."""
        with self._table.lock:
            for attempt in range(COMMITS):
                self._table.changed()  # others may have written meanwhile
                table = self._table.read()
                try:
                    self._replace(table, new, state)
                except CopyError:
                    is_named = not new.exists()  # by a commit that came about all the same
                    if is_named or attempt + 1 == COMMITS or not self._table.is_beyond(table):
                        raise
                else:
                    break
            self._table.changed()

    def _replace(self, table: DeltaTable | None, new: Path, state: State) -> None:
        target = Target(self._table.where, self._table.options, self._key_col, self._value)
        rows, is_whole = self.spooled(new), False
        if table is not None:
            self._table.check_partitions(table, self._key_col)
            state = self._table.as_written(table, state)
            rows, is_whole = self._fitted(table, new)
        commit = self._commit(state)
        schema = rows.collect_schema()
        with self._table.errors():
            if is_whole or not takes_files(table, schema):
                write(table, target, rows, commit, is_whole=is_whole)
            else:
                name_file(table, target, Rows(new, schema), commit)

    def _commit(self, state: State) -> CommitProperties:
        from deltalake import CommitProperties, Transaction

        return CommitProperties(
            custom_metadata={NAME: state.to_json()},
            app_transactions=[
                Transaction(self._app, state.version or 0),
                Transaction(f"{self._app}:shape", number_of(state.shape)),
            ],
            # It would take the files of an older version away, and leave what has replaced them.
            max_commit_retries=0,
        )

    def _fitted(self, table: DeltaTable, new: Path) -> tuple[pl.LazyFrame, bool]:
        """Give the rows of a new file, which then is as the table's files are.

        Where the table has no dtypes that hold them, give all its rows in wider ones.
        """
        schema = dict(pl.scan_delta(table).collect_schema())
        rows = self.spooled(new)
        if all(schema.get(n, dtype) == dtype for n, dtype in rows.collect_schema().items()):
            return rows, False
        mine = rows.collect()
        fitted = fit(mine, schema)
        if all(fitted.schema[name] == dtype for name, dtype in schema.items()):
            other = new.with_name(f"{new.name}.fitted.new")
            spool(fitted.select(mine.columns).drop(self._key_col or [], strict=False).lazy(), other)
            other.replace(new)
            return self.spooled(new), False
        parts = [mine, *self._others(table)]
        wide: dict[str, Any] = {}
        while wide != schema:
            wide = schema
            for part in parts:
                schema = dict(fit(part, schema).schema)
        return pl.concat([fit(part, wide) for part in parts]).lazy(), True

    def _others(self, table: DeltaTable) -> Iterator[pl.DataFrame]:
        """Give the rows of the other districts, one after another."""
        if self._key_col is None:
            return
        files = self._table.files_of(table)
        for value in files[f"partition.{self._key_col}"].unique(maintain_order=True):
            if value != self._value:
                yield self._table.scan(table, self._key_col, value).collect()

    def remember(self, state: State) -> None:
        """Keep nothing: what is known of a table stands in its log."""


def fit(rows: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Give the rows of a district in these dtypes, or in wider ones that hold both."""
    records = Changes(rows, pl.DataFrame(), pl.DataFrame(), 0)
    return apply_changes(pl.DataFrame(schema=dict(schema)), records)
