"""Coroutines: the same calls, cancelled as Ctrl-C stops them, beside the rest of the loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, assert_type

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district, rows

import polars_edfi as edfi
from polars_edfi import _aio

if TYPE_CHECKING:
    from collections.abc import Coroutine

RESULTS = "ed-fi/studentAssessments"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def client_of(ods: ScriptedOds) -> edfi.StudentAssessment:
    return edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")


def test_every_call_of_a_client_is_there(ods: ScriptedOds) -> None:
    client = client_of(ods)
    calls = [name for name, _ in inspect.getmembers(edfi.EdFiClient, inspect.isfunction)]
    for name in calls:
        if name.startswith("_"):
            continue
        call, awaited = getattr(client, name), getattr(client.aio, name)
        assert inspect.iscoroutinefunction(awaited), name
        assert inspect.signature(awaited) == inspect.signature(call)
        assert awaited.__doc__ == call.__doc__
        assert awaited.__name__ == name


def test_results_and_errors_are_those_of_the_calls(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    async def work() -> pl.DataFrame:
        with pytest.raises(pl.exceptions.ColumnNotFoundError, match="nothing"):
            await runner.aio.batch_get_all(district(ods), key_col="nothing")
        with pytest.raises(edfi.EdFiError, match="unknown option 'limits'"):
            await runner.aio.batch_get_all(district(ods), key_col="District BK", limits=1)  # type: ignore[call-arg]
        return await runner.aio.batch_get_all(district(ods), key_col="District BK")

    records = run(work())
    assert records.equals(runner.batch_get_all(district(ods), key_col="District BK"))


async def _typed(client: edfi.EdFiClient, df: pl.DataFrame) -> None:
    """Read by mypy: results and arguments have the types of the calls."""
    assert_type(await client.aio.count("ed-fi/schools", params={"schoolId": 1}), int)
    assert_type(await client.aio.batch_get_all(df, key_col="k", limit=5), pl.DataFrame)
    await client.aio.batch_get_all(df, key_col="k", limit="5")  # type: ignore[arg-type]
    await client.aio.batch_get_all(df)  # type: ignore[call-arg]


def test_many_at_once(ods: ScriptedOds) -> None:
    client = client_of(ods)

    async def work() -> list[Any]:
        return await asyncio.gather(
            *(client.aio.get_by_id(f"{n:032x}") for n in range(100)), client.aio.get_all(key=7)
        )

    *items, everything = run(work())
    assert [item["http_status"] for item in items] == [404] * 100
    assert everything["data"].height == 3


def test_the_loop_does_not_wait_until_threads_run(
    ods: ScriptedOds, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, starters = client_of(ods), []
    start, pool = threading.Thread.start, ThreadPoolExecutor(64)

    def noted(thread: threading.Thread) -> None:
        starters.append(threading.current_thread())
        start(thread)

    # No thread of a call before is idle.
    monkeypatch.setattr(_aio, "_threads", lambda _: pool)
    monkeypatch.setattr(threading.Thread, "start", noted)

    async def work() -> list[Any]:
        return await asyncio.gather(*(client.aio.get_by_id(f"{n:032x}") for n in range(20)))

    with pool:
        assert [item["http_status"] for item in run(work())] == [404] * 20
    # But for the one that starts the others.
    assert starters.count(threading.main_thread()) <= 1 < len(starters)


class Gate:
    """A server that answers some writes when it is told to, and tells when they are there."""

    def __init__(self, ods: ScriptedOds, after: int) -> None:
        self.arrived, self.release = threading.Event(), threading.Event()
        self._lock, self._left = threading.Lock(), after
        ods.script, ods.one_at_a_time = self._script, False

    def _script(self, _: Request) -> Answer | None:
        with self._lock:
            self._left -= 1
            waits = self._left < 0
        if waits:
            self.arrived.set()
            self.release.wait(30)
        return None


def test_a_cancelled_batch_finishes_its_writes_and_keeps_its_rows(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    gate = Gate(ods, after=10)
    df = rows(ods, pl.Series("payload", [f'{{"n": {n}}}' for n in range(50)]))

    async def work() -> None:
        post = runner.aio.batch_post_payload(
            df, payload_col="payload", key_col="key", commit=True, workers=4
        )
        task = asyncio.create_task(post)
        await asyncio.to_thread(gate.arrived.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        gate.release.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())
    result = runner.rows
    assert result is not None
    assert result.height == 50
    posted = sum(request.method == "POST" for request in ods.requests)
    assert result["status"].null_count() == posted <= 16
    assert set(result["message"].drop_nulls()) == {"not sent: interrupted"}


def test_a_second_cancellation_does_not_wait(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    gate = Gate(ods, after=0)
    df = rows(ods, pl.Series("payload", ["{}"]))

    async def work() -> float:
        post = runner.aio.batch_post_payload(df, payload_col="payload", key_col="key", commit=True)
        task = asyncio.create_task(post)
        await asyncio.to_thread(gate.arrived.wait, 30)
        begin = time.monotonic()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begin

    try:
        assert run(work()) < 5
    finally:
        gate.release.set()
    assert runner.rows is not None
    assert runner.rows["message"].to_list() == ["interrupted; it may have been applied"]


def test_a_read_that_is_cancelled_ends_at_once(ods: ScriptedOds) -> None:
    gate = Gate(ods, after=0)
    client = client_of(ods)

    async def work() -> float:
        task = asyncio.create_task(client.aio.get_by_id("a"))
        await asyncio.to_thread(gate.arrived.wait, 30)
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.01)
        return time.monotonic() - begin

    try:
        assert run(work()) < 5
    finally:
        gate.release.set()


def test_what_is_cancelled_before_it_begins_sends_nothing(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    async def work() -> None:
        task = asyncio.create_task(
            runner.aio.batch_get_all(district(ods), key_col="District BK"), name="read"
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())
    assert ods.requests == []


def test_the_loop_goes_on_while_records_are_read() -> None:
    late: list[float] = []

    async def tick(done: asyncio.Event) -> None:
        while not done.is_set():
            begin = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - begin - 0.005)

    async def work(ods: edfi.Sandbox) -> int:
        url, key, secret = ods.districts().row(0)[1:]
        client = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        done = asyncio.Event()
        ticker = asyncio.create_task(tick(done))
        records = await client.aio.get_all(key=1, schema="infer")
        done.set()
        await ticker
        data = records["data"]
        assert data is not None
        return data.height

    with edfi.Sandbox(districts=["255901"], records=40_000) as ods:
        assert run(work(ods)) == 40_000
    late.sort()
    assert len(late) > 20
    # 20 ms are meant; single ticks of a busy machine may be anything.
    assert late[len(late) * 95 // 100] < 0.1, late[-10:]


def test_a_call_that_waits_for_a_thread_is_cancelled_at_once(
    ods: ScriptedOds, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, let_go = threading.Event(), threading.Event()

    def held(_: Request) -> None:
        asked.set()
        let_go.wait(30)

    ods.script = held
    monkeypatch.setattr(_aio, "THREADS", 1)
    _aio._threads.cache_clear()
    client = client_of(ods)

    async def work() -> None:
        first = asyncio.create_task(client.aio.get_by_id("a"))
        await asyncio.to_thread(asked.wait, 30)
        second = asyncio.create_task(client.aio.get_by_id("b"))
        await asyncio.sleep(0)
        second.cancel()
        done, _ = await asyncio.wait([second], timeout=20)
        let_go.set()
        assert done == {second}
        assert second.cancelled()
        assert (await first)["http_status"] == 404

    run(work())
    _aio._threads.cache_clear()
    assert [request.path.rpartition("/")[2] for request in ods.paths()] == ["a"]


def test_nothing_is_sent_under_another_kind_of_event_loop(ods: ScriptedOds) -> None:
    runner = edfi.Resource("ed-fi/x", base_url=ods.url, api_version="v3", bearer_token="token")
    call = runner.aio.post_payload("{}", commit=True)
    with pytest.raises(RuntimeError, match="no running event loop"):
        call.send(None)
    assert ods.requests == []
