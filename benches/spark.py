"""Spark beside one process, as Markdown: one and two executors of one core each.

``python benches/spark.py PROGRAM`` after ``make test-spark``, which brings what it needs; PROGRAM
is the example ``bench``, whose server has its answers ready, in a process of its own. Districts of
40,000 records are read, so many that what a query costs whatever it reads is below a tenth of its
time: that is told from a reading of a fifth of them. ``--quick`` reads a fifth, a quarter of which
is such costs. An executor's start is not counted: each session reads once before it is measured.
What is counted is a whole action: planning, the tasks, and their batches on the way through the
JVM. That a micro-batch of nothing costs two requests, a test says.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from pyspark.sql import SparkSession
from servers import Server, server

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark

if TYPE_CHECKING:
    from collections.abc import Callable

SCORES = edfi.endpoints.STUDENT_ASSESSMENTS
EACH = 40_000
PART = 5
ENOUGH = 4
OPTIONS = {"key_col": "District BK", "schema": "infer", "api_version": "v3"}


class Taken(NamedTuple):
    """How long a reading took, and how much of that whatever was read."""

    seconds: float
    fixed: float
    served: float
    """Seconds of CPU that the server took for it."""


def districts(ods: Server, number: int) -> pl.DataFrame:
    """Name one and the same district so many times."""
    names = [str(district) for district in range(number)]
    access = {"targetUrl": f"{ods.url}/1of1", "EdFi Token": ods.token}
    return pl.DataFrame({"District BK": names}).with_columns(
        pl.lit(text).alias(name) for name, text in access.items()
    )


def taken(
    ods: Server, number: int, rounds: int, reading: Callable[[pl.DataFrame], Callable[[], object]]
) -> Taken:
    """Measure a reading of all districts, and one of a part of them."""

    def seconds(of: int) -> tuple[float, float]:
        work = reading(districts(ods, of))
        work()
        measured, before = [], ods.cpu()
        for _ in range(rounds):
            began = time.perf_counter()
            work()
            measured.append(time.perf_counter() - began)
        return statistics.median(measured), (ods.cpu() - before) / rounds

    few, _ = seconds(max(1, number // PART))
    every, served = seconds(number)
    # What grows with the records is in the difference.
    fixed = max(0.0, few - (every - few) / (PART - 1))
    return Taken(every, fixed / every, served)


def on_spark(ods: Server, number: int, rounds: int, executors: int) -> Taken:
    """Read all districts with so many executors of one core, and drop the rows."""
    session = (
        SparkSession.builder.master(f"local-cluster[{executors},1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.executorEnv.PYTHONPATH", str(Path(edfi.__file__).parents[1]))
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )

    def reading(frame: pl.DataFrame) -> Callable[[], object]:
        rows = edfi_spark.read(session, frame, SCORES, **OPTIONS)
        return lambda: rows.write.format("noop").mode("append").save()

    try:
        return taken(ods, number, rounds, reading)
    finally:
        session.stop()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    number, rounds = (5, 1) if given.quick else (25, 3)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    client = edfi.EdFiClient(api_version=OPTIONS["api_version"])
    plain = {"key_col": OPTIONS["key_col"], "schema": OPTIONS["schema"], "endpoint": SCORES}
    with server(given.program, EACH, 0) as ods:
        alone = taken(
            ods, number, rounds, lambda frame: lambda: client.batch_get_all(frame, **plain)
        )
        one = on_spark(ods, number, rounds, 1)
        two = on_spark(ods, number, rounds, 2)
    records, cores = number * EACH, os.cpu_count() or 1
    print(
        "| what | s | records/s | whatever is read | CPU of the server, s |\n|---|---|---|---|---|"
    )
    for what, found in (
        ("`batch_get_all` in one process", alone),
        ("Spark, one executor of one core", one),
        ("Spark, two executors of one core", two),
    ):
        rate = f"{records / found.seconds:,.0f}"
        print(f"| {what} | {found.seconds:.2f} | {rate} | {found.fixed:.0%} | {found.served:.2f} |")
    print("\n| target | wanted | reached |\n|---|---|---|")
    print(f"| two executors beside one process | 0.60 | {alone.seconds / two.seconds:.2f} |")
    print(f"| two executors beside one, of twice | 0.85 | {one.seconds / two.seconds / 2:.2f} |")
    load = os.getloadavg()[0]
    print(f"\n{records:,} records; {cores} cores, on which {load:.1f} were at work meanwhile.")
    if cores < ENOUGH:
        print("Two executors, their JVMs, the driver and the server share them: less than twice.")


if __name__ == "__main__":
    main()
