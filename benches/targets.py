"""What was to be reached, in words beside what was: nothing here fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix import BY_ID, COROUTINES, JOBS, LIMIT, OURS, POSTS, RUNNER, Cell, Job
from report import Results, above, ideal, limit, median, rate, times

if TYPE_CHECKING:
    from compete import Outcomes


def targets(all_results: dict[str, Results]) -> list[str]:
    """Say what was to be reached beside what was."""
    lines = []
    for job, results in ((job, all_results[job.title]) for job in JOBS):
        for cell, outcomes in results.items():
            where = f"{job.title}, {cell.latency} ms, {cell.workers} in flight"
            lines += [f"{where}: {text}" for text in reached(job, cell, outcomes)]
    return lines


def reached(job: Job, cell: Cell, outcomes: Outcomes) -> list[str]:
    """Compare one cell with its targets, if it has any."""
    if not cell.main:
        return []
    ours = outcomes[OURS]
    if job.name == "get_all":
        tenth = median(ours, "peak") / median(outcomes[RUNNER], "peak")
        return [
            f"at least 25 x the runner: {times(outcomes, RUNNER):.1f} x",
            f"at most 1.35 x the limit: {limit(outcomes):.2f} x",
            f"peak at most 0.1 of the runner's: {tenth:.3f}",
            f"peak at most 150 MB above the start: {above(ours):.0f} MB",
        ]
    if job is POSTS and cell.latency:
        return [f"92 % of the ideal rate: {rate(ours) / (ideal(cell) or 1):.1%}"]
    against = {POSTS: (50, 6), BY_ID: (30, 5)}.get(job)
    if against is None:
        return []
    server = 1 / times(outcomes, LIMIT)
    cpu = median(ours, "cpu") / ours[0]["rows"] * 1e6
    return [
        f"at least {against[0]} x the runner: {times(outcomes, RUNNER):.1f} x",
        f"at least {against[1]} x asyncio: {times(outcomes, COROUTINES):.1f} x",
        *([f"at most 40 us of CPU a request: {cpu:.0f} us"] if job is POSTS else []),
        f"the server far from being the limit: the raw loop reaches {server:.1f} x",
    ]
