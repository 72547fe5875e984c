"""The guide to Spark and its example run as they stand there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from conftest import auth_of
from pyspark.sql import SparkSession

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark

GUIDE = Path(__file__).parents[2] / "docs" / "spark.md"


def test_the_guide(spark: SparkSession, tmp_path: Path) -> None:
    blocks = re.findall(
        r'^```py title="PySpark"\n(.*?)^```', GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 7
    with edfi.Sandbox(districts=["255901", "255902"], records=40) as ods:
        auth = auth_of(ods)
        client = edfi.EdFiClient(**auth)
        scores = edfi.endpoints.STUDENT_ASSESSMENTS
        records = client.get_all(key="1", endpoint=scores, links=False)["data"]
        own = records.head(4).drop("id", "_etag", "_lastModifiedDate", "_unknown")
        payloads = edfi.unflatten(own).select("payload")
        payloads = payloads.select(pl.col("payload").struct.json_encode()).with_row_index("k")
        names: dict[str, Any] = {
            "session": spark,
            "pl": pl,
            "edfi": edfi,
            "url": auth["base_url"],
            "key": auth["client_id"],
            "secret": auth["client_secret"],
            "districts": ods.districts(),
            "scores": spark.createDataFrame(payloads.cast({"k": pl.Int64}).to_arrow()),
            "results": str(tmp_path / "results"),
            "lake": str(tmp_path / "lake"),
            "checkpoint": str(tmp_path / "checkpoint"),
        }
        try:
            for block in blocks:
                exec(block, names)
        finally:
            spark.conf.unset("spark.sql.python.filterPushdown.enabled")
            names["edfi_spark"].register(spark)
        assert spark.read.parquet(names["results"]).count() == 4
        assert names["failed"].select("message").collect() == []
        report = names["report"]
        assert sorted(report.select("District BK", "endpoint").rows()) == [
            (key, endpoint)
            for key in ("255901", "255902")
            for endpoint in ("ed-fi/schools", "ed-fi/students")
        ]
        assert set(report["mode"]) == {"full"}
        assert report["status"].null_count() == 4
        students = pl.read_parquet(tmp_path / "lake" / "ed-fi" / "students" / "255901.parquet")
        assert students.height == client.count("ed-fi/students")
        changes = spark.read.parquet(str(tmp_path / "lake" / "changes"))
        assert changes.where("_change = 'upsert'").count() == students.height


def test_the_example(spark: SparkSession, capfd: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "examples" / "spark" / "read_and_write.py"
    try:
        runpy.run_path(str(path))["main"](spark)
    finally:
        edfi_spark.register(spark)
    shown = capfd.readouterr().out
    assert re.search(r"255901\|\s+400", shown)
    assert re.search(r"NULL\|\s+201\|\s+10", shown)


def test_the_notebook(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Run as Databricks does, whose ``dbutils`` gives secrets and what was asked for."""
    path = Path(__file__).parents[2] / "examples" / "spark" / "databricks.py"
    assert path.read_text("utf-8").startswith("# Databricks notebook source\n")
    with edfi.Sandbox(districts=["a", "b"], records=60) as ods:
        secrets, districts = {}, []
        for name, url, key, secret in ods.districts().rows():
            secrets |= {f"{name}-key": key, f"{name}-secret": secret}
            districts.append(f"{name}={url}")
        given = {"districts": " ".join(districts), "lake": str(tmp_path)}
        widgets = SimpleNamespace(text=lambda *_: None, get=given.get)
        dbutils = SimpleNamespace(
            widgets=widgets, secrets=SimpleNamespace(get=lambda _, name: secrets[name])
        )
        names = runpy.run_path(str(path), {"spark": spark, "dbutils": dbutils})
        assert names["report"]["mode"].to_list() == ["full"] * 4
        assert spark.sql("select count(*) from students").collect()[0][0] == sum(
            names["report"].filter(pl.col("endpoint") == "ed-fi/students")["rows"]
        )
    assert re.search(r"a\|\s+NULL\|\s+\d+", capfd.readouterr().out)
