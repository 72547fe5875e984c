"""What Spark's tasks write: a journal and a file of results for each partition."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import polars as pl
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

from polars_edfi._client import Resource
from polars_edfi._errors import EdFiError
from polars_edfi.spark import _options, _shares, _types
from polars_edfi.spark._job import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql.types import StructType

#: How long a task waits for one of the same partition that is at its end, in seconds.
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

    def __init__(self, given: Mapping[str, str], schema: StructType, tasks: int | None) -> None:
        values = _options.parse(given, CLIENT, _options.WRITE, _options.JOB_WRITE)
        for name in ("endpoint", "payload_col", "key_col", "results"):
            if not isinstance(values.get(name), str) or not values[name].strip():
                msg = f"option {name!r} is missing"
                raise EdFiError(msg)
        _options.at_least_one(values, "tasks", "workers")
        self.client = _options.of(values, CLIENT)
        self.options = DEFAULTS | _options.of(values, _options.WRITE)
        self.columns = (values["payload_col"], values["key_col"])
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
            place = Place(folder)
            if place.path is None:
                msg = "option 'journal' must be a folder of a file system: SQLite files lie in it"
                raise EdFiError(msg)
            return str(place.path)
        if self.results.path is not None:
            return str(self.results.path / "_journal")
        return str(Path(tempfile.gettempdir()) / f"polars-edfi-{os.getuid()}")

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
        journal = Path(self.journals) / self.job / f"{partition:05d}.edfi"
        if self.options["commit"]:
            journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        rows = 0
        results = []
        for batch in iterator:
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a record batch is never a column
            results.append(self._numbered(self._posted(frame, journal), partition, rows))
            rows += frame.height
        if not results:
            empty = self._post(_types.empty(self.schema), None)
            results.append(self._numbered(empty, partition, 0))
        name = f"part-{partition:05d}-{self.job}.parquet"
        self.results.write(name, pl.concat(results, how="vertical_relaxed"))
        return Written(rows)

    def _posted(self, frame: pl.DataFrame, journal: Path) -> pl.DataFrame:
        """Post rows; a task of the same partition that was given up may have to end first."""
        until = monotonic() + PATIENCE
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

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:  # noqa: ARG002
        """Drop the journals of a job that is done, unless it has a name to be run again by."""
        if not self.is_named:
            shutil.rmtree(Path(self.journals) / self.job, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Others may have theirs in it.
                Path(self.journals).rmdir()

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        """Leave the journals and the results that are there: they say what was sent."""


class Place:
    """A folder of files: a path, or the URL of an object store that PyArrow can write to."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text)
        self.url: str | None = None
        self.path: Path | None = None
        if parts.scheme == "file":
            self.path = Path(unquote(parts.path))
        elif "://" in text:
            self.url = text.rstrip("/")
        else:
            self.path = Path(text).absolute()

    def write(self, name: str, frame: pl.DataFrame) -> None:
        """Put a file there whole, or not at all."""
        table = frame.to_arrow()
        if self.path is not None:
            self.path.mkdir(parents=True, exist_ok=True)
            begun = self.path / f".{name}.{uuid.uuid4().hex}"
            try:
                pq.write_table(table, begun)
                begun.replace(self.path / name)
            finally:
                begun.unlink(missing_ok=True)
            return
        files, folder = pyarrow.fs.FileSystem.from_uri(f"{self.url}/{name}")
        with files.open_output_stream(folder) as out:
            pq.write_table(table, out)
