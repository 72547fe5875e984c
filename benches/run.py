"""Reads the same records in several ways, side by side, and prints how they compare.

Each way is measured in a fresh process, in turn, for several rounds; the table shows medians.
Ends with an error if a way brings other records than the others, and only then: what a machine
reaches in a minute is no test.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDS = 40_000
PAGE_SIZE = 500
WORKERS = 8
#: The contestants, in the order of a round; the runner is what the others are compared with.
OURS, RUNNER, LIMIT = "polars-edfi", "row dicts", "limit"
NAMES = {
    OURS: "polars-edfi",
    RUNNER: "tha-edfi-runner + pl.json_normalize",
    LIMIT: f"download and drop, {WORKERS} connections",
}
MEGA = 1e6
COLUMNS = ["seconds", "from - to", "CPU s", "rows/s", "speed", "peak MB", "above start", "memory"]

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """A running server, and what is needed to ask it."""

    url: str
    bytes: int
    token: str


@contextmanager
def server(program: Path) -> Iterator[Server]:
    """Start the server in a process of its own; it ends when its input does."""
    command = [program, "serve", str(RECORDS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        started = json.loads(process.stdout.readline())
        try:
            yield Server(**started)
        finally:
            process.stdin.close()


def measure(name: str, program: Path, served: Server, districts: int) -> Outcome:
    """Let one contestant do the work once, in a fresh process."""
    if name == LIMIT:
        work = [served.url, RECORDS, districts, PAGE_SIZE, WORKERS]
        command = [program, "limit", *map(str, work)]
    else:
        work = {
            "url": served.url,
            "token": served.token,
            "districts": districts,
            "workers": WORKERS,
        }
        command = [sys.executable, HERE / "contestant.py", name, json.dumps(work)]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"error: {NAMES[name]} failed")
    return json.loads(done.stdout)


def compete(program: Path, served: Server, districts: int, rounds: int) -> dict[str, list[Outcome]]:
    """Let all contestants do the work in turn, round after round."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in NAMES}
    for number in range(rounds):
        for name, runs in outcomes.items():
            runs.append(measure(name, program, served, districts))
            progress(f"round {number + 1} of {rounds}: {name} {runs[-1]['seconds']:.2f} s")
        check(outcomes)
    progress("")
    return outcomes


def progress(text: str) -> None:
    """Show what is going on, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r{text:<72}", end="\r", file=sys.stderr)


def check(outcomes: dict[str, list[Outcome]]) -> None:
    """End with an error unless everyone brought the same records, with the same values."""
    for name, runs in outcomes.items():
        if (rows := runs[-1]["rows"]) != RECORDS:
            sys.exit(f"error: {NAMES[name]}: {rows} rows instead of {RECORDS}")
    for what in ("ids", "columns", "values"):
        brought = {name: {run[what] for run in outcomes[name]} for name in (OURS, RUNNER)}
        if len(set.union(*brought.values())) > 1:
            sys.exit(f"error: the {what} differ: {brought}")


def median(runs: list[Outcome], what: str) -> float:
    """Take the middle one of some values, one of each run."""
    return statistics.median(run[what] for run in runs)


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """Put the medians side by side, with ratios to the row dicts."""
    seconds = {name: median(runs, "seconds") for name, runs in outcomes.items()}
    memory = {name: median(runs, "peak") for name, runs in outcomes.items()}
    lines = [("", *COLUMNS)]
    for name, runs in outcomes.items():
        times = [run["seconds"] for run in runs]
        above = statistics.median(run["peak"] - run["before"] for run in runs)
        lines.append(
            (
                NAMES[name],
                f"{seconds[name]:.3f}",
                f"{min(times):.3f} - {max(times):.3f}",
                f"{median(runs, 'cpu'):.2f}" if "cpu" in runs[0] else "",
                f"{RECORDS / seconds[name]:,.0f}",
                f"{seconds[RUNNER] / seconds[name]:.1f} x",
                f"{memory[name] / MEGA:,.0f}",
                f"{above / MEGA:,.0f}",
                f"{memory[name] / memory[RUNNER]:.3f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"{first:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        for first, *rest in lines
    )


def limit(outcomes: dict[str, list[Outcome]]) -> str:
    """Compare with the same bytes downloaded, and decoded from memory."""
    runs = outcomes[LIMIT]
    download, decode = median(runs, "seconds"), median(runs, "decode_seconds")
    ratio = median(outcomes[OURS], "seconds") / (download + decode)
    return (
        f"limit: {download:.3f} s to download and drop + {decode:.3f} s to decode from memory with "
        f"arrow-json on all cores,\nthe types known; polars-edfi takes {ratio:.2f} times that"
    )


def machine() -> str:
    """Name what was measured, and on what."""
    own = tomllib.loads((HERE.parent / "Cargo.toml").read_text())["package"]["version"]
    versions = [
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("polars", "tha-edfi-runner")),
        f"polars-edfi {own}",
    ]
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {', '.join(versions)}"
    )


def main() -> None:
    """Run everything, print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="the example `bench`, as cargo built it")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument(
        "--districts", type=int, nargs="+", default=[8, 1], help="ODSs that share the records"
    )
    arguments = parser.parse_args()
    print(machine())
    with server(arguments.program) as served:
        print(
            f"{RECORDS:,} studentAssessments, {served.bytes / MEGA:.0f} MB of JSON in "
            f"{RECORDS // PAGE_SIZE} pages, {WORKERS} workers; medians of {arguments.rounds} runs"
        )
        for districts in arguments.districts:
            outcomes = compete(arguments.program, served, districts, arguments.rounds)
            print(f"\nget_all, {districts} {'districts' if districts > 1 else 'district'}")
            print(table(outcomes))
            print(limit(outcomes))


if __name__ == "__main__":
    main()
