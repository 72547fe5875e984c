"""Writing by tasks: one result for each row, and what is wrong said before anything is sent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import collection, scripted
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, LongType, MapType, StringType, StructField, StructType

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark
from polars_edfi.spark._writer import Writer

SCHEMA = StructType([StructField("k", LongType()), StructField("payload", StringType())])

REFUSED = scripted.Answer(400, {"detail": "Not seven."})
CLOSED = scripted.Answer(close=True)


def options(url: str, results: Path, **more: str) -> dict[str, str]:
    return {
        "base_url": url,
        "client_id": "key",
        "client_secret": "secret",
        "api_version": "v3",
        "endpoint": "ed-fi/students",
        "payload_col": "payload",
        "key_col": "k",
        "results": str(results),
        **more,
    }


def payloads(numbers: range) -> list[tuple[int, str]]:
    return [(n, json.dumps({"studentUniqueId": str(n)})) for n in numbers]


def posts(ods: Any) -> list[str]:
    found = [request for request in ods.requests if request.method == "POST"]
    bodies = [request.body for request in found if request.path.endswith("/students")]
    return sorted(json.loads(body)["studentUniqueId"] for body in bodies)


def test_a_frame_is_posted_and_each_row_has_one_result(spark: SparkSession, tmp_path: Path) -> None:
    with collection(0) as ods:

        def refuse(request: Any) -> Any:
            is_seven = request.method == "POST" and b'"7"' in request.body
            return REFUSED if is_seven else None

        ods.script = refuse
        frame = spark.createDataFrame(payloads(range(20)), ["k", "payload"]).repartition(2)
        writing = frame.write.format("edfi").options(**options(ods.url, tmp_path / "out"))
        writing.mode("append").save()
        assert posts(ods) == sorted(str(n) for n in range(20))
        tokens = [request for request in ods.requests if request.path.endswith("/token")]
        assert len(tokens) == 1
    results = spark.read.parquet(str(tmp_path / "out")).toPandas()
    assert sorted(results["key"]) == list(range(20))
    failed = results[results["status"] == "error"]
    assert failed["key"].tolist() == [7]
    assert "HTTP 400" in failed["message"].iloc[0]
    assert len(results[["partition", "row_index"]].drop_duplicates()) == 20
    # The journals of a job that is done are gone.
    assert [path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()] == [
        ".parquet"
    ] * 2


def test_what_is_wrong_is_told_before_anything_is_sent(spark: SparkSession, tmp_path: Path) -> None:
    with collection(0) as ods:
        frame = spark.createDataFrame(payloads(range(2)), ["k", "payload"])
        given = options(ods.url, tmp_path)
        for wrong, text in (
            ({"payload_col": "pay"}, "pay"),
            ({"results": ""}, "option 'results' is missing"),
            ({"key_cll": "k"}, "did you mean 'key_col'"),
            ({"workers": "1"}, "workers=1 cannot be shared by the 2 tasks"),
            ({"client_secret": "wrong"}, "auth error: HTTP 401"),
        ):
            with pytest.raises(Exception, match=text):
                frame.write.format("edfi").options(**{**given, **wrong}).mode("append").save()
        with pytest.raises(Exception, match="not overwritten"):
            frame.write.format("edfi").options(**given).mode("overwrite").save()
        assert posts(ods) == []


def test_a_format_that_knows_its_ods_writes_with_it(spark: SparkSession, tmp_path: Path) -> None:
    with collection(0) as ods:
        given = options(ods.url, tmp_path / "out")
        own = {name: given.pop(name) for name in ("base_url", "client_id", "client_secret")}
        edfi_spark.register(spark, "own", **own)
        frame = spark.createDataFrame(payloads(range(3)), ["k", "payload"])
        frame.write.format("own").options(**given).mode("append").save()
        assert posts(ods) == ["0", "1", "2"]


# What follows writes without Spark between.


def batch(numbers: range) -> pa.RecordBatch:
    rows = payloads(numbers)
    return pa.record_batch({"k": [k for k, _ in rows], "payload": [text for _, text in rows]})


def test_a_task_that_is_run_again_sends_no_confirmed_row_twice(tmp_path: Path) -> None:
    with collection(0) as ods:
        writer = Writer(options(ods.url, tmp_path), SCHEMA, 1)
        batches = [batch(range(5)), batch(range(5, 10))]

        def dies() -> Any:
            yield batches[0]
            raise MemoryError

        with pytest.raises(MemoryError):
            writer.write(dies())
        assert len(posts(ods)) == 5
        writer.write(iter(batches))
        assert posts(ods) == sorted(str(n) for n in range(10))
    results = pl.read_parquet(tmp_path / "*.parquet").sort("key")
    assert results["key"].to_list() == results["row_index"].to_list() == list(range(10))
    assert results["status"].null_count() == 10
    assert results["attempts"].to_list() == [0] * 5 + [1] * 5


def test_rows_that_were_in_flight_are_sent_again_unless_that_is_not_wanted(tmp_path: Path) -> None:
    with collection(0) as ods:

        def cut_the_first(request: Any) -> Any:
            is_first = request.method == "POST" and len(posts(ods)) == 1
            return CLOSED if is_first and b"studentUniqueId" in request.body else None

        ods.script = cut_the_first
        careful = Writer(options(ods.url, tmp_path / "a", retry_broken="false"), SCHEMA, 1)
        careful.write(iter([batch(range(1))]))
        message = pl.read_parquet(tmp_path / "a" / "*.parquet")["message"][0]
        assert "may have been applied" in message
        ods.requests.clear()
        plain = Writer(options(ods.url, tmp_path / "b"), SCHEMA, 1)
        plain.write(iter([batch(range(1))]))
        assert pl.read_parquet(tmp_path / "b" / "*.parquet")["status"].null_count() == 1
        assert posts(ods) == ["0", "0"]


def test_a_task_waits_for_one_of_the_same_partition_that_is_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding = """
import sqlite3, sys
journal = sqlite3.connect(sys.argv[1], isolation_level=None)
journal.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""
    with collection(0) as ods:
        writer = Writer(options(ods.url, tmp_path, job="held"), SCHEMA, 1)
        writer.write(iter([batch(range(1))]))
        journal = tmp_path / "_journal" / "held" / "00000.edfi"
        # What this process has open it keeps open.
        copy = tmp_path / "copy" / "held" / "00000.edfi"
        copy.parent.mkdir(parents=True)
        copy.write_bytes(journal.read_bytes())
        writer.journals = str(tmp_path / "copy")
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", holding, str(copy)]
        with subprocess.Popen(command, **pipes) as other:
            assert other.stdout
            assert other.stdout.readline() == "held\n"
            waited = []

            def end_it(seconds: float) -> None:
                waited.append(seconds)
                assert other.stdin
                other.stdin.close()
                other.wait()

            monkeypatch.setattr("polars_edfi.spark._writer.sleep", end_it)
            writer.write(iter([batch(range(2))]))
        assert len(waited) == 1
        assert "1" in posts(ods)


