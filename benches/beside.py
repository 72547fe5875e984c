"""What is measured beside the races: wrk, ten times the records, what a call costs by itself."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from common.work import RESOURCE
from compete import started
from matrix import CONTESTANTS, DISTRICTS, OURS, POSTS, TENFOLD, Cell, Job
from report import median

if TYPE_CHECKING:
    from compete import Outcome, Race

HERE = Path(__file__).parent
IMPORTS = 7
WRK_SECONDS = 2


def wrk(job: Job, cell: Cell, race: Race) -> str:
    """Let wrk send such requests over as many connections, where it is installed."""
    program = shutil.which("wrk")
    if program is None:
        return "wrk is not installed; the raw loop stands for it."
    row = pl.read_ndjson(race.rows, n_rows=1).row(0, named=True)
    served = race.servers[cell.latency]
    with tempfile.NamedTemporaryFile("w") as payload:
        payload.write(row["payload"])
        payload.flush()
        url = f"{served.url}/1of1/{RESOURCE}"
        posts = job.name == "post"
        flags = ["-t2", f"-c{cell.workers}", f"-d{WRK_SECONDS}s", "-s", HERE / "wrk.lua"]
        target = [url if posts else f"{url}/{row['id']}", "--", served.token]
        command = [program, *map(str, flags), *target, *([payload.name] if posts else [])]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    if "Non-2xx" in said:
        sys.exit(f"error: wrk was refused:\n{said}")
    found = next(line for line in said.splitlines() if line.startswith("Requests/sec"))
    return f"wrk, {cell.workers} connections: {float(found.split()[-1]):,.0f} requests/s."


def tenfold(race: Race) -> float:
    """How many times as long ten times the records take."""
    ours = [who for who in CONTESTANTS if who.name == OURS]
    once: list[Outcome] = []
    ten: list[Outcome] = []
    for _ in range(3):
        for cell, runs in ((DISTRICTS.cells[0], once), (TENFOLD, ten)):
            runs.append(race.measure(DISTRICTS, cell, ours[0], compare=False))
    return median(ten, "seconds") / median(once, "seconds")


def overheads(race: Race) -> list[str]:
    """Measure a batch of one row, an import, and the wheel."""
    work = race.work(POSTS, Cell(0, 1, count=1), CONTESTANTS[0])
    script = [sys.executable, HERE / "overhead.py"]
    row = started([*script, json.dumps(vars(work))])
    imports = [started([*script, "import"]) for _ in range(IMPORTS)]
    ours, theirs = (
        statistics.median(run[name] for run in imports) for name in ("polars_edfi", "polars")
    )
    wheels = sorted((HERE.parent / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    size = f"{wheels[-1].stat().st_size / 1e6:.1f} MB" if wheels else "none in dist/ (make wheel)"
    above = row["batch"] - row["request"]
    return [
        (
            "a batch of one row under 1 ms above the request itself: "
            f"{above:.2f} ms ({row['batch']:.2f} - {row['request']:.2f})"
        ),
        (
            "`import polars_edfi` under 80 ms above `import polars`: "
            f"{ours:.0f} ms (Polars itself: {theirs:.0f} ms)"
        ),
        f"wheel at most 12 MB: {size}",
    ]
