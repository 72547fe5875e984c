"""`send` that ends at any moment: nothing is lost, and nothing confirmed is sent twice.

A strict ODS with its own log ends the process at a request, of the documents or of a row, in any
level or round. ``SOAK=1`` tries more moments.
"""

from __future__ import annotations

import json
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request
from send.support import (
    KEYS,
    LEVELS,
    MakeOds,
    frame,
    serve,
    seven_schools,
    strict,
)

import polars_edfi as edfi
from journal.children import end, kill, send, start

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

SEEDS = range(40 if os.environ.get("SOAK") else 4)
WORKERS = 4
Row = tuple[str, int]
NOTHING = pl.DataFrame(schema=["endpoint", "key", "state"])


class Killer:
    """A strict ODS that ends its client at a request, and keeps a log of its own."""

    def __init__(self, make_ods: MakeOds, chance: random.Random) -> None:
        self.chance, self.strict, self.ods = chance, strict(), make_ods()
        self.frames = {name: frame(some) for name, some in seven_schools().items()}
        self.rows: dict[tuple[str, str], Row] = {
            (name, json.dumps(body)): (name, number)
            for name, some in seven_schools().items()
            for number, body in enumerate(some)
        }
        self.received: list[Row] = []
        self.fuse = 0
        self.client: BaseProcess | None = None
        self.lock = threading.Lock()
        serve(self.ods, LEVELS, self.post, keys=KEYS)
        script = self.ods.script
        assert script

        def ending(request: Request) -> Answer | None:
            with self.lock:
                self.fuse -= 1
                client = self.client if self.fuse == 0 else None
                when = chance.choice(["before", "after", "while it is answered"])
            if client is not None and when == "before":
                kill(client)
                return Answer(close=True)
            answer = script(request)
            if client is not None:
                kill(client) if when == "after" else client.kill()
            return answer

        self.ods.script = ending

    def post(self, request: Request) -> Answer:
        endpoint = request.path.removeprefix("/data/v3/")
        row = self.rows[endpoint, json.dumps(json.loads(request.body))]
        with self.lock:
            self.received.append(row)
        return self.strict.post(request)

    def accepted(self, since: int = 0) -> set[Row]:
        """The rows that were accepted."""
        log = self.strict.log[since:]
        found = [(one.endpoint, json.dumps(one.body)) for one in log if one.status < 300]
        return {self.rows[one] for one in found}

    def run(self, fuse: int, result: Path, **options: Any) -> bool:
        """Send everything in a process of its own; whether that came to its end."""
        self.received.clear()
        options = {"workers": WORKERS} | options
        with self.lock:
            process = start(send, self.ods.url, self.frames, result, options)
            self.fuse, self.client = fuse, process
        is_whole = not end(process)
        with self.lock:
            self.client = None
        return is_whole


def rows_of(noted: pl.DataFrame, state: str) -> set[Row]:
    return {
        (name, int(key)) for name, key in noted.filter(state=state).select("endpoint", "key").rows()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_send_is_killed(make_ods: MakeOds, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    killer, journal, result = Killer(make_ods, chance), tmp_path / "run.edfi", tmp_path / "sent"
    confirmed: set[Row] = set()
    doubtful: set[Row] = set()
    kills = chance.randint(1, 3)
    for turn in range(kills):
        answered = len(killer.strict.log)
        insists = chance.random() < 0.5
        fuse = chance.randint(1, (100 - len(confirmed)) // (turn + 1))
        if killer.run(fuse, result, journal=journal, retry_broken=insists):
            break
        noted = edfi.read_journal(journal) if journal.exists() else NOTHING
        states = {state: rows_of(noted, state) for state in ("confirmed", "sent", "failed")}
        # What was confirmed stays so, and is not sent any more; nor is what is in doubt.
        assert confirmed <= states["confirmed"] <= killer.accepted()
        sent = set(killer.received)
        assert not sent & (confirmed if insists else confirmed | doubtful)
        # What reached the server was noted before, and what it accepted is not forgotten.
        assert sent <= set().union(*states.values())
        assert killer.accepted(answered) <= states["confirmed"] | states["sent"]
        assert len(states["sent"] - doubtful) <= WORKERS
        confirmed, doubtful = states["confirmed"], states["sent"]
    else:
        # Without leave, what is in doubt is an error, and so may be what refers to it.
        assert killer.run(0, result, journal=journal)
        assert not set(killer.received) & (confirmed | doubtful)
        errors = pl.read_parquet(result).filter(status="error")
        told = errors.filter(pl.col("message").str.contains("it may have been applied"))
        assert {(name, key) for name, key in told.select("endpoint", "key").rows()} == doubtful
        confirmed = rows_of(edfi.read_journal(journal), "confirmed")
    assert killer.run(0, result, journal=journal, retry_broken=True)
    assert not set(killer.received) & confirmed
    sent = pl.read_parquet(result)
    assert sent["status"].null_count() == sent.height == len(killer.rows)
    assert killer.accepted() == set(killer.rows.values())
    assert edfi.read_journal(journal)["state"].unique().to_list() == ["confirmed"]
    assert killer.run(0, result, journal=journal)
    assert killer.received == []
    assert pl.read_parquet(result)["attempts"].sum() == 0
