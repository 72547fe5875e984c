"""The data source: what Spark makes readers, writers and streams of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
from pyspark.sql.datasource import DataSource

from polars_edfi._errors import EdFiError
from polars_edfi.spark import _options, _types
from polars_edfi.spark._job import ALONE, Job
from polars_edfi.spark._reader import FilteringReader, Reader
from polars_edfi.spark._stream import CHANGE, StreamReader
from polars_edfi.spark._writer import Writer

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from pyspark.sql.datasource import (
        DataSourceReader,
        DataSourceStreamReader,
        DataSourceWriter,
    )
    from pyspark.sql.types import StructType

READING = (_options.CLIENT, _options.READ, _options.JOB_READ, _options.STREAM)


class EdFiDataSource(DataSource):
    """An Ed-Fi ODS as a source of Spark's."""

    #: How many tasks can run at once, as the session said when the source was registered.
    tasks: ClassVar[int | None] = None
    #: Whether the session tells readers of filters. Where not, Spark refuses readers that listen.
    filters: ClassVar[bool] = False
    #: The name of the format.
    short_name: ClassVar[str] = "edfi"
    #: What the client was told when the source was registered: no option of a query holds it.
    settings: ClassVar[dict[str, Any]] = {}
    #: Whether Spark writes options where everybody reads them.
    shows_options: ClassVar[bool] = False

    def __init__(self, options: MutableMapping[str, str]) -> None:
        super().__init__(options)
        self._job: Job | None = None
        self._values: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @classmethod
    def name(cls) -> str:
        """Give the name of the format."""
        return cls.short_name

    def _given(self) -> dict[str, Any]:
        """Give the options of a query, where they may be told what they tell."""
        given: dict[str, Any] = dict(self.options)
        if self.shows_options:
            _options.refuse_secrets(given)
        return given

    def _reading(self) -> Job:
        if self._job is None:
            self._values = self.settings | _options.parse(self._given(), *READING)
            self._job = Job(self._values, None, ALONE, self.tasks)
        return self._job

    def schema(self) -> StructType:
        """Ask for the columns; a stream has one more."""
        columns = self._reading().find_columns()
        if self._values.get("stream"):
            columns = pl.Schema([(CHANGE, pl.String()), *columns.items()])
        return _types.spark_schema(columns)

    def reader(self, schema: StructType) -> DataSourceReader:
        """Give what reads the collection once."""
        return (FilteringReader if self.filters else Reader)(self._reading(), schema)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's name
        """Give what reads the changes of the collection, again and again."""
        return StreamReader(self._reading(), schema, self._values)

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceWriter:
        """Give what posts rows."""
        if overwrite:
            msg = "an ODS is not overwritten: .mode('append')"
            raise EdFiError(msg)
        return Writer(self._given(), schema, self.tasks, self.settings)


class DistrictsSource(EdFiDataSource):
    """A reading of many districts, under a name of its own: no option holds any of it."""

    planned: ClassVar[Any] = None

    def _reading(self) -> Job:
        job: Job = self.planned
        _options.parse(self.options)
        return job

    def schema(self) -> StructType:
        """Give the columns that were found when the reading was made."""
        return _types.spark_schema(self._reading().chosen())
