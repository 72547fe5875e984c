"""What results of all kinds tell: rows by status, by resource, by district and by message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_edfi._errors import EdFiError
from polars_edfi._masks import masked, without_numbers
from polars_edfi._sync.report import COUNTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OK = "ok"
"""The status of rows that have none: they were done."""
STATUS = ("status", "row status", "severity", "state")
"""Where a status stands: in results, of tokens, of findings, in a journal."""
NUMBERS = {"records": pl.Int64} | COUNTED
"""What rows of copies and summaries tell in numbers, which add up."""
SHAPE = {
    "endpoint": pl.String,
    "district": pl.String,
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int64,
    "name": pl.String,
    "row_index": pl.UInt64,
    "row_id": pl.String,
    "key": pl.String,
    "correlation_id": pl.String,
} | NUMBERS
FORMS = 50_000
"""How many forms of messages are looked at closely: the most frequent ones."""


def told(frames: Iterable[tuple[str | None, pl.DataFrame]], key_col: str | None) -> pl.DataFrame:
    """Put results of all kinds into one shape, one row for each of theirs."""
    frames = list(frames)
    many = len(frames) > 1
    shaped = [_told(name, df, key_col, many=many) for name, df in frames]
    return pl.concat(shaped) if shaped else pl.DataFrame(schema=SHAPE)


def _told(name: str | None, df: pl.DataFrame, key_col: str | None, *, many: bool) -> pl.DataFrame:
    status = next((column for column in STATUS if column in df.columns), None)
    if status is None:
        what = "results" if name is None else f"results[{name!r}]"
        msg = (
            f"{what} must be the result of a call, with one of the columns {', '.join(STATUS)}; "
            f"its columns are: {', '.join(df.columns[:20]) or 'none'}"
        )
        raise EdFiError(msg)
    if key_col is not None and key_col not in df.columns and not many:
        msg = f"key_col={key_col!r} is not a column of results; see edfi.summary"
        raise EdFiError(msg)

    def own(column: str, dtype: Any = pl.String) -> pl.Expr:
        there = column in df.columns
        return (_cast(df, column, dtype) if there else pl.lit(None, dtype)).alias(column)

    endpoint = own("endpoint")
    if name is not None:
        endpoint = (pl.lit(f"{name}: ") + endpoint if many else endpoint).fill_null(name)
    district = _district(df, key_col)
    counted = {"mode", "stage"} & set(df.columns)
    numbers = {number for number in NUMBERS if counted and number in df.columns}
    place = own("row_index", pl.UInt64)
    if not df.schema.get("row_index", pl.Null()).is_integer():
        place = pl.int_range(pl.len(), dtype=pl.UInt64).alias("row_index")
    return df.select(
        endpoint.alias("endpoint"),
        (_cast(df, district) if district else pl.lit(None, pl.String)).alias("district"),
        _cast(df, status).fill_null(OK).alias("status"),
        _message(df).alias("message"),
        own("http_status", pl.Int64),
        pl.lit(name, pl.String).alias("name"),
        place,
        own("row_id"),
        own("key"),
        own("correlation_id"),
        *(
            own(number, dtype) if number in numbers else pl.lit(None, dtype).alias(number)
            for number, dtype in NUMBERS.items()
        ),
    )


def _cast(df: pl.DataFrame, column: str, dtype: Any = pl.String) -> pl.Expr:
    nested = df.schema[column].is_nested() or df.schema[column] in (pl.Binary, pl.Object)
    return pl.lit(None, dtype) if nested else pl.col(column).cast(dtype, strict=False)


def _district(df: pl.DataFrame, key_col: str | None) -> str | None:
    """Name the column of districts, where it is plain that it holds no people."""
    if key_col is not None:
        return key_col if key_col in df.columns else None
    columns = set(df.columns)
    first = df.columns[0]
    marks = ({"mode", "endpoint"}, {"stage", "records"}, {"claim_set"}, {"row status", "message"})
    plain = any(mark <= columns for mark in marks) and "row_index" not in columns
    return first if plain and first not in ("endpoint", *STATUS) else None


def _message(df: pl.DataFrame) -> pl.Expr:
    columns = df.schema
    if "message" in columns:
        return _cast(df, "message")
    if {"rule", "path", "detail"} <= set(columns):
        return pl.concat_str(
            *(_cast(df, name) for name in ("rule", "path", "detail")),
            separator=" ",
            ignore_nulls=True,
        )
    changes = columns.get("changes")
    if isinstance(changes, pl.List) and isinstance(changes.inner, pl.Struct):
        paths = pl.element().struct.field("path").str.replace_all(r"\[[^\]]*\]", "[]")
        paths = pl.col("changes").list.eval(paths.unique().sort()).list.join(", ")
        return pl.when(paths != "").then(paths)
    return pl.lit(None, pl.String)


def ordered(statuses: Iterable[str]) -> list[str]:
    """Put statuses in the order in which they are told: what is well first, errors last."""
    return sorted(set(statuses), key=lambda status: (status == "error", status != OK, status))


def tally(rows: pl.DataFrame, by: str) -> list[dict[str, Any]]:
    """Count the rows of each resource or district by status, and add up their numbers."""
    sums = [
        pl.when(pl.col(number).is_not_null().any()).then(pl.col(number).sum()).alias(number)
        for number in numbers(rows)
    ]
    groups = rows.group_by(by, maintain_order=True).agg(pl.len(), *sums)
    counts: dict[object, dict[str, int]] = {}
    for group, status, count in rows.group_by(by, "status").len().iter_rows():
        counts.setdefault(group, {})[status] = count
    return [row | {"statuses": counts[row[by]]} for row in groups.iter_rows(named=True)]


def numbers(rows: pl.DataFrame) -> list[str]:
    """Name the numbers that any row tells."""
    return [number for number in NUMBERS if rows[number].null_count() < rows.height]


def messages(rows: pl.DataFrame, top: int, *, show_data: bool) -> tuple[list[dict[str, Any]], int]:
    """Give the most frequent messages, those of errors first, and how many there are.

    Each with its resource, its status, how many rows it has, and the first of them.
    """
    by = ["endpoint", "status", "message"]

    def grouped(groups: pl.DataFrame) -> pl.DataFrame:
        return groups.group_by(by).agg(pl.col("count").sum(), pl.col("at").min())

    groups = (
        rows.select(by)
        .with_row_index("at")
        .filter(pl.col("message").is_not_null() & (pl.col("message") != ""))
        .group_by(by)
        .agg(pl.len().alias("count"), pl.col("at").min())
    )
    if not show_data:
        groups = grouped(groups.with_columns(without_numbers(pl.col("message"))))
        groups = groups.sort("count", "at", descending=[True, False]).head(FORMS)
        groups = grouped(groups.with_columns(masked(pl.col("message"))))
    found = groups.sort(
        pl.col("status") == "error", "count", "at", descending=[True, True, False]
    ).head(top)
    kept: Sequence[str] = ("http_status", "name", "row_index", "row_id", "key", "correlation_id")
    examples = rows.select(kept)[found["at"]] if found.height else rows.select(kept).head(0)
    return list(found.hstack(examples).iter_rows(named=True)), groups.height
