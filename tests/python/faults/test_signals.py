"""Ctrl-C and forks at random moments: what was posted is told, and no child hangs."""

from __future__ import annotations

import asyncio
import collections
import os
import random
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import polars_edfi as edfi
from faults.operations import client, told_of_writes
from faults.server import IDS, RECORDS, THINGS, Exchange, FaultyOds, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Answer, Request, ScriptedOds

SEEDS = range(200 if os.environ.get("SOAK") else 6)
SEEDS_OF_CALLS = range(40 if os.environ.get("SOAK") else 1)
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


@contextmanager
def interrupted(chance: random.Random, within: float) -> Iterator[None]:
    """Send one interrupt or two within so many seconds, which reach Python only in here."""
    timers = [
        threading.Timer(chance.random() * within, os.kill, (os.getpid(), signal.SIGINT))
        for _ in range(chance.randint(1, 2))
    ]
    running = threading.Event()

    def handler(*_: object) -> None:
        if running.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    for timer in timers:
        timer.start()
    try:
        running.set()
        try:
            yield
        finally:
            running.clear()
    except KeyboardInterrupt:
        running.clear()
    for timer in timers:
        timer.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("seed", SEEDS)
def test_interrupts_lose_no_row(ods: ScriptedOds, seed: int) -> None:
    chance = random.Random(seed)
    posted, runner = slow(ods), owning(ods)
    payloads = [f'{{"n": {n}}}' for n in range(ROWS)]
    df = pl.DataFrame({"key": range(ROWS), "payload": payloads})
    with interrupted(chance, 0.15):
        runner.batch_post_payload(
            df, payload_col="payload", key_col="key", commit=True, workers=chance.randint(1, 8)
        )
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


MANY = 60
TEXTS = [f'{{"n": {n}}}' for n in range(MANY)]
WRITTEN = pl.DataFrame(
    {"key": range(MANY), "payload": TEXTS, "id": [f"{n:032x}" for n in range(MANY)]}
)
#: What is written: the call, and what tells its items apart on the server.
WRITES: dict[str, tuple[Callable[[edfi.EdFiClient, Any], object], list[str]]] = {
    "put": (
        lambda it, with_: it.batch_put_payload(
            WRITTEN, payload_col="payload", id_col="id", key_col="key", commit=True, **with_
        ),
        TEXTS,
    ),
    "delete": (
        lambda it, with_: it.batch_delete_by_id(
            WRITTEN, id_col="id", key_col="key", commit=True, **with_
        ),
        WRITTEN["id"].to_list(),
    ),
    "remove": (
        lambda it, with_: it.remove({THINGS: WRITTEN}, key_col="key", commit=True, **with_),
        WRITTEN["id"].to_list(),
    ),
    "send": (
        lambda it, with_: it.send({THINGS: WRITTEN}, key_col="key", commit=True, **with_),
        TEXTS,
    ),
    "sink": (
        lambda it, with_: WRITTEN.lazy().edfi.sink_post_payload(
            client=it, payload_col="payload", key_col="key", commit=True, **with_
        ),
        TEXTS,
    ),
    "aio": (
        lambda it, with_: asyncio.run(
            it.aio.batch_post_payload(
                WRITTEN, payload_col="payload", key_col="key", commit=True, **with_
            )
        ),
        TEXTS,
    ),
}
FOUND = pl.DataFrame({"id": IDS, "n": range(RECORDS), "payload": TEXTS[:RECORDS], "bk": IDS})
#: What only reads, and how many rows come of it.
READS: dict[str, tuple[Callable[[edfi.EdFiClient, Any], Any], int]] = {
    "get": (lambda it, with_: it.batch_get_by_id(FOUND, id_col="id", **with_), RECORDS),
    "find": (
        lambda it, with_: it.batch_find_ids(FOUND, key_cols=["n"], how="lookup", **with_),
        RECORDS,
    ),
    "validate": (lambda it, with_: it.validate(FOUND, endpoint=THINGS, **with_), 0),
    "compare": (lambda it, with_: it.compare(FOUND, endpoint=THINGS, **with_), RECORDS),
    "permissions": (lambda it, with_: it.batch_permissions(FOUND, key_col="bk", **with_), RECORDS),
    "read": (
        lambda it, with_: it.batch_get_all(FOUND.head(1), key_col="bk", limit=3, **with_),
        RECORDS,
    ),
    "windows": (
        lambda it, with_: it.get_all(key=1, limit=3, paging="windows", **with_)["data"],
        RECORDS,
    ),
    "scan": (
        lambda it, with_: edfi.scan(THINGS, client=it, limit=3, **with_).collect(),
        RECORDS,
    ),
}


