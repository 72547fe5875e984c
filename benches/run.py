"""Does the same work in several ways, side by side, and prints how they compare, as Markdown.

Ends with an error if one way brings another result than the others, and only then: what a machine
reaches in a minute is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import tomllib
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from beside import overheads, tenfold, wrk
from compete import Race
from matrix import BY_ID, JOBS, POSTS, RECORDS, ROWS
from report import Results, details, ratios
from servers import server, write_rows
from targets import targets

HERE = Path(__file__).parent
LATENCIES = [0, 20]
PACKAGES = ["polars", "tha-edfi-runner", "edfi-api-client", "aiohttp", "orjson"]


def machine() -> str:
    """Name what was measured, and on what."""
    own = tomllib.loads((HERE.parent / "Cargo.toml").read_text())["package"]["version"]
    versions = [
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in PACKAGES),
        f"polars-edfi {own}",
    ]
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}{load}; "
        f"{', '.join(versions)}."
    )


def main() -> None:
    """Run everything, print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="the example `bench`, as cargo built it")
    parser.add_argument("--quick", action="store_true", help="the main conditions only, few rounds")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--jobs", help="only jobs with this in their title")
    parser.add_argument("--json", type=Path, help="where every single measurement goes")
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    start = time.monotonic()
    print(machine(), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {
            latency: stack.enter_context(server(arguments.program, RECORDS, latency))
            for latency in LATENCIES
        }
        rows, schema, size = write_rows(servers[0], ROWS, folder)
        rounds, slow = (3, 1) if arguments.quick else (None, 3)
        race = Race(arguments.program, servers, rows, schema, arguments.rounds or rounds, slow)
        print(f"{RECORDS:,} records, {servers[0].bytes / 1e6:.0f} MB; payloads of {size:,} bytes.")
        all_results: dict[str, Results] = {job.title: {} for job in JOBS}
        for job in JOBS:
            if arguments.jobs and arguments.jobs not in job.title:
                continue
            chosen = job.quick() if arguments.quick else job
            results = all_results[job.title]
            for cell in chosen.cells:
                results[cell] = race.compete(job, cell)
            print(f"\n### {job.title}\n\n{ratios(job, results)}")
            for cell in chosen.cells:
                if cell.main:
                    print(f"\n{details(job, cell, results[cell])}")
                    if job in (POSTS, BY_ID):
                        print(f"\n{wrk(job, cell, race)}", flush=True)
        lines = targets(all_results)
        if not arguments.jobs:
            ratio = f"10 x the records within 11 x the time: {tenfold(race):.1f} x"
            lines += [ratio, *overheads(race)]
        print("\n### Targets\n\n" + "\n".join(f"- {line}" for line in lines))
    print(f"\nThe run took {(time.monotonic() - start) / 60:.0f} minutes.")
    if arguments.json:
        plain = {
            title: [{"cell": vars(cell), "outcomes": outcomes} for cell, outcomes in cells.items()]
            for title, cells in all_results.items()
        }
        arguments.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
