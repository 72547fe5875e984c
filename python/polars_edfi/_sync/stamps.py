"""What the newest rows of a copy are known by: a window that brings no others brings no news."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_edfi import _native

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ID = "id"
ETAG = "_etag"
MODIFIED = "_lastModifiedDate"
REFERENCE = "Reference"
UNKNOWN = "_unknown"
NEWEST = 512
"""Of so many rows; a window of the default overlap holds fewer."""
AT_ONCE = 8_192
"""The newest are chosen among so many rows at a time."""


class Newest:
    """The newest rows of a copy that passes by."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._columns = columns(schema)
        self._is_told = bool(self._columns)
        self._parts: list[pl.DataFrame] = []
        self._height = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Look at some rows of the copy."""
        if not self._is_told or not rows.height:
            return
        self._parts.append(rows.select(self._columns))
        self._height += rows.height
        if self._height > AT_ONCE:
            self._choose()

    def _choose(self) -> None:
        """Go on with the newest rows alone."""
        rows = pl.concat(self._parts)
        if rows.height > NEWEST:
            if MODIFIED not in self._columns:
                self._is_told, self._parts = False, []
                return
            rows = rows.top_k(NEWEST, by=MODIFIED)
        self._parts, self._height = [rows], rows.height

    def stamps(self) -> bytes:
        """Give what they are known by."""
        if self._parts:
            self._choose()
        if not self._parts:
            return b""
        rows = self._parts[0]
        # Of a row that came twice it is not known here which one stays.
        if rows[ID].n_unique() < rows.height:
            rows = rows.filter(pl.col(ID).is_unique())
        return _native.stamps(rows)


def columns(schema: Mapping[str, Any]) -> list[str]:
    """Give the columns that tell whether a row is as it was; none where they cannot tell it."""
    if any(schema.get(name) != pl.String for name in (ID, ETAG)):
        return []
    return [
        name
        for name, dtype in schema.items()
        if name in (ID, ETAG, MODIFIED, UNKNOWN) or REFERENCE in name or _has_reference(dtype)
    ]


def _has_reference(dtype: Any) -> bool:
    if isinstance(dtype, pl.List):
        return _has_reference(dtype.inner)
    return isinstance(dtype, pl.Struct) and any(
        REFERENCE in part.name or _has_reference(part.dtype) for part in dtype.fields
    )


def of(rows: pl.DataFrame) -> bytes:
    """Give what the newest of some rows are known by."""
    newest = Newest(rows.schema)
    newest.add(rows)
    return newest.stamps()


def of_each(rows: pl.DataFrame) -> set[int]:
    """Give the stamp of each of some rows."""
    known = _native.stamps(rows)
    return set(struct.unpack(f"<{len(known) // 8}Q", known))


def of_window(window: Iterable[tuple[str, int]]) -> bytes:
    """Give what the records of a window are known by."""
    known = sorted(stamp for _, stamp in window)
    return struct.pack(f"<{len(known)}Q", *known) if len(known) <= NEWEST else b""