def lingers(exchange: Exchange) -> None:
    time.sleep(0.003)
    exchange.answer()


@contextmanager
def lingering() -> Iterator[FaultyOds]:
    with serving(FaultyOds(lingers, lambda _: True, 8)) as ods:
        yield ods


@pytest.mark.parametrize("seed", SEEDS_OF_CALLS)
@pytest.mark.parametrize("name", WRITES)
def test_interrupts_of_writes_lose_no_row(name: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(f"{name} {seed}")
    call, items = WRITES[name]
    options: dict[str, Any] = {"workers": chance.randint(1, 8)}
    journal = tmp_path / "run.edfi"
    if chance.random() < 0.5:
        options["journal"] = journal
    with lingering() as ods:
        runner = client(ods, timeout=10)
        with interrupted(chance, 0.2):
            call(runner, options)
        # A second interrupt ends the event loop while the call of a coroutine still ends.
        deadline = time.monotonic() + 20
        while runner.rows is None and ods.applied and time.monotonic() < deadline:
            time.sleep(0.01)
        rows = runner.rows
        # The first batch of a sink has no rows, before the query begins.
        if rows is None or rows.is_empty():
            assert not ods.applied
            rows = None
        else:
            told_of_writes(rows, ods, items)
        if "journal" not in options:
            return
        sent = ods.applied.copy()
        call(runner, options)
        assert runner.rows is not None
        for n, (row, item) in enumerate(zip(runner.rows.iter_rows(named=True), items, strict=True)):
            again = ods.applied[item.encode()] - sent[item.encode()]
            before = None if rows is None else rows.row(n, named=True)
            if before is not None and before["status"] in (None, "deleted"):
                assert (row["status"], again) == (before["status"], 0), (before, row)
            elif row["status"] == "error":
                assert "may have been applied" in row["message"], (before, row)
                assert again == 0


@pytest.mark.parametrize("seed", SEEDS_OF_CALLS)
@pytest.mark.parametrize("name", READS)
def test_interrupts_of_reads_end_them(name: str, seed: int) -> None:
    chance = random.Random(f"{name} {seed}")
    call, height = READS[name]
    options: dict[str, Any] = {"workers": chance.randint(1, 8)}
    with lingering() as ods:
        runner = client(ods, timeout=10)
        with interrupted(chance, 0.1), suppress(pl.exceptions.ComputeError):
            call(runner, options)
        assert call(runner, options).height == height


# What is raised in a callback of Python's own, such as that of a weak reference, reaches nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", SEEDS_OF_CALLS)
def test_interrupted_copies_are_whole_or_not_there(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    file = tmp_path / THINGS / "data.parquet"
    with lingering() as ods:
        runner = client(ods, timeout=10)

        def run() -> pl.DataFrame:
            return edfi.sync(runner, [THINGS], into=tmp_path, limit=3, workers=3)

        for _ in range(3):
            with interrupted(chance, 0.15):
                run()
            if file.exists():
                assert sorted(pl.read_parquet(file)["id"]) == IDS
        last = run()
        assert last["status"].to_list() == [None], last.to_dicts()
        assert sorted(pl.read_parquet(file)["id"]) == IDS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("seed", SEEDS_OF_CALLS)
def test_a_fork_while_others_write_can_do_every_call(seed: int) -> None:
    chance = random.Random(seed)
    # Queries are Polars' own, whose threads a child does not have.
    name = chance.choice([name for name in (*READS, *WRITES) if name not in ("scan", "sink")])
    with lingering() as ods:
        runner = client(ods, timeout=10)
        posting = threading.Thread(target=WRITES["send"][0], args=(runner, {"workers": 3}))
        posting.start()
        time.sleep(chance.random() * 0.1)
        child = os.fork()
        if child == 0:
            # Whatever happens, the child must not go on with the tests.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            try:
                if name in READS:
                    call, height = READS[name]
                    os._exit(0 if call(runner, {}).height == height else 1)
                WRITES[name][0](runner, {})
                rows = runner.rows
                os._exit(0 if rows is not None and "error" not in rows["status"].to_list() else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        posting.join()
        assert os.waitstatus_to_exitcode(status) == 0, name


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
