"""What is known of each file of a folder of copies, so that those nobody touched are not opened."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import polars as pl

FILE = ".polars-edfi.known"
FORMAT = "polars_edfi_known"
VERSION = "1"
Look = tuple[int, int, int]
"""What tells whether a file is as it was: inode, size, and when it was last written, in ns."""


class Ledger:
    """The files of a folder as the last run left them, each with its state.

    It only spares work: a file that looks another way is opened, and a ledger that is lost is made
    anew.
    """

    def __init__(self, into: str) -> None:
        self._file = Path(into, FILE)
        self._folder = str(Path(into))
        self._known: dict[str, tuple[Look, str]] = {}
        self._is_changed = False
        with contextlib.suppress(OSError, pl.exceptions.PolarsError):
            if pl.read_parquet_metadata(self._file).get(FORMAT) == VERSION:
                rows = pl.read_parquet(self._file, glob=False).iter_rows()
                self._known = {name: ((i, size, ns), text) for name, i, size, ns, text in rows}

    def text(self, path: str) -> tuple[bool, str | None]:
        """Give the state of a file that is as it was, as text; else whether it is known at all."""
        look, text = self._known.get(path.removeprefix(self._folder), (None, None))
        return look is not None, text if look is not None and look == look_of(path) else None

    def note(self, path: str, state: str) -> None:
        """Remember a file as it is now."""
        look, name = look_of(path), path.removeprefix(self._folder)
        if look is not None and self._known.get(name) != (look, state):
            self._known[name] = look, state
            self._is_changed = True

    def save(self) -> None:
        """Keep it for the next run; that it cannot be kept is no failure of this one."""
        if not self._is_changed:
            return
        known = self._known.items()
        rows = [(name, *look, text) for name, (look, text) in known if look_of(self._folder + name)]
        names = {"file": pl.String, "inode": pl.UInt64, "size": pl.Int64, "ns": pl.Int64}
        df = pl.DataFrame(rows, names | {"state": pl.String}, orient="row")
        new = self._file.with_suffix(".new")
        with contextlib.suppress(OSError, pl.exceptions.PolarsError):
            df.write_parquet(new, metadata={FORMAT: VERSION})
            new.replace(self._file)
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def look_of(path: str) -> Look | None:
    """Tell how a file looks; none where there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of very many
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
