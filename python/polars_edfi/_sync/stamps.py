"""What the newest rows of a copy are known by: a window that brings no others brings no news."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polars_edfi import _native

if TYPE_CHECKING:
    from collections.abc import Mapping

ID = "id"
ETAG = "_etag"
MODIFIED = "_lastModifiedDate"
NEWEST = 512
"""Of so many rows; a window of the default overlap holds fewer."""


class Newest:
    """The newest rows of a copy that passes by."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        self._columns = [name for name in (ID, ETAG, MODIFIED) if name in schema]
        told = all(schema.get(name) == pl.String for name in (ID, ETAG))
        self._rows = pl.DataFrame() if told else None

    def add(self, rows: pl.DataFrame) -> None:
        """Look at some rows of the copy."""
        if self._rows is None or not rows.height:
            return
        rows = rows.select(self._columns)
        self._rows = rows if self._rows.is_empty() else pl.concat([self._rows, rows])
        if self._rows.height > NEWEST:
            is_dated = MODIFIED in self._columns
            self._rows = self._rows.top_k(NEWEST, by=MODIFIED) if is_dated else None

    def stamps(self) -> bytes:
        """Give what they are known by."""
        if self._rows is None or self._rows.is_empty():
            return b""
        # Of a row that came twice it is not known here which one stays.
        if self._rows[ID].n_unique() < self._rows.height:
            self._rows = self._rows.filter(pl.col(ID).is_unique())
        return _native.stamps(self._rows)


def of(rows: pl.DataFrame) -> bytes:
    """Give what the newest of some rows are known by."""
    newest = Newest(rows.schema)
    newest.add(rows)
    return newest.stamps()


def of_window(window: list[tuple[str, str]]) -> bytes:
    """Give what the records of a window are known by."""
    return of(pl.DataFrame(window, {ID: pl.String, ETAG: pl.String}, orient="row"))
