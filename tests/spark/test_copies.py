"""Copies by tasks: the same copies, states, locks and report as on one machine."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyspark.sql import SparkSession

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark

ENDPOINTS = ["ed-fi/students", "ed-fi/schools", "ed-fi/studentAssessments"]
AUTH = {
    "auth_key_col": "oAuthKey",
    "auth_secret_col": "oAuthSecret",
    "oauth_endpoint": "oauth/token",
}
KEY = "District BK"


def whole(lake: Path, endpoint: str) -> pl.DataFrame:
    return pl.read_parquet(lake / endpoint / "*.parquet", missing_columns="insert").sort(KEY, "id")


@pytest.fixture(scope="module")
def three() -> Any:
    with edfi.Sandbox(districts=["1", "2", "3"], records=60) as sandbox:
        yield sandbox


def test_copies_and_report_are_those_of_one_machine(
    spark: SparkSession, three: edfi.Sandbox, tmp_path: Path
) -> None:
    districts = three.districts().with_columns(
        pl.when(pl.col(KEY) == "2")
        .then(pl.lit("wrong"))
        .otherwise("oAuthSecret")
        .alias("oAuthSecret"),
        pl.col(KEY).cast(pl.Int64),
    )
    here, there = tmp_path / "here", tmp_path / "there"
    one = edfi.sync(districts, ENDPOINTS, into=here, key_col=KEY, **AUTH)
    many = edfi_spark.sync(spark, districts, ENDPOINTS, into=there, key_col=KEY)
    told = [KEY, "endpoint", "status", "mode", "since", "version", "rows", "written", "deleted"]
    assert many.schema == one.schema
    assert many.select(told).equals(one.select(told))
    failed = many.filter(pl.col("status") == "error")
    assert failed[KEY].to_list() == [2] * 3
    assert failed["message"].str.contains("HTTP 401").all()
    for endpoint in ENDPOINTS:
        assert whole(there, endpoint).equals(whole(here, endpoint))
    # Either goes on where the other ended.
    three.mutate("1", ENDPOINTS[0], "insert", 2)
    districts = districts.filter(pl.col(KEY) != 2)
    again = edfi_spark.sync(spark, districts, ENDPOINTS, into=here, key_col=KEY)
    assert again["mode"].to_list() == ["changes"] + ["unchanged"] * 5
    assert again["written"].to_list() == [2, 0, 0, 0, 0, 0]
    last = edfi.sync(districts, ENDPOINTS, into=here, key_col=KEY, **AUTH)
    assert last["mode"].unique().to_list() == ["unchanged"]
    assert sorted(path.name for path in here.iterdir() if path.name.startswith(".")) == [
        ".polars-edfi.known",
        ".polars-edfi.lock",
    ]


def test_what_only_the_whole_frame_tells_is_told(
    spark: SparkSession, three: edfi.Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = three.districts().iter_slices(1)
    twice = second.with_columns(first[KEY])
    left_out = third.with_columns(pl.lit("error").alias("row status"))
    districts = pl.concat([first, twice, left_out], how="diagonal")
    # A folder of the driver's, wherever tasks are.
    monkeypatch.chdir(tmp_path)
    told = [KEY, "endpoint", "status", "message", "rows"]
    many = edfi_spark.sync(spark, districts, ENDPOINTS[:2], into="lake", key_col=KEY)
    one = edfi.sync(districts, ENDPOINTS[:2], into="one", key_col=KEY, **AUTH)
    assert many.select(told).equals(one.select(told))
    assert many["status"].to_list() == [None, None, *["error"] * 4]
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 2


def test_everything_that_odss_list_is_copied(
    spark: SparkSession, three: edfi.Sandbox, tmp_path: Path
) -> None:
    dead = {KEY: "9", "targetUrl": "http://127.0.0.1:9", "oAuthKey": "k", "oAuthSecret": "s"}
    districts = pl.concat([three.districts().head(1), pl.DataFrame(dead)])
    report = edfi_spark.sync(spark, districts, into=tmp_path, key_col=KEY, max_retries=0)
    own = edfi.EdFiClient(max_retries=0)
    listed = edfi.sync(districts, into=tmp_path / "one", key_col=KEY, client=own, **AUTH)
    assert report.select(KEY, "endpoint", "status", "rows").equals(
        listed.select(KEY, "endpoint", "status", "rows")
    )
    assert report.filter(pl.col(KEY) == "9").height == 1


def test_a_table_has_one_writer(spark: SparkSession, three: edfi.Sandbox, tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    given: Any = {"into": tmp_path, "key_col": KEY, "format": "delta"}
    report = edfi_spark.sync(spark, three.districts(), ENDPOINTS[:2], **given)
    assert report["status"].null_count() == 6
    assert report["endpoint"].to_list() == ENDPOINTS[:2] * 3
    students = pl.read_delta(str(tmp_path / ENDPOINTS[0]))
    assert students[KEY].n_unique() == 3


def test_another_run_and_wrong_arguments_are_told_before_anything_is_sent(
    spark: SparkSession, three: edfi.Sandbox, tmp_path: Path
) -> None:
    given: Any = {"into": tmp_path, "key_col": KEY}
    before = three._native.request_count()
    for wrong, text in (
        ({"verfy": "full"}, "unknown option 'verfy'"),
        ({"verfy": None}, "unknown option 'verfy'"),
        ({"verify": "counts"}, "verify must be"),
        ({"workers": 0}, "'workers' must be at least 1"),
        ({"client_id": "a"}, "client_secret"),
    ):
        with pytest.raises(edfi.EdFiError, match=text):
            edfi_spark.sync(spark, three.districts(), ENDPOINTS, **{**given, **wrong})
    assert three._native.request_count() == before
    with (tmp_path / ".polars-edfi.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(edfi.EdFiError, match="another run is copying"):
            edfi_spark.sync(spark, three.districts(), ENDPOINTS, **given)
    none = edfi_spark.sync(spark, three.districts().head(0), ENDPOINTS, **given)
    assert none.height == 0
