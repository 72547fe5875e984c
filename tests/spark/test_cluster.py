"""Two executors: work is spread, a killed one is made up for, and no log shows a secret."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import collection, executors, scripted
from pyspark.sql import SparkSession

from polars_edfi import spark as edfi_spark

ROWS = 120


def posted(ods: Any) -> list[int]:
    found = [request for request in ods.requests if request.method == "POST"]
    bodies = [request.body for request in found if request.path.endswith("/students")]
    return [json.loads(body)["n"] for body in bodies]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds executors in /proc")
def test_an_executor_that_is_killed_while_it_writes_sends_no_confirmed_row_twice(
    cluster: SparkSession, tmp_path: Path
) -> None:
    with collection(0) as ods:
        ods.one_at_a_time = False
        killed = threading.Event()
        lock = threading.Lock()
        slow = threading.Event()

        def kill_on_the_way(request: Any) -> None:
            if request.method != "POST" or not request.path.endswith("/students"):
                return
            slow.wait(0.05)
            with lock:
                if len(posted(ods)) >= ROWS // 3 and not killed.is_set():
                    killed.set()
                    os.kill(executors()[0], signal.SIGKILL)

        ods.script = kill_on_the_way
        rows = [(n, json.dumps({"n": n})) for n in range(ROWS)]
        frame = cluster.createDataFrame(rows, ["k", "payload"]).repartition(2)
        given = {
            "base_url": ods.url,
            "client_id": "key",
            "client_secret": "secret",
            "api_version": "v3",
            "endpoint": "ed-fi/students",
            "payload_col": "payload",
            "key_col": "k",
            "workers": "4",
            "results": str(tmp_path / "out"),
        }
        frame.write.format("edfi").options(**given).mode("append").save()
        times = Counter(posted(ods))
        tokens = [request for request in ods.requests if request.path.endswith("/token")]
    assert killed.is_set()
    assert sorted(times) == list(range(ROWS))
    # Only what was in flight when the executor went: two requests of its one task.
    assert sum(times.values()) - ROWS <= 2
    assert len(tokens) == 1
    results = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert sorted(results["key"]) == list(range(ROWS))
    assert results["status"].null_count() == ROWS
    # The second try found in the journal what the first had sent.
    assert 0 < results.filter(pl.col("attempts") == 0).height < ROWS


def test_an_executor_that_is_killed_while_it_copies_is_made_up_for(
    cluster: SparkSession, events: Path, tmp_path: Path
) -> None:
    names = [str(number) for number in range(40)]
    with collection(0) as ods:
        ods.one_at_a_time = False
        ods.secret = "key:planted-copying"
        killed = threading.Event()
        lock = threading.Lock()
        asked: Counter[str] = Counter()

        def kill_on_the_way(request: Any) -> None:
            with lock:
                asked[request.path.rpartition("/")[2]] += 1
                if asked["students"] == 30 and not killed.is_set():
                    killed.set()
                    os.kill(executors()[0], signal.SIGKILL)

        ods.records = [{"id": f"{n:032x}", "n": n} for n in range(20)]
        ods.script = kill_on_the_way
        districts = pl.DataFrame(
            {
                "District BK": names,
                "targetUrl": [ods.url] * 40,
                "oAuthKey": ["key"] * 40,
                "oAuthSecret": ["planted-copying"] * 40,
            }
        ).with_columns(
            pl.when(pl.col("District BK") == "20")
            .then(pl.lit("wrong"))
            .otherwise("oAuthSecret")
            .alias("oAuthSecret")
        )
        report = edfi_spark.sync(
            cluster,
            districts,
            ["ed-fi/students", "ed-fi/schools"],
            into=tmp_path / "lake",
            key_col="District BK",
            api_version="v3",
        )
        tokens = [
            one
            for one in ods.requests
            if one.path.endswith("/token") and "planted" in (one.basic or "")
        ]
    assert killed.is_set()
    assert len(tokens) == 1
    assert report["District BK"].to_list() == [name for name in names for _ in range(2)]
    assert report.filter(pl.col("status") == "error")["District BK"].to_list() == ["20"] * 2
    students = pl.read_parquet(tmp_path / "lake" / "ed-fi" / "students" / "*.parquet")
    assert students.height == 39 * 20
    ends = [
        json.loads(line)
        for path in events.iterdir()
        for line in path.read_text(errors="replace").splitlines()
        if "TaskEnd" in line
    ]
    assert any(end["Task End Reason"]["Reason"] != "Success" for end in ends)
    shown = [path.read_text(errors="replace") for path in events.iterdir()]
    assert not [text for text in shown if "planted-copying" in text]


# The last one: it ends the cluster.


def test_work_is_spread_and_no_plan_log_or_error_shows_a_secret(
    cluster: SparkSession, events: Path, tmp_path: Path
) -> None:
    with collection(1000) as ods:
        ods.secret = "key:planted-secret"
        given = {
            "base_url": ods.url,
            "client_id": "key",
            "client_secret": "planted-secret",
            "headers": '{"x-subscription": "planted-header"}',
            "api_version": "v3",
            "schema": "infer",
        }
        reader = cluster.read.format("edfi").options(**given, limit="50", partitions="4")
        frame = reader.load("ed-fi/students")
        assert frame.toArrow().num_rows == 1000
        districts = pl.DataFrame(
            {
                "k": ["a"],
                "targetUrl": [ods.url],
                "oAuthKey": ["key"],
                "oAuthSecret": ["planted-secret"],
            }
        )
        many = edfi_spark.read(
            cluster, districts, "ed-fi/students", key_col="k", schema="infer", api_version="v3"
        )
        assert many.count() == 1000
        writing = cluster.createDataFrame([(1, "{}")], ["k", "payload"]).write.format("edfi")
        results = {"endpoint": "ed-fi/students", "payload_col": "payload", "key_col": "k"}
        writing.options(**given_to_write(given), **results, results=str(tmp_path)).mode(
            "append"
        ).save()
        shown = [
            query._jdf.queryExecution().toString() + query._jdf.queryExecution().stringWithStats()
            for query in (frame, many)
        ]
        ods.script = lambda _: scripted.Answer(403, {"detail": "Not now."})
        with pytest.raises(Exception, match="HTTP 403") as failed:
            frame.count()
        shown.append(str(failed.value))
        tokens = [token for token in ods.tokens if token.startswith("issued")]
    cluster.stop()
    logs = [path.read_text(errors="replace") for path in events.iterdir()]
    work = Path(os.environ["SPARK_WORKER_DIR"])
    shown += logs
    shown += [path.read_text(errors="replace") for path in work.rglob("std*") if path.is_file()]
    assert any("SparkListenerSQLExecutionStart" in log for log in logs)
    assert tokens
    for secret in ("planted-secret", "planted-header", *tokens):
        assert not [text for text in shown if secret in text], secret
    ends = [json.loads(line) for log in logs for line in log.splitlines() if "TaskEnd" in line]
    ran = {end["Task Info"]["Executor ID"] for end in ends if "Task Info" in end}
    assert len(ran - {"driver"}) >= 2


def given_to_write(given: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if name != "schema"}
