"""Spark beside one process, as Markdown: one and two executors of one core each.

``python benches/spark.py`` after ``make test-spark``, which brings what it needs; ``--quick`` takes
a tenth of the records. The sandbox is in a process of its own. An executor's start is not counted:
each session reads once before it is measured. What is counted is a whole action: planning, the
tasks, and their batches on the way through the JVM. That a micro-batch of nothing costs two
requests, a test says.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from copies import server
from pyspark.sql import SparkSession

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

SCORES = edfi.endpoints.STUDENT_ASSESSMENTS
AUTH = {
    "auth_key_col": "oAuthKey",
    "auth_secret_col": "oAuthSecret",
    "oauth_endpoint": "oauth/token",
}


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Do something once, then measure it."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def on_spark(districts: pl.DataFrame, executors: int, rounds: int) -> float:
    """Read all districts with so many executors of one core, and drop the rows."""
    session = (
        SparkSession.builder.master(f"local-cluster[{executors},1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.executorEnv.PYTHONPATH", str(Path(edfi.__file__).parents[1]))
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    frame = edfi_spark.read(session, districts, SCORES, key_col="District BK", schema="infer")
    taken = seconds(lambda: frame.write.format("noop").mode("append").save(), rounds)
    session.stop()
    return taken


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    records, rounds = (4_000, 2) if quick else (40_000, 3)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with server(4, records // 4, 0) as ods:
        client = edfi.EdFiClient(api_version="v3")
        options = {"key_col": "District BK", "endpoint": SCORES, "schema": "infer", **AUTH}
        alone = seconds(lambda: client.batch_get_all(ods.districts, **options), rounds)
        one = on_spark(ods.districts, 1, rounds)
        two = on_spark(ods.districts, 2, rounds)
    print("| what | s | records/s |\n|---|---|---|")
    for what, taken in (
        ("`batch_get_all` in one process", alone),
        ("Spark, one executor of one core", one),
        ("Spark, two executors of one core", two),
    ):
        print(f"| {what} | {taken:.2f} | {records / taken:,.0f} |")
    print("\n| target | wanted | reached |\n|---|---|---|")
    print(f"| two executors beside one process | 0.60 | {alone / two:.2f} |")
    print(f"| two executors beside one, of twice | 0.85 | {one / two / 2:.2f} |")


if __name__ == "__main__":
    main()
