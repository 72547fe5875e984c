"""What became of each resource of each ODS."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 500
"""The longest message, in characters."""


@dataclass(slots=True)
class Row:
    """One resource of one ODS."""

    district: int
    endpoint: str | None
    status: str | None = None
    message: str | None = None
    mode: Literal["full", "changes", "unchanged"] | None = None
    since: int | None = None
    version: int | None = None
    rows: int | None = None
    written: int | None = None
    deleted: int | None = None
    repaired: int | None = None
    requests: int | None = None
    seconds: float | None = None


COUNTED = {
    "rows": pl.Int64,
    "written": pl.Int64,
    "deleted": pl.Int64,
    "repaired": pl.Int64,
    "requests": pl.Int64,
    "seconds": pl.Float64,
}
"""What adds up."""
SCHEMA = {
    "endpoint": pl.String,
    "status": pl.String,
    "message": pl.String,
    "mode": pl.String,
    "since": pl.Int64,
    "version": pl.Int64,
} | COUNTED


def failed(district: int, endpoint: str | None, message: str) -> Row:
    """Give the row of a failure, which says nothing else."""
    return Row(district, endpoint, "error", message[:LONGEST])


def frame(rows: Sequence[Row], keys: pl.Series | None) -> pl.DataFrame:
    """Put the rows together, with the key of each district before them."""
    names = [field.name for field in fields(Row) if field.name != "district"]
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in names}
    df = pl.DataFrame(columns, schema=SCHEMA)
    if keys is None:
        return df
    places = pl.Series([row.district for row in rows], dtype=pl.get_index_type())
    return df.insert_column(0, keys.gather(places))


def text_of(error: Exception) -> str:
    """Say what went wrong, without the plan that Polars adds."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = str(error) or type(error).__name__
    return text.split("\n\nResolved plan")[0]
