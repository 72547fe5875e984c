"""Measures what a journal costs: time beside the same posts without one, bytes, memory.

Usage: ``journal.py BENCH [--rounds N] [--rows N]`` with the program of ``benches/native``. Posts of
2.2 kB, 16 in flight, with and without a journal in turn; then ``--rows`` rows in batches of 20,000
into one journal, and what the file and the process have grown by.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import polars as pl
from common.measure import memory
from common.work import RESOURCE
from servers import Server, server

import polars_edfi as edfi

POSTS, BATCH, WORKERS = 5_000, 20_000, 16
WAYS = ["without", "a new journal", "the second night"]


def rows(start: int, count: int, size: int = 2_180) -> pl.DataFrame:
    """Make payloads that differ from each other."""
    text = "x" * size
    df = pl.DataFrame({"key": range(start, start + count)})
    return df.with_columns(pl.format(f'{{{{"n": {{}}, "t": "{text}"}}}}', "key").alias("payload"))


def post(at: Server, df: pl.DataFrame, journal: Path | None) -> tuple[float, float]:
    """Post all of it; the seconds by the clock and of all cores."""
    client = edfi.EdFiClient(base_url=f"{at.url}/1of1", bearer_token=at.token, api_version="v3")
    start, cpu = time.perf_counter(), time.process_time()
    result = client.batch_post_payload(
        df,
        payload_col="payload",
        key_col="key",
        endpoint=RESOURCE.removeprefix("data/v3/"),
        commit=True,
        workers=WORKERS,
        journal=journal,
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert result["status"].null_count() == df.height, result
    return seconds, cpu


def prices(bench: Path, latency: int, rounds: int) -> None:
    """Print what posts take without a journal, with a new one, and where nothing is new."""
    df = rows(0, POSTS)
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with server(bench, 64, latency) as at, tempfile.TemporaryDirectory() as folder:
        post(at, df, None)
        for number in range(rounds):
            journal = Path(folder) / f"{number}.edfi"
            for way, path in zip(WAYS, [None, journal, journal], strict=True):
                took[way].append(post(at, df, path))
    print(f"\n| {POSTS:,} posts, {latency} ms | seconds | of CPU | beside without |")
    print("|---|---|---|---|")
    base = statistics.median(seconds for seconds, _ in took[WAYS[0]])
    for way, all_of_them in took.items():
        seconds, cpu = map(statistics.median, zip(*all_of_them, strict=True))
        print(f"| {way} | {seconds:.2f} | {cpu:.2f} | {seconds / base:.2f} |", flush=True)


def sizes(bench: Path, count: int) -> None:
    """Print how large a journal of many rows is, and how far memory grew with it."""
    with server(bench, 64, 0) as at, tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "run.edfi"
        post(at, rows(0, BATCH, 20), journal)
        before = memory("VmRSS")
        for start in range(BATCH, count, BATCH):
            post(at, rows(start, BATCH, 20), journal)
        grown = (memory("VmRSS") - before) / 1e6
        size = journal.stat().st_size / count
    print(f"\n{count:,} rows: {size:.0f} bytes a row in the file, {grown:.0f} MB more in memory.")


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="the example `bench`, as cargo built it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    for latency in (0, 20):
        prices(arguments.program, latency, arguments.rounds)
    sizes(arguments.program, arguments.rows)


if __name__ == "__main__":
    main()
