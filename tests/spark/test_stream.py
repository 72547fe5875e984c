"""Changes as a stream: each once, in micro-batches, at two requests for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import auth_of, client_of, collection, scripted
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

import polars_edfi as edfi
from polars_edfi.spark import _types
from polars_edfi.spark._job import ALONE, Job
from polars_edfi.spark._stream import StreamReader, SupportsTriggerAvailableNow

SCORES = edfi.endpoints.STUDENT_ASSESSMENTS
SCHEMA = StructType(
    [
        StructField("_change", StringType()),
        StructField("id", StringType()),
        StructField("ref.name", StringType()),
        StructField("n", LongType()),
    ]
)


def test_a_stream_goes_on_from_its_checkpoint(spark: SparkSession, tmp_path: Path) -> None:
    with edfi.Sandbox(districts=["1"], records=40) as ods:
        auth = auth_of(ods)
        client = client_of(auth)

        def run() -> None:
            frame = spark.readStream.format("edfi").options(**auth, overlap="0").load(SCORES)
            assert frame.columns[:2] == ["_change", "id"]
            writing = (
                frame.select("_change", "id", "studentAssessmentIdentifier")
                .writeStream.format("parquet")
                .option("checkpointLocation", str(tmp_path / "checkpoint"))
                .option("path", str(tmp_path / "out"))
                .trigger(availableNow=True)
            )
            for tries_left in (2, 1, 0):
                try:
                    assert writing.start().awaitTermination(240)
                    break
                except StreamingQueryException as error:
                    # Spark gives a stream's Python ten seconds to start, however busy it is.
                    if "failed to connect back" not in str(error) or not tries_left:
                        raise

        run()
        all_of_them = client.get_all(key="1", endpoint=SCORES)["data"]
        first = pl.from_pandas(spark.read.parquet(str(tmp_path / "out")).toPandas())
        assert set(first["_change"]) == {"upsert"}
        assert sorted(first["id"]) == sorted(all_of_them["id"])
        gone = all_of_them["id"][0]
        deleted_now = client.delete_by_id(gone, key="1", endpoint=SCORES, commit=True)
        assert deleted_now["status"] == "deleted"
        run()
        then = pl.from_pandas(spark.read.parquet(str(tmp_path / "out")).toPandas())
        deleted = then.filter(pl.col("_change") == "delete")
        expected = (gone, all_of_them["studentAssessmentIdentifier"][0])
        assert deleted.select("id", "studentAssessmentIdentifier").rows() == [expected]
        assert then.height == first.height + 1


def test_a_query_that_failed_catches_up_in_one_run(spark: SparkSession, tmp_path: Path) -> None:
    if "pyspark" not in getattr(SupportsTriggerAvailableNow, "__module__", ""):
        pytest.skip("this PySpark ends such a query after one batch")
    with edfi.Sandbox(districts=["1"], records=40, strict=False) as ods:
        frame = spark.readStream.format("edfi").options(**auth_of(ods), overlap="0")
        fails, rows = [True], []

        def keep(batch: DataFrame, number: int) -> None:
            rows.append((number, batch.count()))
            if fails:
                raise ValueError

        def run() -> None:
            (
                frame.load("ed-fi/students")
                .writeStream.foreachBatch(keep)
                .option("checkpointLocation", str(tmp_path))
                .trigger(availableNow=True)
                .start()
                .awaitTermination(240)
            )

        with pytest.raises(StreamingQueryException):
            run()
        fails.clear()
        ods.mutate("1", "ed-fi/students", "insert", 2)
        run()
        assert rows == [(0, 10), (0, 10), (1, 2)]


# What follows streams without Spark between.


class Changing:
    """Answers of an ODS whose collection changes."""

    def __init__(self, ods: Any) -> None:
        self.ods = ods
        self.newest = 10
        self.versions = {record["id"]: 5 for record in ods.records}
        self.deleted: list[dict[str, Any]] = []
        ods.script = self.answer

    def answer(self, request: Any) -> Any:
        query = request.query
        if request.path.endswith("/availableChangeVersions"):
            versions = {"oldestChangeVersion": 0, "newestChangeVersion": self.newest}
            return scripted.Answer(200, versions)
        if "/ed-fi/students" not in request.path or request.method != "GET":
            return None
        low = int(query.get("minChangeVersion", 0))
        high = int(query.get("maxChangeVersion", 1 << 40))
        every = self.ods.records
        is_deletes = request.path.endswith("/deletes")
        try:
            if is_deletes:
                kept = [one for one in self.deleted if low <= one["changeVersion"] <= high]
            else:
                kept = [one for one in every if low <= self.versions[one["id"]] <= high]
            self.ods.records = kept
            return self.ods.page(request)
        finally:
            self.ods.records = every


def stream(url: str, **options: Any) -> StreamReader:
    auth = {"base_url": url, "client_id": "key", "client_secret": "secret", "api_version": "v3"}
    job = Job({"endpoint": "ed-fi/students", **auth, "limit": 10}, None, ALONE, 2)
    return StreamReader(job, SCHEMA, options)


def changes(
    reader: StreamReader, start: dict[str, int], end: dict[str, int]
) -> list[tuple[Any, ...]]:
    found = []
    for part in reader.partitions(start, end):
        for batch in reader.read(part):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            found += frame.select("_change", "id", "ref.name").rows()
    return sorted(found)


@pytest.fixture
def changing() -> Any:
    with collection(200) as ods:
        for record in ods.records:
            record["ref"] = {"name": f"r{record['n']}"}
        yield Changing(ods)


def test_the_first_batch_is_everything_and_then_what_changed(changing: Changing) -> None:
    reader = stream(changing.ods.url, overlap=0)
    begin, first = reader.initialOffset(), reader.latestOffset()
    found = changes(reader, begin, first)
    assert [change for change, *_ in found] == ["upsert"] * 200
    records = changing.ods.records
    changing.versions[records[3]["id"]] = 11
    gone = records.pop(7)
    key = {"keyValues": {"name": "r7"}, "changeVersion": 12}
    changing.deleted.append({"id": gone["id"], **key})
    changing.newest = 12
    then = reader.latestOffset(first)
    assert changes(reader, first, then) == [
        ("delete", gone["id"], "r7"),
        ("upsert", records[3]["id"], "r3"),
    ]


def test_nothing_new_costs_two_requests() -> None:
    with edfi.Sandbox(districts=["1"], records=40) as ods:
        job = Job({"endpoint": "ed-fi/students", **auth_of(ods)}, None, ALONE, 2)
        columns = pl.Schema([("_change", pl.String()), *job.find_columns().items()])
        reader = StreamReader(job, _types.spark_schema(columns), {"overlap": 0})
        newest = reader.latestOffset()["version"]
        # What an ODS says of itself is known after the first time.
        assert reader.partitions({"version": newest}, {"version": newest + 1}) == []
        before = ods._native.request_count()
        assert reader.partitions({"version": newest}, {"version": newest + 1}) == []
        assert ods._native.request_count() - before == 2
        assert reader.partitions({"version": newest}, {"version": newest}) == []
        assert ods._native.request_count() - before == 2


def test_a_query_of_what_is_available_ends_with_it(changing: Changing) -> None:
    reader = stream(changing.ods.url)
    reader.prepareForTriggerAvailableNow()
    before = len(changing.ods.requests)
    changing.newest = 11
    assert reader.latestOffset({"version": -1}) == {"version": 10}
    assert reader.latestOffset({"version": 10}) == {"version": 10}
    assert len(changing.ods.requests) == before
    with pytest.raises(edfi.EdFiError, match="the ODS was replaced"):
        reader.latestOffset({"version": 11})


def test_late_commits_are_read_by_the_overlap(changing: Changing) -> None:
    reader = stream(changing.ods.url, overlap=3)
    late = changing.ods.records[5]["id"]
    changing.versions[late] = 8
    found = changes(reader, {"version": 10}, {"version": 11})
    assert found == [("upsert", late, "r5")]


def test_what_changes_while_it_is_read_comes_with_the_next_batch(changing: Changing) -> None:
    reader = stream(changing.ods.url, overlap=0)
    parts = reader.partitions({"version": -1}, {"version": 10})
    moved = changing.ods.records[150]["id"]
    changing.versions[moved] = 11
    found = {
        row["id"] for part in parts for batch in reader.read(part) for row in batch.to_pylist()
    }
    everything = {record["id"] for record in changing.ods.records}
    assert found >= everything - {moved}
    again = changes(reader, {"version": 10}, {"version": 11})
    assert [row_id for _, row_id, _ in again] == [moved]


def test_an_ods_that_was_replaced_or_has_no_change_queries_is_an_error(changing: Changing) -> None:
    reader = stream(changing.ods.url)
    with pytest.raises(edfi.EdFiError, match="the ODS was replaced"):
        reader.latestOffset({"version": 99})
    changing.ods.script = None
    with pytest.raises(edfi.HttpError, match="404"):
        stream(changing.ods.url).latestOffset()


def test_a_schema_without_the_column_of_changes_says_how_to_get_it(changing: Changing) -> None:
    job = stream(changing.ods.url).job
    with pytest.raises(edfi.EdFiError, match="stream=true"):
        StreamReader(job, StructType(SCHEMA.fields[1:]), {})