def test_another_try_of_a_task_waits_as_long_as_the_first_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second:
        @staticmethod
        def partitionId() -> int:  # noqa: N802 - Spark's name
            return 0

        @staticmethod
        def attemptNumber() -> int:  # noqa: N802 - Spark's name
            return 1

    holding = (
        "import sqlite3, sys\n"
        "journal = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "journal.execute('BEGIN EXCLUSIVE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    monkeypatch.setattr("polars_edfi.spark._writer.PATIENCE", -1.0)
    with collection(0) as ods:
        writer = Writer(options(ods.url, tmp_path, job="held"), SCHEMA, 1)
        journal = tmp_path / "_journal" / "held" / "00000.edfi"
        journal.parent.mkdir(parents=True)
        journal.touch()
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([sys.executable, "-c", holding, str(journal)], **pipes) as other:
            assert other.stdout
            assert other.stdout.readline() == "held\n"
            with pytest.raises(edfi.EdFiError, match="in use by another process"):
                writer.write(iter([batch(range(1))]))
            assert other.stdin
            monkeypatch.setattr(
                "polars_edfi.spark._writer.sleep", lambda _: (other.stdin.close(), other.wait())
            )
            monkeypatch.setattr("polars_edfi.spark._writer.TaskContext.get", Second)
            writer.write(iter([batch(range(1))]))
        assert posts(ods) == ["0"]


def test_nothing_is_sent_whose_results_could_not_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with collection(0) as ods:
        given = options(ods.url, tmp_path / "file" / "below", journal=str(tmp_path / "journal"))
        writer = Writer(given, SCHEMA, 1)
        with pytest.raises(edfi.EdFiError, match="nothing can be written there"):
            writer.write(iter([batch(range(3))]))
        # No object store answers there.
        far = {**given, "results": "s3://bucket/x?endpoint_override=http://127.0.0.1:9&region=us"}
        with pytest.raises(edfi.EdFiError, match="nothing can be written there"):
            Writer(far, SCHEMA, 1).write(iter([batch(range(3))]))
        for wrong, text in (
            ("dbfs:/mnt/results", "begins with 'dbfs:', which is no folder"),
            ("jdbc://host/results", "PyArrow writes to no jdbc://"),
        ):
            with pytest.raises(edfi.EdFiError, match=text):
                Writer({**given, "results": wrong}, SCHEMA, 1)
        assert posts(ods) == []
        # As Spark spells it.
        assert Writer({**given, "results": "s3a://bucket/x/"}, SCHEMA, 1).results.url == (
            "s3://bucket/x"
        )


def test_a_map_in_a_payload_is_refused_since_json_would_be_a_list_of_it(tmp_path: Path) -> None:
    inner = StructType([StructField("m", ArrayType(MapType(StringType(), LongType())))])
    schema = StructType([StructField("k", LongType()), StructField("payload", inner)])
    with (
        collection(0) as ods,
        pytest.raises(edfi.EdFiError, match=r"'payload.m' is a map.*to_json\(`payload`\)"),
    ):
        Writer(options(ods.url, tmp_path), schema, 1)


def test_a_named_job_of_fewer_partitions_leaves_one_result_for_each_row(tmp_path: Path) -> None:
    with collection(0) as ods:
        writer = Writer(options(ods.url, tmp_path, job="n1"), SCHEMA, 1)
        other = tmp_path / "part-00007-of-n1.parquet"
        stale = tmp_path / "part-00001-n1.parquet"
        message = writer.write(iter([batch(range(3))]))
        for path in (other, stale):
            path.write_bytes((tmp_path / "part-00000-n1.parquet").read_bytes())
        writer.commit([message])
        assert other.exists()
        assert not stale.exists()


def test_a_named_job_goes_on_where_it_ended(tmp_path: Path) -> None:
    with collection(0) as ods:
        for _ in range(2):
            writer = Writer(options(ods.url, tmp_path, job="nightly-1"), SCHEMA, 1)
            writer.commit([writer.write(iter([batch(range(3))]))])
        assert posts(ods) == ["0", "1", "2"]
        results = pl.read_parquet(tmp_path / "*.parquet")
        assert results["attempts"].to_list() == [0, 0, 0]


def test_a_dry_run_sends_nothing_and_a_partition_without_rows_has_columns(tmp_path: Path) -> None:
    with collection(0) as ods:
        writer = Writer(options(ods.url, tmp_path, commit="false"), SCHEMA, 1)
        writer.write(iter([batch(range(3))]))
        assert ods.requests == []
        assert pl.read_parquet(tmp_path / "*.parquet")["status"].to_list() == ["dry_run"] * 3
        writer.write(iter([]))
        assert pl.read_parquet(tmp_path / "*.parquet").height == 0


def test_rows_may_bring_their_own_ods(tmp_path: Path) -> None:
    schema = StructType(
        [*SCHEMA, StructField("targetUrl", StringType()), StructField("EdFi Token", StringType())]
    )
    with collection(0) as one, collection(0) as other:
        given = options("", tmp_path)
        for name in ("base_url", "client_id", "client_secret"):
            del given[name]
        rows = batch(range(2))
        both = rows.append_column("targetUrl", pa.array([one.url, other.url]))
        both = both.append_column("EdFi Token", pa.array(["token", "token"]))
        Writer(given, schema, 1).write(iter([both]))
        assert (posts(one), posts(other)) == (["0"], ["1"])


def test_object_stores_need_no_folder_and_a_journal_does(tmp_path: Path) -> None:
    with collection(0) as ods:
        far = Writer({**options(ods.url, tmp_path), "results": "s3://bucket/results"}, SCHEMA, 1)
        assert far.results.url == "s3://bucket/results"
        with pytest.raises(edfi.EdFiError, match="'journal' must be a folder"):
            Writer(options(ods.url, tmp_path, journal="s3://bucket/journal"), SCHEMA, 1)
