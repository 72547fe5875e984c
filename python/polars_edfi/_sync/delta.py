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
from polars_edfi._sync.state import NAME, OTHER, CopyError, State, from_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deltalake import DeltaTable

    from polars_edfi._sync.sources import Ods

READ = 4_096
"""Rows that are read at once on their way into a table: a row group of the file they come from."""
BATCH = 512
"""Rows of a batch; the writer holds ten of these before it."""
FILE_SIZE = 32 << 20
"""Bytes of a file; as many are held in memory while it is written."""
NOT_IN_URLS = "%?#[]{}*|^"
"""What has another meaning in the URL that a table's folder becomes."""
LONGEST = 250
"""Characters of a partition's folder, as it is written there."""
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
    _states: dict[str | None, State] | None = None
    is_touched: bool = False
    """Whether others have changed rows since the oldest commit that is known."""
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
            msg = f"{self.where}: {error}"
            raise CopyError(msg) from None

    def read(self) -> DeltaTable | None:
        """Open it, once for all that is done between two commits; none where there is none."""
        if self._open is None:
            self._open = self._read()
        return self._open

    def changed(self) -> None:
        """Open it anew the next time."""
        self._open = self._files = None

    def scan(self, table: DeltaTable, key_col: str | None, value: Any) -> pl.LazyFrame:
        """Give the rows of a district, from its own files alone.

        Polars' own scan asks for files by the URLs of their names, and finds none where a folder or
        ``key_col`` has a space in its name.
        """
        if table.protocol().reader_features:  # others have rewritten it: rows may be marked as gone
            rows = pl.scan_delta(table)
            return rows if key_col is None else rows.filter(pl.col(key_col) == value)
        schema = pl.scan_delta(table).collect_schema()
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

    def _read(self) -> DeltaTable | None:
        from deltalake import DeltaTable

        with self.errors():
            if DeltaTable.is_deltatable(self.where, self.options):
                return DeltaTable(self.where, storage_options=self.options)
        folder = Path(self.where)
        if not places.is_remote(self.where) and folder.exists() and any(folder.iterdir()):
            msg = f"{self.where} holds what is no Delta table; copy into a folder of its own"
            raise CopyError(msg)
        return None

    def files_of(self, table: DeltaTable) -> pl.DataFrame:
        """Give the files of a table, with their partitions."""
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
                    elif commit.get("operation") not in HARMLESS:
                        self.is_touched = True
                self._states = found
            return self._states

    def _as_it_is(self, state: State) -> State:
        """Give a state, or that of rows that are not what it says: others wrote after it.

        As whoever restores an old version does.
        """
        return replace(state, shape=OTHER, stamps="") if self.is_touched else state


class Partition:
    """The copy of one resource of one ODS: its rows in the table."""

    row_group = READ

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
        with self._table.errors():
            version = table.transaction_version(self._app)
        if known is not None and (version is None or version == (known.version or 0)):
            return known
        rows = self._scan(table).select(pl.len()).collect().item()
        if version is None:
            if rows:
                msg = f"{self.where} has rows that no run of this ODS has written; remove them"
                raise CopyError(msg)
            return None
        # The log is cleaned up after some time; what is left of it says how to go on.
        schema = self._scan(table).collect_schema()
        return State(
            self._table.endpoint,
            self._ods.source,
            self._ods.key,
            rows,
            version or None,
            None,
            OTHER if self._table.is_touched else "",
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

    def replace(self, new: Path, state: State) -> None:
        """Put new rows into the place of the old ones, in one commit with their state."""
        from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

        commit = CommitProperties(
            custom_metadata={NAME: state.to_json()},
            app_transactions=[Transaction(self._app, state.version or 0)],
        )
        given: dict[str, Any] = {
            "storage_options": self._table.options,
            "commit_properties": commit,
            "target_file_size": FILE_SIZE,
            "writer_properties": WriterProperties(compression="SNAPPY", max_row_group_size=READ),
        }
        if self._key_col is not None:
            given["partition_by"] = [self._key_col]
        rows = pl.scan_parquet(new, glob=False)
        rows = rows.cast({n: _storable(dtype) for n, dtype in rows.collect_schema().items()})
        with self._table.lock:
            table = self._table.read()
            if table is None:
                given["mode"] = "append"
            else:
                rows, is_whole = self._fitted(table, rows)
                given |= {"mode": "overwrite", "schema_mode": "overwrite" if is_whole else "merge"}
                if self._key_col is not None and not is_whole:
                    given["predicate"] = self._predicate(self._key_col)
            with self._table.errors():
                write_deltalake(self._table.where, _batches(rows), **given)
            self._table.changed()

    def _fitted(self, table: DeltaTable, rows: pl.LazyFrame) -> tuple[pl.LazyFrame, bool]:
        """Give the rows in the dtypes of the table.

        Where it has none that hold them, give all rows of the table in wider ones. Its writer would
        have values fit that do not.
        """
        schema = dict(pl.scan_delta(table).collect_schema())
        if all(schema.get(n, dtype) == dtype for n, dtype in rows.collect_schema().items()):
            return rows, False
        mine = rows.collect()
        fitted = fit(mine, schema)
        if all(fitted.schema[name] == dtype for name, dtype in schema.items()):
            return fitted.select(mine.columns).lazy(), False
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

    def _predicate(self, key_col: str) -> str:
        value = self._value
        name = key_col.replace('"', '""')
        literal = (
            str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
        )
        return f'"{name}" = {literal}'


def fit(rows: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Give the rows of a district in these dtypes, or in wider ones that hold both."""
    records = Changes(rows, pl.DataFrame(), pl.DataFrame(), 0)
    return apply_changes(pl.DataFrame(schema=dict(schema)), records)


def _batches(rows: pl.LazyFrame) -> Any:
    """Stream rows into a table."""
    from arro3.core import RecordBatchReader
    from arro3.core import Table as ArrowTable

    def parts() -> Iterator[Any]:
        height = rows.select(pl.len()).collect().item()
        for start in range(0, height, READ):
            for part in rows.slice(start, READ).collect().iter_slices(BATCH):
                yield from ArrowTable.from_arrow(part).to_batches()

    empty = ArrowTable.from_arrow(rows.head(0).collect())
    return RecordBatchReader.from_batches(empty.schema, parts())


def _storable(dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return pl.List(_storable(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({part.name: _storable(part.dtype) for part in dtype.fields})
    if dtype in (pl.Null, pl.Categorical, pl.Time) or isinstance(dtype, pl.Enum):
        return pl.String
    if dtype in (pl.UInt8, pl.UInt16, pl.UInt32):
        return pl.Int64
    return dtype
