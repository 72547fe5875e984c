"""Lets all contestants do the same work in turn, each time in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from common.result import digest
from common.work import Work
from matrix import CONTESTANTS, LIMIT, NATIVE, RECORDS, Cell, Contestant, Job

if TYPE_CHECKING:
    from servers import Server

HERE = Path(__file__).parent
TIME_LIMIT = 300

Outcome = dict[str, Any]
#: The outcomes of one cell, by the name of the contestant.
Outcomes = dict[str, list[Outcome]]


@dataclass(frozen=True)
class Race:
    """What all measurements of a run have in common."""

    program: Path
    servers: dict[int, Server]
    rows: Path
    schema: Path
    #: More or fewer rounds than the matrix says, and how many those have at most that are not fast.
    rounds: int | None = None
    slow_rounds: int = 3

    def compete(
        self, job: Job, cell: Cell, contestants: list[Contestant] = CONTESTANTS
    ) -> Outcomes:
        """Measure everyone who does the job, round after round."""
        fast = self.rounds or cell.rounds
        outcomes: Outcomes = {who.name: [] for who in contestants if job.name in who.jobs}
        for number in range(fast):
            # There and back again, so that nobody always comes after the same one.
            for who in contestants if number % 2 == 0 else reversed(contestants):
                if who.name not in outcomes:
                    continue
                runs = outcomes[who.name]
                often = fast if who.pace == "fast" else min(fast, self.slow_rounds)
                # Evenly among the rounds of the others.
                if len(runs) * fast > number * often or skipped(runs):
                    continue
                runs.append(self.measure(job, cell, who, compare=not runs))
                progress(f"{job.title}, {cell.latency} ms, {cell.workers} in flight: {who.label}")
        digests = {
            name: runs[0]["digest"] for name, runs in outcomes.items() if "digest" in runs[0]
        }
        if len(set(digests.values())) > 1:
            sys.exit(f"error: {job.title}: the results differ: {digests}")
        return outcomes

    def measure(self, job: Job, cell: Cell, who: Contestant, *, compare: bool) -> Outcome:
        """Let one contestant do the work once, and look at what it brought."""
        work = self.work(job, cell, who)
        before = self.servers[cell.latency].posted()
        outcome = self.run(who.name, work, compare=compare)
        posted = self.servers[cell.latency].posted() - before
        if job.name == "post" and posted != work.count and not skipped([outcome]):
            sys.exit(f"error: {who.label} posted {posted} payloads instead of {work.count}")
        return outcome

    def work(self, job: Job, cell: Cell, who: Contestant) -> Work:
        """Describe what a contestant has to do."""
        served = self.servers[cell.latency]
        return Work(
            job=job.name,
            url=served.url,
            token=served.token,
            workers=cell.workers,
            districts=cell.districts,
            parts=cell.parts,
            records=RECORDS,
            limit=cell.limit,
            count=cell.requests(who),
            common=cell.common,
            rows=str(self.rows),
            schema=str(self.schema),
        )

    def run(self, name: str, work: Work, *, compare: bool) -> Outcome:
        """Start a process, and wait for what it says."""
        arguments = vars(work)
        if name not in {NATIVE, LIMIT}:
            command = [sys.executable, HERE / "contestant.py", name, json.dumps(arguments)]
            return started([*command, "--compare"] if compare else command)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "result.jsonl")
            if compare and name == NATIVE:
                arguments = arguments | {"result": str(path)}
            outcome = started([self.program, name, json.dumps(arguments)])
            if path.exists():
                outcome["digest"] = digest(pl.read_ndjson(path, infer_schema_length=None), work)
            return outcome


def started(command: list[Any]) -> Outcome:
    """Run a process that says one line of JSON."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, timeout=TIME_LIMIT
    )
    if done.returncode != 0:
        sys.exit(f"error: {command[1:3]} failed")
    outcome: Outcome = json.loads(done.stdout)
    return outcome


def skipped(runs: list[Outcome]) -> bool:
    """Whether a contestant said that it cannot take part."""
    return bool(runs) and "skipped" in runs[0]


def progress(text: str) -> None:
    """Show what is going on, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r{text:<100}", end="\r", file=sys.stderr)
