"""What Spark's tasks write: a journal and a file of results for each partition."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import polars as pl
from pyspark import TaskContext
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

from polars_edfi._client import Resource
from polars_edfi._errors import EdFiError
from polars_edfi.spark import _options, _shares, _types
from polars_edfi.spark._job import ALONE
from polars_edfi.spark._place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from pyspark.sql.types import StructType

#: How long a task waits for whoever has the journal of its partition, in seconds. Another try of
#: the same task waits as long as it takes: the first is at work, and then gives up its journal.
PATIENCE = 300.0
IN_USE = "in use by another process"
#: A task that is run again meets rows whose answer nobody heard; a POST is an upsert.
DEFAULTS = {"commit": True, "retry_broken": True}
#: In writes a name of both is that of the call.
CLIENT = {name: at for name, at in _options.CLIENT.items() if name not in _options.WRITE}


@dataclass
class Written(WriterCommitMessage):
    """How many rows a task has results of."""

    rows: int


class Writer(DataSourceArrowWriter):
    """Posts the rows of a frame, each partition by itself."""

    def __init__(
        self,
        given: Mapping[str, str],
        schema: StructType,
        tasks: int | None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        values = _options.parse(given, CLIENT, _options.WRITE, _options.JOB_WRITE)
        values = {**(settings or {}), **values}
        for name in ("endpoint", "payload_col", "key_col", "results"):
            if not isinstance(values.get(name), str) or not values[name].strip():
                msg = f"option {name!r} is missing"
                raise EdFiError(msg)
        _options.at_least_one(values, "tasks", "workers")
        self.client = _options.of(values, CLIENT)
        self.options = DEFAULTS | _options.of(values, _options.WRITE)
        self.columns = (values["payload_col"], values["key_col"])
        _types.refuse_maps(schema, values["payload_col"])
        self.endpoint = values["endpoint"]
        self.schema = _types.arrow_schema(schema)
        self.results = Place(values["results"])
        self.job = values.get("job") or uuid.uuid4().hex
        self.is_named = "job" in values
        if not self.job.replace("-", "").replace("_", "").replace(".", "").isalnum():
            msg = "option 'job' may have letters, digits, '-', '_' and '.'"
            raise EdFiError(msg)
        self.journals = self._journals(self.options.pop("journal", None))
        at_once = values.get("tasks") or tasks
        workers = int(self.options.pop("workers", max(8, at_once or 1)))
        if at_once is not None and workers < at_once:
            msg = (
                f"workers={workers} cannot be shared by the {at_once} tasks that may run at once: "
                f"set workers to {at_once} or more, or tasks to what runs at once (after a "
                f"coalesce({workers}) of the frame, tasks={workers})"
            )
            raise EdFiError(msg)
        self.shares = _shares.divided(workers, self.client.get("max_rate"), at_once or workers)
        self.access = self._access(schema.names)
        # Columns, types and options: what is wrong is told before any task runs.
        self._post(_types.empty(self.schema), None)

    def __repr__(self) -> str:
        return f"<writing to {self.endpoint}>"

    def _journals(self, folder: str | None) -> str:
        """Give the folder of journals: what executors share, or else what is each one's own."""
        if folder is not None:
            place = Place(folder, "journal")
            if place.path is None:
                msg = "option 'journal' must be a folder of a file system: SQLite files lie in it"
                raise EdFiError(msg)
            return str(place.path)
        if self.results.path is not None:
            return str(self.results.path / "_journal")
        user = os.getuid() if hasattr(os, "getuid") else 0
        return str(Path(tempfile.gettempdir()) / f"polars-edfi-{user}")

    def _access(self, columns: list[str]) -> pl.DataFrame | None:
        """Give the columns that each row has in common, with a token; none where rows bring own."""
        own = {
            self.options.get("url_col", _shares.URL),
            self.options.get("token_col", _shares.TOKEN),
        }
        if own & set(columns):
            return None
        access, renewal = _shares.one_district(self.client, ALONE)
        access = access.drop(ALONE)
        self.options |= renewal
        if self.options["commit"]:
            access = _shares.with_tokens(access, self.client, self.options)
            _shares.check_token(access, self.client, self.options)
        return access

    def _post(self, frame: pl.DataFrame, journal: Path | None) -> pl.DataFrame:
        settings = _shares.without_credentials(self.client)
        if self.shares.max_rate is not None:
            settings["max_rate"] = self.shares.max_rate
        if self.access is None:
            settings = self.client | settings
        else:
            same = self.access.row(0, named=True).items()
            dtypes = self.access.schema
            frame = frame.with_columns(
                pl.lit(value, dtypes[name]).alias(name) for name, value in same
            )
        runner = Resource(self.endpoint, **settings)
        payload_col, key_col = self.columns
        return runner.batch_post_payload(
            frame,
            payload_col=payload_col,
            key_col=key_col,
            journal=journal,
            workers=self.shares.workers,
            **self.options,
        )

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Post the rows of one partition, those that are confirmed already aside."""
        context = TaskContext.get()
        partition = 0 if context is None else context.partitionId()
        patience = PATIENCE if context is None or not context.attemptNumber() else math.inf
        journal = Path(self.journals) / self.job / f"{partition:05d}.edfi"
        name = self._name(partition)
        if self.options["commit"]:
            self.results.check(name)
            Path(self.journals).mkdir(parents=True, exist_ok=True, mode=0o700)
            journal.parent.mkdir(exist_ok=True, mode=0o700)
        rows = 0
        results = []
        for batch in iterator:
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a record batch is never a column
            results.append(self._numbered(self._posted(frame, journal, patience), partition, rows))
            rows += frame.height
        if not results:
            empty = self._post(_types.empty(self.schema), None)
            results.append(self._numbered(empty, partition, 0))
        self.results.write(name, pl.concat(results, how="vertical_relaxed"))
        return Written(rows)

    def _name(self, partition: int) -> str:
        return f"part-{partition:05d}-{self.job}.parquet"

    def _posted(self, frame: pl.DataFrame, journal: Path, patience: float) -> pl.DataFrame:
        """Post rows; a task of the same partition that was given up may have to end first."""
        until = monotonic() + patience
        while True:
            try:
                return self._post(frame, journal)
            except EdFiError as error:
                if IN_USE not in str(error) or monotonic() > until:
                    raise
                sleep(0.5)

    @staticmethod
    def _numbered(results: pl.DataFrame, partition: int, before: int) -> pl.DataFrame:
        numbers = pl.col("row_index").cast(pl.Int64) + before
        return results.with_columns(numbers, pl.lit(partition, pl.Int32).alias("partition"))

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        """Drop the journals of a job that is done, unless it has a name to be run again by."""
        if self.is_named:
            # An earlier run may have had more partitions; their rows are in these now.
            names = {self._name(partition) for partition in range(len(messages))}
            self.results.keep_only(names, rf"part-\d+-{re.escape(self.job)}\.parquet")
        else:
            shutil.rmtree(Path(self.journals) / self.job, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Others may have theirs in it.
                Path(self.journals).rmdir()

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        """Leave the journals and the results that are there: they say what was sent."""
