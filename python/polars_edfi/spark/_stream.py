"""A collection as a stream: offsets are change versions, a micro-batch is what changed between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from pyspark.sql.datasource import DataSourceStreamReader, InputPartition

from polars_edfi._errors import EdFiError, HttpError
from polars_edfi.spark import _shares, _types
from polars_edfi.spark._reader import Part, Reader

try:
    from pyspark.sql.streaming.datasource import SupportsTriggerAvailableNow
except ImportError:

    class SupportsTriggerAvailableNow:  # type: ignore[no-redef]
        """PySpark before 4.2 ends a query of ``availableNow`` after one batch."""


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql.types import StructType

    from polars_edfi._client import EdFiClient
    from polars_edfi.spark._job import Job

CHANGE = "_change"
VERSION = "version"
#: The offset before everything; a version of an ODS is none below 0.
BEGIN = -1
#: Late commits have versions below the newest: a micro-batch begins so many versions earlier.
OVERLAP = 100


class Deleted(InputPartition):
    """The items that are gone; the driver has asked for them."""

    def __init__(self, rows: pl.DataFrame) -> None:
        super().__init__(None)
        self.rows = rows

    def __repr__(self) -> str:
        return f"Deleted({self.rows.height} rows)"


class StreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Asks what changed, and reads it."""

    def __init__(self, job: Job, schema: StructType, values: dict[str, Any]) -> None:
        self.job = job
        self.schema = _types.arrow_schema(schema)
        self.overlap = int(values.get("overlap", OVERLAP))
        self.start = int(values.get("start_version", BEGIN))
        self.available: Any = None
        """The versions at the begin of a query that ends with what is there."""
        if self.overlap < 0:
            msg = "option 'overlap' must not be negative"
            raise EdFiError(msg)
        records = [field for field in self.schema if field.name != CHANGE]
        self.records = Reader(job, _types.spark_part(schema, CHANGE))
        if len(records) == len(self.schema.names):
            msg = (
                f"the column {CHANGE!r} is missing: call edfi_spark.register(session) in the "
                "Python that reads the stream, or set the option stream=true"
            )
            raise EdFiError(msg)

    def initialOffset(self) -> dict[str, int]:  # noqa: N802 - Spark's name
        """Give the offset before everything, or the one that is named."""
        return {VERSION: self.start}

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
        """Take note of what is there: the query ends with it, however many batches that takes."""
        self.available = self._client().available_change_versions()

    def latestOffset(self, *seen: Any) -> dict[str, int]:  # noqa: N802 - Spark's name
        """Ask for the newest change version: one request."""
        versions = self.available or self._client().available_change_versions()
        newest = versions["newest"]
        if seen and isinstance(seen[0], dict) and (before := seen[0].get(VERSION, BEGIN)) >= 0:
            if newest < before:
                msg = (
                    f"the newest change version is {newest}, and the stream has seen {before}: the "
                    "ODS was replaced; begin anew with an empty checkpoint"
                )
                raise EdFiError(msg)
            if versions["oldest"] > before + 1:
                msg = (
                    f"the ODS has forgotten what changed before version {versions['oldest']}, and "
                    f"the stream has seen {before}; begin anew with an empty checkpoint"
                )
                raise EdFiError(msg)
        return {VERSION: newest}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> Sequence[InputPartition]:
        """Ask for what changed: two requests, where that is nothing."""
        if end[VERSION] <= start[VERSION]:
            return []
        first, low = start[VERSION] < 0, max(start[VERSION] + 1 - self.overlap, 0)
        window = {
            "min_change_version": None if first else low,
            "max_change_version": end[VERSION],
        }
        self.job.options |= window
        units = self.records.units()
        found: list[InputPartition] = []
        if any(unit.records for unit in units):
            found += [Windowed(part, window) for part in self.records.shared(units)]
        # What a stream never gave it need not take back.
        if not first and (gone := self._deleted(low, end[VERSION])).height:
            found.append(Deleted(gone))
        return found

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read the records of a part, or give the deletes."""
        if isinstance(partition, Deleted):
            yield from _types.record_batches(partition.rows, self.schema)
        elif isinstance(partition, Windowed):
            self.job.options |= partition.window
            for frame in self.records.frames(partition.part):
                change = pl.lit("upsert").alias(CHANGE)
                rows = frame.with_columns(change).select(self.schema.names)
                yield from _types.record_batches(rows, self.schema)

    def commit(self, end: dict[str, int]) -> None:
        """Nothing is kept on the server."""

    def _client(self) -> EdFiClient:
        job = self.job
        job.fetch_tokens()
        token = job.districts[job.options.get("token_col", _shares.TOKEN)][0]
        return job.client_with(base_url=job.client["base_url"], bearer_token=token)

    def _deleted(self, low: int, high: int) -> pl.DataFrame:
        """Read which items are gone: their ids, and of their keys what the columns have."""
        wanted = _types.polars_schema(self.schema)
        try:
            gone = self._client().deletes(
                self.job.endpoint,
                workers=self.job.workers,
                min_change_version=low,
                max_change_version=high,
            )
        except HttpError as error:
            # Some resources have no deletes of their own.
            if error.http_status != 404:  # noqa: PLR2004
                raise
            return pl.DataFrame(schema=wanted)
        keys = {
            name: key
            for name in wanted
            for key in gone.columns
            if key.startswith("keyValues.") and last(name) == last(key) and is_only(name, wanted)
        }
        columns = []
        for name, dtype in wanted.items():
            if name == CHANGE:
                column = pl.lit("delete")
            elif name == "id":
                column = pl.col("id")
            elif name in keys:
                column = pl.col(keys[name]).cast(dtype, strict=False)
            else:
                column = pl.lit(None, dtype)
            columns.append(column.alias(name))
        return gone.select(columns)


class Windowed(InputPartition):
    """A part of the records of a range of versions."""

    def __init__(self, part: Part, window: dict[str, int | None]) -> None:
        super().__init__(None)
        self.part = part
        self.window = window

    def __repr__(self) -> str:
        return f"Windowed({self.part!r})"


def last(name: str) -> str:
    """Give the last segment of a name."""
    return name.rsplit(".", 1)[-1]


def is_only(name: str, names: Any) -> bool:
    """Whether no other name ends as this one does."""
    return sum(last(other) == last(name) for other in names) == 1
