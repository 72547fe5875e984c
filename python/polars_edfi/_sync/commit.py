"""New rows of a Delta table, in one commit with the state of their copy.

Polars writes the file, as it writes that of a Parquet copy, and a commit names it: deltalake's own
writer takes twice the time, and a third more memory.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from polars_edfi._sync import places
from polars_edfi._sync.dtypes import has_zoneless
from polars_edfi._sync.parquet import put
from polars_edfi._sync.state import CopyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deltalake import CommitProperties, DeltaTable
    from deltalake.schema import Schema
    from deltalake.transaction import AddAction

OURS = "polars-edfi-"
"""What the names of files begin with that Polars has written."""
FOR_ANYONE = {"appendOnly", "invariants", "timestampNtz"}
"""What a table may ask of whoever writes to it, and is asked of deltalake's own writer too."""
DEMANDS = ('"nullable":false', '"containsNull":false', "delta.invariants")
"""What the columns of a table may ask of rows."""
ROW_GROUP = 4_096
"""Rows of a row group that deltalake's writer makes."""
FILE_SIZE = 32 << 20
"""Bytes of a file that it makes; as many are held in memory while it is written."""


@dataclass(frozen=True)
class Target:
    """The part of a table whose rows are replaced."""

    where: str
    options: dict[str, str] | None
    key_col: str | None
    value: Any

    @property
    def partition(self) -> dict[str, str]:
        """The partition's value, as a table's log has it."""
        return {} if self.key_col is None else {self.key_col: str(self.value)}

    @property
    def folder(self) -> str:
        """The folder of the partition's files; the log escapes its name once more."""
        return "".join(f"{name}={quote(value, safe='')}/" for name, value in self.partition.items())

    @property
    def predicate(self) -> str | None:
        """What its rows have in common, in SQL."""
        if self.key_col is None:
            return None
        name = self.key_col.replace('"', '""')
        text = str(self.value)
        is_number = isinstance(self.value, int)
        return f'"{name}" = ' + (text if is_number else "'" + text.replace("'", "''") + "'")


def takes_files(table: DeltaTable | None, schema: Mapping[str, Any]) -> bool:
    """Tell whether files can be named to a table that deltalake has not written itself.

    It checks what others ask of rows, such as constraints, and has tables know times without a
    zone.
    """
    if table is None:
        return True
    columns = table.schema().to_json()
    if any(demand in columns for demand in DEMANDS):
        return False
    asked = table.protocol()
    features = set(asked.writer_features or ())
    knows_zoneless = "timestampNtz" in features
    last_plain, of_features = 2, 7
    if asked.min_writer_version > last_plain and asked.min_writer_version != of_features:
        return False
    return features <= FOR_ANYONE and (
        knows_zoneless or not any(has_zoneless(dtype) for dtype in schema.values())
    )


@dataclass(frozen=True)
class Rows:
    """A file of new rows, which lack the partition's column."""

    file: Path
    schema: Mapping[str, Any]
    """Of the rows with that column."""


def name_file(
    table: DeltaTable | None, target: Target, new: Rows, commit: CommitProperties
) -> None:
    """Put a file of new rows into its place, and name it to the table.

    Killed in between it is in nobody's way: readers know of it by the log alone.
    """
    from deltalake.transaction import create_table_with_add_actions

    fields = _fields(table, new.schema)
    actions: list[AddAction] = []
    height = pl.scan_parquet(new.file, glob=False).select(pl.len()).collect().item()
    if height:
        path = f"{target.folder}{OURS}{uuid.uuid4()}.parquet"
        actions = [_action(path, new.file, height, target)]
        put(new.file, f"{target.where.rstrip('/')}/{path}", target.options)
    columns = list(target.partition)
    try:
        if table is None:
            create_table_with_add_actions(
                target.where,
                fields,
                actions,
                partition_by=columns,
                storage_options=target.options,
                commit_properties=commit,
            )
            return
        table.create_write_transaction(
            list(actions),
            "overwrite",
            fields,
            columns,
            [(name, "=", value) for name, value in target.partition.items()] or None,
            commit_properties=commit,
        )
    except BaseException:
        for action in actions:
            _take_back(target, action.path, new.file)
        raise


def _action(path: str, file: Path, height: int, target: Target) -> AddAction:
    from deltalake.transaction import AddAction

    look = file.stat()
    return AddAction(
        path=path,
        size=look.st_size,
        partition_values=target.partition,
        modification_time=look.st_mtime_ns // 1_000_000,
        data_change=True,
        stats=json.dumps({"numRecords": height}),
    )


def _fields(table: DeltaTable | None, schema: Mapping[str, Any]) -> Schema:
    """Give the columns of a table with those that are new."""
    from arro3.core import Table as ArrowTable
    from deltalake.schema import Schema

    mine = Schema.from_arrow(ArrowTable.from_arrow(pl.DataFrame(schema=dict(schema))).schema)
    there = [] if table is None else list(table.schema().fields)
    known = {field.name for field in there}
    fields = there + [field for field in mine.fields if field.name not in known]
    names: dict[str, str] = {}
    for field in fields:
        other = names.setdefault(field.name.lower(), field.name)
        if other != field.name:
            msg = f"a table cannot tell the columns {other!r} and {field.name!r} apart"
            raise CopyError(msg)
    return Schema(fields) if len(fields) > len(there) or table is None else table.schema()


def _take_back(target: Target, path: str, new: Path) -> None:
    """Take the file of a commit back that did not come about: what the log names must stay."""
    from deltalake import DeltaTable

    if places.is_remote(target.where):
        return  # it may yet be under way
    try:
        is_there = DeltaTable.is_deltatable(target.where, target.options)
        table = DeltaTable(target.where, storage_options=target.options) if is_there else None
        named = set() if table is None else set(table.file_uris())
    except Exception:  # noqa: BLE001 - then nobody knows
        return
    file = Path(target.where, path)
    if not any(Path(one).name == file.name for one in named):
        file.replace(new)


def write(
    table: DeltaTable | None,
    target: Target,
    rows: pl.LazyFrame,
    commit: CommitProperties,
    *,
    is_whole: bool,
) -> None:
    """Have deltalake write rows in the place of others, or of all where their columns are wider."""
    from deltalake import WriterProperties, write_deltalake

    given: dict[str, Any] = {
        "storage_options": target.options,
        "commit_properties": commit,
        "target_file_size": FILE_SIZE,
        "writer_properties": WriterProperties(compression="SNAPPY", max_row_group_size=ROW_GROUP),
        "mode": "overwrite",
        "schema_mode": "overwrite" if is_whole else "merge",
    }
    if target.key_col is not None:
        given["partition_by"] = [target.key_col]
        if not is_whole:
            given["predicate"] = target.predicate
    batches = rows.collect_batches(chunk_size=ROW_GROUP, maintain_order=True, lazy=True)
    write_deltalake(target.where if table is None else table, batches, **given)


def is_leftover(folder: str) -> bool:
    """Tell whether a folder holds nothing but what a run killed before its first commit left."""
    for place, _, names in os.walk(folder):
        is_log = Path(place) == Path(folder, "_delta_log")
        for name in names:
            is_ours = name.startswith(OURS) and not is_log
            is_unfinished = is_log and (name.startswith("_commit_") or "#" in name)
            if not (is_ours or is_unfinished):
                return False
    return True
