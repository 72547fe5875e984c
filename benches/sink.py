"""Measures lazy scans: peak memory of a sink as the records grow, and some columns beside all.

Usage: ``sink.py BENCH [RECORDS ...]`` with the program of ``benches/native``; by default a hundred
thousand and a million records. Each figure comes from a process of its own.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.measure import memory
from servers import Server, server

ENDPOINT = "ed-fi/studentAssessments"
SOME = ["id", "administrationDate", "studentReference.studentUniqueId"]
ROUNDS = 5


def measure(kind: str, at: dict[str, Any]) -> dict[str, float]:
    """Do one kind of query in this process."""
    import polars_edfi as edfi

    client = edfi.EdFiClient(
        base_url=f"{at['url']}/1of1", bearer_token=at["token"], api_version="v3"
    )
    lf = edfi.scan(ENDPOINT, client=client)
    lf.collect_schema()
    before, start = memory("VmRSS"), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sink":
            lf.sink_parquet(Path(folder) / "records.parquet")
        else:
            rows = lf.select(SOME) if kind == "some" else lf
            for batch in rows.collect_batches(chunk_size=10_000):
                assert batch.height
    return {"seconds": time.perf_counter() - start, "before": before, "peak": memory("VmHWM")}


def apart(kind: str, at: Server) -> dict[str, float]:
    """Do it in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--one", kind, json.dumps(asdict(at))]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)  # type: ignore[no-any-return]


def main() -> None:
    """Print one line for each figure."""
    if sys.argv[1] == "--one":
        print(json.dumps(measure(sys.argv[2], json.loads(sys.argv[3]))))
        return
    bench, *counts = sys.argv[1:]
    for count in counts or ["100000", "1000000"]:
        with server(Path(bench), int(count), 0) as at:
            sunk = apart("sink", at)
            print(
                f"{int(count):>9,} records to Parquet: {sunk['seconds']:.1f} s, peak "
                f"{sunk['peak'] / 1e6:.0f} MB ({sunk['before'] / 1e6:.0f} MB before)",
                flush=True,
            )
    with server(Path(bench), 40_000, 0) as at:
        ratios = [apart("all", at)["seconds"] / apart("some", at)["seconds"] for _ in range(ROUNDS)]
    print(f"three columns are {sorted(ratios)[ROUNDS // 2]:.2f} times as fast as all", flush=True)


if __name__ == "__main__":
    main()
