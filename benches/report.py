"""Markdown of what was measured: a table of ratios per job, details, and the targets."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from compete import Outcome, Outcomes, skipped
from matrix import CONTESTANTS, LIMIT, OURS, Cell, Job

if TYPE_CHECKING:
    from collections.abc import Sequence

MEGA = 1e6
Results = dict[Cell, Outcomes]


def median(runs: list[Outcome], what: str) -> float:
    """Take the middle one of some values, one of each run."""
    return float(statistics.median(run[what] for run in runs))


def rate(runs: list[Outcome]) -> float:
    """Rows a second; those of the limit are requests, or records where it decoded them."""
    return float(runs[0]["rows"] / median(runs, "seconds"))


def times(results: Outcomes, other: str) -> float:
    """How many times another's rate this project's batches reach."""
    return rate(results[OURS]) / rate(results[other])


def above(runs: list[Outcome]) -> float:
    """The peak above what the process had before the call, in MB."""
    # What a process gives back meanwhile can make this negative.
    return max(0.0, statistics.median(run["peak"] - run["before"] for run in runs) / MEGA)


def ideal(cell: Cell) -> float | None:
    """Requests a second that the latency allows."""
    return cell.workers / cell.latency * 1e3 if cell.latency else None


def ratios(job: Job, results: Results) -> str:
    """Put rates side by side, each with how many times that this project's batches reach."""
    header = [job.unit, *(f"{cell.latency} ms, {cell.workers}" for cell in results)]
    rows, notes = [header], []
    for who in CONTESTANTS:
        runs = [outcomes.get(who.name, []) for outcomes in results.values()]
        if not any(runs):
            continue
        if skipped(runs[0]):
            notes.append(f"Skipped: {who.label}: {runs[0][0]['skipped']}.")
            continue
        cells = [
            f"{rate(outcomes[who.name]):,.0f} ({factor(times(outcomes, who.name))})"
            for outcomes in results.values()
        ]
        rows.append([who.label, *cells])
    if job.name != "get_all" and any(ideal(cell) for cell in results):
        cells = [
            f"{most:,.0f} ({rate(outcomes[OURS]) / most:.0%})" if (most := ideal(cell)) else ""
            for cell, outcomes in results.items()
        ]
        rows.append(["ideal: in flight / latency", *cells])
    return "\n\n".join([table(rows), *notes])


def factor(ratio: float) -> str:
    """Write a ratio with as many digits as it deserves."""
    return f"{ratio:.1f} x" if ratio >= 1 else f"{ratio:.2f} x"


def details(job: Job, cell: Cell, outcomes: Outcomes) -> str:
    """Say what the main work took: seconds, CPU, memory."""
    per_request = job.name != "get_all"
    cpu = "CPU us a request" if per_request else "CPU s"
    rows = [["", "rows", "runs", "seconds", "from - to", cpu, "peak MB", "above start"]]
    for who in CONTESTANTS:
        runs = outcomes.get(who.name)
        if not runs or skipped(runs):
            continue
        seconds = [run["seconds"] for run in runs]
        used = ""
        if runs[0]["cpu"] is not None:
            used = f"{median(runs, 'cpu'):.2f}"
            if per_request:
                used = f"{median(runs, 'cpu') / runs[0]['rows'] * 1e6:,.0f}"
        rows.append(
            [
                who.label,
                f"{runs[0]['rows']:,}",
                str(len(runs)),
                f"{statistics.median(seconds):.3f}",
                f"{min(seconds):.3f} - {max(seconds):.3f}",
                used,
                f"{median(runs, 'peak') / MEGA:,.0f}",
                f"{above(runs):,.0f}",
            ]
        )
    return f"{cell.latency} ms, {cell.workers} in flight:\n\n{table(rows)}"


def limit(outcomes: Outcomes) -> float:
    """How many times the limit: the same bytes downloaded and dropped, then decoded from memory."""
    runs = outcomes[LIMIT]
    least = median(runs, "seconds") + median(runs, "decode_seconds")
    return median(outcomes[OURS], "seconds") / least


def table(rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table whose first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        padded = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        return " | ".join([f"| {first:<{widths[0]}}", *padded]) + " |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(rows[0]), f"|{rule}|", *map(line, rows[1:])])
