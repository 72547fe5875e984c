"""Ctrl-C and forks at random moments: what was posted is told, and no child hangs."""

from __future__ import annotations

import collections
import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING

import polars as pl
import pytest

import polars_edfi as edfi

if TYPE_CHECKING:
    from conftest import Answer, Request, ScriptedOds

SEEDS = range(200 if os.environ.get("SOAK") else 6)
ROWS = 120


def slow(ods: ScriptedOds) -> collections.Counter[str]:
    """Has each answer take some milliseconds; counts what is posted."""
    posted: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def script(request: Request) -> Answer | None:
        time.sleep(0.003)
        if request.method == "POST":
            with lock:
                posted[request.body.decode()] += 1
        return None

    ods.script, ods.one_at_a_time = script, False
    return posted


def owning(ods: ScriptedOds) -> edfi.EdFiClient:
    return edfi.Resource("ed-fi/x", base_url=ods.url, api_version="v3", bearer_token="token")


@pytest.mark.parametrize("seed", SEEDS)
def test_interrupts_lose_no_row(ods: ScriptedOds, seed: int) -> None:
    chance = random.Random(seed)
    posted, runner = slow(ods), owning(ods)
    payloads = [f'{{"n": {n}}}' for n in range(ROWS)]
    df = pl.DataFrame({"key": range(ROWS), "payload": payloads})
    timers = [
        threading.Timer(chance.random() * 0.15, os.kill, (os.getpid(), signal.SIGINT))
        for _ in range(chance.randint(1, 2))
    ]
    running = threading.Event()

    def handler(*_: object) -> None:
        if running.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    running.set()
    try:
        for timer in timers:
            timer.start()
        try:
            runner.batch_post_payload(
                df, payload_col="payload", key_col="key", commit=True, workers=chance.randint(1, 8)
            )
        finally:
            running.clear()
    except KeyboardInterrupt:
        running.clear()
    for timer in timers:
        timer.join()
    signal.signal(signal.SIGINT, before)
    rows = runner.rows
    if rows is None:
        # It came before the call had begun.
        assert not posted
        return
    assert rows["row_index"].to_list() == list(range(ROWS))
    for row, payload in zip(rows.iter_rows(named=True), payloads, strict=True):
        told = str(row["message"])
        assert posted[payload] <= 1
        if row["status"] is None:
            assert posted[payload] == 1
        elif "may have been applied" not in told:
            assert (posted[payload], row["attempts"]) == (0, 0), row


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fork_at_any_moment_can_read(ods: ScriptedOds, seed: int) -> None:
    chance = random.Random(seed)
    slow(ods)
    runner = owning(ods)
    ids = pl.DataFrame({"id": [str(n) for n in range(ROWS)]})
    calls = [
        threading.Thread(target=runner.batch_get_by_id, args=(ids,), kwargs={"id_col": "id"})
        for _ in range(2)
    ]
    for call in calls:
        call.start()
    time.sleep(chance.random() * 0.1)
    child = os.fork()
    if child == 0:
        # Whatever happens, the child must not go on with the tests.
        signal.alarm(30)
        is_told = runner.get_by_id("a")["http_status"] == 404
        os._exit(0 if is_told else 1)
    _, status = os.waitpid(child, 0)
    for call in calls:
        call.join()
    assert os.waitstatus_to_exitcode(status) == 0
