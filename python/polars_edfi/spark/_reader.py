"""What Spark's tasks read: pieces of districts, planned on the driver."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
from pyspark.sql.datasource import DataSourceReader, InputPartition

from polars_edfi._base import warn
from polars_edfi.spark import _shares, _types
from polars_edfi.spark._job import ABOUT, PIECES_PER_TASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql.types import StructType

    from polars_edfi.spark._job import Job

MOST_ROWS = 4_096
MOST_BYTES = 16 << 20
"""A batch that has one of these is sent on."""


class Unit(NamedTuple):
    """A piece of a district, or why the district is not read."""

    district: pl.DataFrame
    records: int
    piece: str | None
    failure: tuple[str, int | None, str | None] | None


class Part(InputPartition):
    """What one task reads. It travels with tokens, and shows none of them."""

    def __init__(self, units: Sequence[Unit], shares: _shares.Shares) -> None:
        super().__init__(None)
        self.units = list(units)
        self.shares = shares

    def __repr__(self) -> str:
        return f"Part({len(self.units)} pieces)"


class Reader(DataSourceReader):
    """Plans the pieces of a reading, and reads each of them by itself."""

    def __init__(self, job: Job, schema: StructType) -> None:
        self.job = job
        self.schema = _types.arrow_schema(schema)
        self.filters: list[pl.DataFrame] = []
        """Of each the one column holds the values that a row must have there."""

    def partitions(self) -> Sequence[InputPartition]:
        """Count the records of each district, and divide them."""
        return self.shared(self.units())

    def units(self) -> list[Unit]:
        """Ask how many records there are, and where they can be divided."""
        job = self.job
        job.fetch_tokens()
        scan = job.scan(job.districts, job.whole_share(), self.given())
        return [
            Unit(job.districts[row], records, piece, failure)
            for row, records, piece, failure in scan.pieces(
                job.partitions or PIECES_PER_TASK * job.tasks, self.filters or None
            )
        ]

    def shared(self, units: Sequence[Unit]) -> list[Part]:
        """Divide pieces, and what the job may ask for, among tasks."""
        job = self.job
        # A task has one request in flight at least: there may be no more tasks than requests.
        most = job.most_parts or len(units)
        parts = grouped(units, most) if most < len(units) else [[unit] for unit in units]
        at_once = max(1, min(job.tasks, len(parts)))
        shares = _shares.divided(job.workers, job.client.get("max_rate"), at_once)
        return [Part(part, shares) for part in parts]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read one part."""
        if isinstance(partition, Part):
            for frame in self.frames(partition):
                yield from _types.record_batches(frame, self.schema)

    def frames(self, part: Part) -> Iterator[pl.DataFrame]:
        """Give the records of one part."""
        yield from together(page for unit in part.units for page in self._pages(unit, part.shares))

    def given(self) -> pl.Schema:
        """Give the columns as a scan takes them."""
        return self.job.given(_types.polars_schema(self.schema))

    def _pages(self, unit: Unit, shares: _shares.Shares) -> Iterator[pl.DataFrame]:
        names = self.schema.names
        if unit.failure is not None:
            yield self._failed(unit, unit.failure)
            return
        scan = self.job.scan(unit.district, shares, self.given())
        pages = scan.pages(names, None, self.filters or None, None, unit.piece)
        try:
            yield from pages
        finally:
            pages.close()
        warn(pages, stacklevel=2)

    def _failed(self, unit: Unit, failure: tuple[str, int | None, str | None]) -> pl.DataFrame:
        known = dict(zip(ABOUT, ("error", *failure), strict=True))
        known[self.job.key_col] = unit.district[self.job.key_col][0]
        schema = _types.polars_schema(self.schema)
        row = {name: [known.get(name)] for name in schema}
        return pl.DataFrame(row, schema=schema)


class FilteringReader(Reader):
    """A reader that is told of a query's filter, as PySpark 4.1 does where it may."""

    def pushFilters(self, filters: list[Any]) -> list[Any]:  # noqa: N802 - Spark's name
        """Take note of equalities and ``isin``; Spark applies all of them to what is read."""
        self.filters = [values for one in filters if (values := values_of(one)) is not None]
        return filters


def values_of(filter_: Any) -> pl.DataFrame | None:
    """Give the values of which a row has one, in a column of the name that they have there."""
    kind = type(filter_).__name__
    if kind not in ("EqualTo", "In") or len(filter_.attribute) != 1:
        return None
    values = [filter_.value] if kind == "EqualTo" else list(filter_.value)
    # Whatever else it is, no server is asked for it.
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {str, bool, int, dt.date}:
        return None
    return pl.DataFrame({filter_.attribute[0]: values})


def together(pages: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Put pages together, twice as many each time: whoever needs a few rows has them at once.

    A batch costs Python and Spark some time for each of its columns, however few rows it has.
    """
    waiting: list[pl.DataFrame] = []
    enough, rows, size = 1, 0, 0
    for page in pages:
        waiting.append(page)
        rows += page.height
        size += int(page.estimated_size())
        if rows >= enough or size >= MOST_BYTES:
            yield from _stacked(waiting)
            waiting, enough = [], min(2 * rows, MOST_ROWS)
            rows = size = 0
    yield from _stacked(waiting)


def _stacked(pages: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Make one frame of pages, where they have the same columns."""
    try:
        return [pl.concat(pages, rechunk=True)] if len(pages) > 1 else pages
    except pl.exceptions.PolarsError:  # as those of a district that is not read may have others
        return pages


def grouped(units: Sequence[Unit], number: int) -> list[list[Unit]]:
    """Put pieces together into so many parts of about the same number of records."""
    parts: list[list[Unit]] = [[] for _ in range(number)]
    records = [0] * number
    for unit in sorted(units, key=lambda unit: -unit.records):
        least = records.index(min(records))
        parts[least].append(unit)
        records[least] += unit.records + 1
    return [part for part in parts if part]
