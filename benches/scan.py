"""Measures lazy scans: peak memory of a sink as the records grow, and some columns beside all.

Usage: ``scan.py BENCH [RECORDS ...]`` with the program of ``benches/native``; by default a hundred
thousand and a million records. Each figure comes from a process of its own.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contestant import memory, peak

ENDPOINT = "ed-fi/studentAssessments"
SOME = ["id", "administrationDate", "studentReference.studentUniqueId"]
ROUNDS = 5


@contextmanager
def serve(bench: str, records: int) -> Iterator[dict[str, Any]]:
    """Run the server until the end of the block."""
    command = [bench, "serve", str(records)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())
        server.stdin.close()


def measure(kind: str, server: dict[str, Any]) -> dict[str, float]:
    """Do one kind of query in this process."""
    import polars_edfi as edfi

    client = edfi.EdFiClient(
        base_url=f"{server['url']}/1of1", bearer_token=server["token"], api_version="v3"
    )
    lf = edfi.scan(ENDPOINT, client=client)
    lf.collect_schema()
    before, start = memory(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sink":
            lf.sink_parquet(Path(folder) / "records.parquet")
        else:
            rows = lf.select(SOME) if kind == "some" else lf
            for batch in rows.collect_batches(chunk_size=10_000):
                assert batch.height
    return {"seconds": time.perf_counter() - start, "before": before, "peak": peak()}


def apart(kind: str, server: dict[str, Any]) -> dict[str, float]:
    """Do it in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--one", kind, json.dumps(server)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)  # type: ignore[no-any-return]


def main() -> None:
    """Print one line for each figure."""
    if sys.argv[1] == "--one":
        print(json.dumps(measure(sys.argv[2], json.loads(sys.argv[3]))))
        return
    bench, *counts = sys.argv[1:]
    for count in counts or ["100000", "1000000"]:
        with serve(bench, int(count)) as server:
            sunk = apart("sink", server)
            print(
                f"{int(count):>9,} records to Parquet: {sunk['seconds']:.1f} s, peak "
                f"{sunk['peak'] / 1e6:.0f} MB ({sunk['before'] / 1e6:.0f} MB before)",
                flush=True,
            )
    with serve(bench, 40_000) as server:
        ratios = [
            apart("all", server)["seconds"] / apart("some", server)["seconds"]
            for _ in range(ROUNDS)
        ]
    print(f"three columns are {sorted(ratios)[ROUNDS // 2]:.2f} times as fast as all", flush=True)


if __name__ == "__main__":
    main()
