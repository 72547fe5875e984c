"""Copies in Parquet files: one file each, with its state in its own metadata."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_edfi._sync import places
from polars_edfi._sync.state import NAME, OTHER, CopyError, State, from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polars_edfi._sync.ledger import Ledger

LOGGER = logging.getLogger("polars_edfi")
ROW_GROUP = 16_384
"""Rows of a row group: what is held in memory while records stream by."""
LEAST_SPACE = 1 << 20
"""With less room in bytes than this a disk is full."""
PARQUET_ERROR = "parquet:"
"""What Polars' errors about the bytes of a file begin with."""
NEW = ".new"
"""The end of the name of a file that is being written."""


def spool(
    lf: pl.LazyFrame, path: str | Path, metadata: Callable[[Any], dict[str, str]] | None = None
) -> None:
    """Stream rows into a new file; its metadata is asked for when all of them are there."""
    try:
        lf.sink_parquet(path, metadata=metadata, row_group_size=ROW_GROUP, sync_on_close="data")
    except pl.exceptions.ComputeError as error:
        # Polars says of a full disk that the file is out of specification.
        is_full = shutil.disk_usage(Path(path).parent).free < LEAST_SPACE
        if is_full and str(error).startswith(PARQUET_ERROR):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise


def put(new: Path, where: str, options: dict[str, Any] | None) -> None:
    """Put a new file where it is to be, at once."""
    if places.is_remote(where):
        found = pl.read_parquet_metadata(new)
        pl.scan_parquet(new, glob=False).sink_parquet(
            where,
            metadata={NAME: found[NAME]} if NAME in found else None,
            row_group_size=ROW_GROUP,
            storage_options=options,
        )
        return
    path = Path(where)
    path.parent.mkdir(parents=True, exist_ok=True)
    new.replace(path)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _columns(schema: pl.Schema) -> str:
    """Give what tells a file of these columns from others."""
    return _digest_of(tuple(schema.items()))


@lru_cache(maxsize=512)
def _digest_of(columns: tuple[tuple[str, pl.DataType], ...]) -> str:
    """Write an empty file to see: the same columns of many districts once."""
    empty = io.BytesIO()
    pl.LazyFrame(schema=dict(columns)).sink_parquet(empty)
    empty.seek(0)
    return _digest(pl.read_parquet_metadata(empty))


def _digest(metadata: Mapping[str, str]) -> str:
    return hashlib.sha256(metadata.get("ARROW:schema", "").encode()).hexdigest()[:24]


class ParquetFile:
    """The copy of one resource of one ODS as a Parquet file, which a rename replaces."""

    def __init__(
        self,
        folder: str,
        key: str | None,
        storage_options: dict[str, Any] | None,
        ledger: Ledger | None,
    ) -> None:
        self._folder = folder
        self._remote = places.is_remote(folder)
        self._options = storage_options
        self._ledger = ledger
        name = places.file_name(key)
        self.where = f"{folder}{'/' if self._remote else os.sep}{name}"

    def state(self) -> State | None:
        """Read what the copy says of itself; none where there is no copy."""
        is_known, text = self._ledger.text(self.where) if self._ledger else (False, None)
        if text is not None:
            return from_json(text, self.where)
        state = self._read()
        if state is not None and is_known:
            # Somebody has touched it: its rows are looked at.
            state = replace(state, stamps="")
        if state is not None and state.shape != OTHER:
            self.remember(state)
        return state

    def remember(self, state: State) -> None:
        """Remember the file as it is now."""
        if self._ledger is not None:
            self._ledger.note(self.where, state.to_json())

    def _read(self) -> State | None:
        if not self._remote and not Path(self.where).exists():
            self._check_folder()
            return None
        try:
            found = pl.read_parquet_metadata(self.where, storage_options=self._options)
        except FileNotFoundError:
            return None
        except (pl.exceptions.PolarsError, OSError) as error:
            if self._remote and _is_missing(error):
                return None
            msg = f"{self.where} is damaged, or no Parquet file; remove it to read it anew"
            raise CopyError(msg) from None
        if NAME not in found:
            msg = (
                f"{self.where} was not written by polars-edfi, and is left as it is; copy into a"
                " folder of its own"
            )
            raise CopyError(msg)
        state = from_json(found[NAME], self.where)
        if state.columns != _digest(found):
            LOGGER.warning("%s has other columns than it had; it is read anew", self.where)
            return replace(state, shape=OTHER)
        return state

    def _check_folder(self) -> None:
        folder = Path(self._folder)
        if folder.exists() and not folder.is_dir():
            msg = f"{self._folder} is no folder; copy into a folder of its own"
            raise CopyError(msg)
        if (folder / "_delta_log").exists():
            msg = f'{self._folder} is a Delta table: copy with format="delta", or elsewhere'
            raise CopyError(msg)

    def scan(self) -> pl.LazyFrame:
        """Give the rows of the copy."""
        return pl.scan_parquet(self.where, storage_options=self._options, glob=False)

    def new_file(self, spools: Path) -> Path:
        """Give the path of a file that can take the place of this one.

        It stands aside: whoever reads the folder of a resource finds nothing but copies there.
        """
        return spools / f"{hashlib.sha256(self.where.encode()).hexdigest()[:24]}{NEW}"

    def spool(self, rows: pl.LazyFrame, file: Path, state: Callable[[], State]) -> None:
        """Stream rows into a new file, with their state."""
        columns = _columns(rows.collect_schema())
        spool(rows, file, lambda _: {NAME: replace(state(), columns=columns).to_json()})

    def spooled(self, file: Path) -> pl.LazyFrame:
        """Give the rows of a new file."""
        return pl.scan_parquet(file, glob=False)

    def replace(self, new: Path, state: State) -> None:
        """Put a new file in the place of the copy, at once and with its state."""
        put(new, self.where, self._options)
        if self._remote:
            return
        self.remember(replace(state, columns=_digest(pl.read_parquet_metadata(self.where))))


def _is_missing(error: Exception) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in ("404", "not found", "no such", "notfound"))
