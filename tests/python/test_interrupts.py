"""What Python raises while a call runs: it ends soon, and every row is accounted for."""

from __future__ import annotations

import io
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district, rows

import polars_edfi as edfi
from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._scan import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

RESULTS = "ed-fi/studentAssessments"
SOON = 1.0
"""Half a second is promised; a busy machine may take its time."""


class Silence:
    """A server that answers some requests, and then none until the end of the test."""

    def __init__(self, ods: ScriptedOds, after: Callable[[Request], bool]) -> None:
        self.interrupted_at = 0.0
        self.release = threading.Event()
        self.silent = 0
        """How many requests have no answer."""
        self._after = after
        self._lock = threading.Lock()
        ods.one_at_a_time = False
        ods.serves_metadata = True
        ods.script = self._script

    def _script(self, request: Request) -> Answer | None:
        if not self._after(request):
            return None
        with self._lock:
            self.silent += 1
            self.on_silence(self.silent)
        self.release.wait(30)
        return Answer(503)

    def on_silence(self, silent: int) -> None:
        if silent == 1:
            self.interrupt()

    def interrupt(self) -> None:
        self.interrupted_at = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def silence(
    ods: ScriptedOds, after: Callable[[Request], bool] = lambda _: True
) -> Iterator[Silence]:
    server = Silence(ods, after)
    try:
        yield server
    finally:
        server.release.set()


def client_of(ods: ScriptedOds, **settings: Any) -> edfi.StudentAssessment:
    return edfi.StudentAssessment(
        **{"base_url": ods.url, "bearer_token": "token", "api_version": "v3"} | settings
    )


def accounts(ods: ScriptedOds) -> pl.DataFrame:
    names = ["a", "b"]
    return pl.DataFrame({"k": names, "targetUrl": ods.url, "oAuthKey": names, "oAuthSecret": "s"})


SINGLE: dict[str, Callable[[ScriptedOds], object]] = {
    "get_all": lambda ods: client_of(ods).get_all(key=1),
    "get_by_id": lambda ods: client_of(ods).get_by_id("a"),
    "count": lambda ods: client_of(ods).count(RESULTS),
    "deletes": lambda ods: client_of(ods).deletes(RESULTS),
    "key_changes": lambda ods: client_of(ods).key_changes(RESULTS),
    "changes": lambda ods: client_of(ods).changes(RESULTS),
    "versions": lambda ods: client_of(ods).available_change_versions(),
    "resources": lambda ods: client_of(ods).resources(),
    "schema": lambda ods: client_of(ods).schema(RESULTS),
    "discovery": lambda ods: client_of(ods, api_version=None).get_by_id("a"),
    "fetch_token": lambda ods: client_of(
        ods, bearer_token=None, client_id="silent", client_secret="s"
    ).fetch_token(),
    "post_payload, its token": lambda ods: client_of(
        ods, bearer_token=None, client_id="silent too", client_secret="s"
    ).post_payload({}, key=1, commit=True),
}


@pytest.mark.parametrize("call", SINGLE.values(), ids=SINGLE)
def test_a_silent_server_holds_nobody(
    ods: ScriptedOds, call: Callable[[ScriptedOds], object]
) -> None:
    with silence(ods) as server:
        with pytest.raises(KeyboardInterrupt):
            call(ods)
        assert time.monotonic() - server.interrupted_at < SOON


BATCHES: dict[str, Callable[[edfi.StudentAssessment, ScriptedOds], pl.DataFrame]] = {
    "batch_get_all": lambda runner, ods: runner.batch_get_all(
        pl.concat([district(ods, "a"), district(ods, "b")]), key_col="District BK"
    ),
    "batch_get_by_id": lambda runner, ods: runner.batch_get_by_id(
        rows(ods, pl.Series("id", ["a", "b"])), id_col="id"
    ),
    "batch_fetch_tokens": lambda runner, ods: runner.batch_fetch_tokens(
        accounts(ods), oauth_endpoint="oauth/token", account_col="k"
    ),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_silent_server_holds_no_batch(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    batch: Callable[[edfi.StudentAssessment, ScriptedOds], pl.DataFrame],
) -> None:
    with silence(ods) as server:
        with pytest.raises(KeyboardInterrupt):
            batch(runner, ods)
        assert time.monotonic() - server.interrupted_at < SOON
    assert runner.rows is not None
    status = "status" if "status" in runner.rows.columns else "row status"
    assert runner.rows[status].to_list() == ["error", "error"]
    assert runner.rows["message"].str.contains("interrupted").all()


def payloads(ods: ScriptedOds, count: int) -> pl.DataFrame:
    return rows(ods, pl.Series("payload", [f'{{"n":{n}}}' for n in range(count)]))


def post(runner: edfi.StudentAssessment, df: pl.DataFrame, **options: Any) -> pl.DataFrame:
    return runner.batch_post_payload(
        df, payload_col="payload", key_col="key", commit=True, **options
    )


def applied(ods: ScriptedOds) -> list[int]:
    return sorted(json.loads(body)["n"] for body in ods.items.values())


def test_a_second_ctrl_c_waits_for_no_write(
    ods: ScriptedOds, runner: edfi.StudentAssessment, caplog: pytest.LogCaptureFixture
) -> None:
    first = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: object) -> None:
        first.set()
        signal.default_int_handler(number, frame)  # type: ignore[arg-type]

    with silence(ods, lambda request: json.loads(request.body)["n"] >= 5) as server:

        def on_silence(silent: int) -> None:
            if silent == 2:
                server.interrupt()
                assert first.wait(30)
                threading.Timer(0.3, server.interrupt).start()

        server.on_silence = on_silence  # type: ignore[method-assign]
        signal.signal(signal.SIGINT, handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                post(runner, payloads(ods, 20), workers=2)
        finally:
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - server.interrupted_at < SOON
    out = runner.rows
    assert out is not None
    assert out.height == 20
    by_message = dict(out.group_by("message").len().rows())
    assert by_message == {
        None: 5,
        "interrupted; it may have been applied": 2,
        "not sent: interrupted": 13,
    }
    assert out.filter(pl.col("status").is_null())["key"].to_list() == applied(ods)
    assert out["attempts"].to_list() == [1] * 7 + [0] * 13
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "2 requests that write" in warned[0]


class TimeIsUpError(Exception):
    """What a scheduler's handler raises."""


def test_what_a_handler_raises_comes_after_the_rows(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    def alarm(*_: object) -> None:
        raise TimeIsUpError

    def script(request: Request) -> None:
        if json.loads(request.body)["n"] == 40:
            os.kill(os.getpid(), signal.SIGALRM)

    ods.script = script
    before = signal.signal(signal.SIGALRM, alarm)
    try:
        with pytest.raises(TimeIsUpError):
            post(runner, payloads(ods, 3_000))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert runner.rows is not None
    assert runner.rows.height == 3_000
    assert runner.rows.filter(pl.col("status").is_null())["key"].to_list() == applied(ods)


def test_a_warning_made_an_error_comes_after_the_rows(
    make_ods: Callable[..., ScriptedOds], runner: edfi.StudentAssessment
) -> None:
    ods = make_ods(10)

    def lose_one(request: Request) -> Answer:
        answer = ods.page(request)
        # The last page shares its first record with the one before.
        if request.query["offset"] == "8":
            answer.body = answer.body[:1]
        return answer

    ods.script = lose_one
    with pytest.raises(UserWarning, match="9 records"):
        runner.batch_get_all(district(ods), key_col="District BK", limit=5, on_short="warn")
    assert runner.rows is not None
    assert runner.rows.height == 9


class FullDisk(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stderr", [None, FullDisk()], ids=["none", "full"])
def test_a_bar_that_cannot_be_drawn_ends_no_call(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    monkeypatch: pytest.MonkeyPatch,
    stderr: io.StringIO | None,
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    out = post(runner, payloads(ods, 300), show_progress=True)
    assert out["status"].null_count() == 300
    assert applied(ods) == list(range(300))


def test_rows_are_those_of_the_call_that_runs(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    seen: list[pl.DataFrame | None] = []
    ods.script = lambda _: seen.append(runner.rows)
    for count in (2, 3):
        out = post(runner, payloads(ods, count), workers=1)
        assert runner.rows is out
    assert seen == [None] * 5


def expressions(ods: ScriptedOds) -> dict[str, pl.LazyFrame]:
    client = client_of(ods)
    ids = pl.LazyFrame({"id": [str(n) for n in range(50)]})
    return {
        "get_by_id": ids.select(edfi.get_by_id("id", client=client)),
        "get_all": ids.select(edfi.get_all(client=client, params={"n": 1})),
        "fetch_token": accounts(ods)
        .lazy()
        .select(edfi.fetch_token("targetUrl", client_id="oAuthKey", client_secret="oAuthSecret")),
        "two": ids.select(
            edfi.get_by_id("id", client=client),
            edfi.get_by_id("id", client=client, endpoint="ed-fi/students").alias("again"),
        ),
    }


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("name", ["get_by_id", "get_all", "fetch_token", "two"])
def test_a_silent_server_holds_no_expression(ods: ScriptedOds, name: str, engine: Any) -> None:
    lf = expressions(ods)[name]
    with silence(ods) as server:
        with pytest.raises(KeyboardInterrupt):
            lf.collect(engine=engine)
        assert time.monotonic() - server.interrupted_at < SOON
    ods.script = None
    ods.secret = "a:s"
    assert lf.collect(engine=engine).height > 0
    assert len(ods.requests) > server.silent


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("silent", ["schema", "page"])
def test_a_silent_server_holds_no_scan(ods: ScriptedOds, silent: str, engine: Any) -> None:
    schema = {"id": pl.String} if silent == "page" else "infer"
    lf = edfi.scan(RESULTS, client=client_of(ods), schema=schema)
    with silence(ods) as server:
        # Polars makes a ComputeError of what is raised while it asks for the columns.
        raised = KeyboardInterrupt if silent == "page" else pl.exceptions.ComputeError
        with pytest.raises(raised, match="KeyboardInterrupt" if silent == "schema" else None):
            lf.select("id").collect(engine=engine)
        assert time.monotonic() - server.interrupted_at < SOON
    ods.script = None
    assert lf.select("id").collect(engine=engine).height == 3


def pages_of(ods: ScriptedOds) -> Generator[pl.DataFrame, None, None]:
    """Give the pages of a scan as Polars asks for them."""
    client = client_of(ods)
    scan = _native.Scan(native_side(client), None, endpoint=RESULTS, schema={"id": pl.String})
    pages = Source(scan, RESULTS, client)(None, None, None, None)
    assert isinstance(pages, GeneratorType)
    return pages


def test_one_ctrl_c_is_raised_once_for_two_scans_of_a_query(ods: ScriptedOds) -> None:
    one, two = pages_of(ods), pages_of(ods)
    with ThreadPoolExecutor(1) as polars:
        assert polars.submit(next, one).result(10).height == 3
        with silence(ods), pytest.raises(KeyboardInterrupt):
            polars.submit(next, two).result(10)
        try:
            # Polars drops what is left of a query later.
            polars.submit(one.close).result(10)
            time.sleep(0.01)
        except KeyboardInterrupt:
            pytest.fail("it was raised again")


def test_ctrl_c_is_for_python_while_no_query_runs(ods: ScriptedOds) -> None:
    pages = pages_of(ods)
    with ThreadPoolExecutor(1) as polars:
        # The query needed no more, and Polars has not dropped it yet.
        assert polars.submit(next, pages).result(10).height == 3
        time.sleep(1.1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert polars.submit(list, pages).result(10) == []


@contextmanager
def reading(ods: ScriptedOds) -> Iterator[None]:
    """Have a query wait for its first page meanwhile, and then read on."""
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    lf = edfi.scan("ed-fi/x", client=client, schema={"id": pl.String})
    with silence(ods) as server:
        asked = threading.Event()
        server.on_silence = lambda _: asked.set()  # type: ignore[method-assign]
        query = lf.collect(background=True)
        assert asked.wait(20)
        ods.script = None
        yield
    assert query.fetch_blocking().height == 3


def test_ctrl_c_ends_what_the_main_thread_does_beside_a_query(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods, other = make_ods(3), make_ods()
    posted = []

    def interrupts(request: Request) -> None:
        if request.method == "POST":
            posted.append(request.body)
            if len(posted) == 3:
                os.kill(os.getpid(), signal.SIGINT)

    other.script = interrupts
    runner = edfi.Resource("ed-fi/x", base_url=other.url, api_version="v3", bearer_token="token")
    df = pl.DataFrame({"key": range(2_000), "payload": [f'{{"n": {n}}}' for n in range(2_000)]})
    with reading(ods):
        with pytest.raises(KeyboardInterrupt):
            runner.batch_post_payload(
                df, payload_col="payload", key_col="key", commit=True, workers=1
            )
        assert 3 <= len(posted) < 2_000
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(20)


def test_a_handler_of_ones_own_is_run_and_the_query_goes_on(ods: ScriptedOds) -> None:
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    lf = edfi.scan("ed-fi/x", client=client, schema={"id": pl.String})
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    ods.script = lambda request: (
        os.kill(os.getpid(), signal.SIGINT) if request.path.endswith("ed-fi/x") else None
    )
    try:
        assert lf.collect(engine="streaming").height == 3
        assert set(told) == {signal.SIGINT}
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_lets_writes_of_an_expression_finish(ods: ScriptedOds) -> None:
    def script(request: Request) -> None:
        if json.loads(request.body)["n"] == 20:
            os.kill(os.getpid(), signal.SIGINT)

    ods.script = script
    df = payloads(ods, 2_000)
    call = edfi.post_payload("payload", client=client_of(ods), commit=True)
    with pytest.raises(KeyboardInterrupt):
        df.select(call)
    assert 20 <= len(ods.items) < 2_000
    assert len(ods.items) == len(ods.requests)


FORK = """
import os, sys, threading, time
import polars as pl
import polars_edfi as edfi

url, mode = sys.argv[1:]
setting = {"client_id": "key", "client_secret": "secret"}
client = edfi.StudentAssessment(base_url=url, **setting)


def call():
    if mode == "expression":
        # One input: for more, Polars has threads of its own, which a child lacks.
        items = pl.DataFrame({"id": ["a"]}).select(edfi.get_by_id("id", client=client))
        assert items.unnest("id")["http_status"].to_list() == [404]
    elif mode == "read":
        assert client.get_all(key=1)["data"].height == 3
    else:
        assert client.fetch_token()["status"] is None


threading.Thread(target=call, daemon=True).start()
sys.stdin.readline()  # the server holds back the thread's request
pid = os.fork()
if pid == 0:
    call()
    os._exit(7)
print("forked", flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("mode", ["token", "read", "expression"])
def test_a_fork_while_another_thread_is_in_a_call(ods: ScriptedOds, mode: str) -> None:
    held, release = threading.Event(), threading.Event()
    ods.one_at_a_time = False
    ods.serves_metadata = mode == "read"

    def script(_: Request) -> None:
        if not held.is_set():
            held.set()
            release.wait(60)

    ods.script = script
    command = [sys.executable, "-W", "ignore", "-c", FORK, ods.url, mode]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert held.wait(60)
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.readline() == "forked\n"
            killer = threading.Timer(20, process.kill)
            killer.start()
            assert process.stdout.readline() == "7\n"
            killer.cancel()
        finally:
            release.set()
            process.kill()


DESCRIPTORS = Path("/proc/self/fd")


def descriptors() -> int:
    return len(list(DESCRIPTORS.iterdir()))


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counts what Linux shows")
def test_a_client_for_each_expression_keeps_no_descriptors(ods: ScriptedOds) -> None:
    df = pl.DataFrame({"id": ["a"]})

    def read() -> None:
        df.select(edfi.get_by_id("id", client=client_of(ods)))

    for _ in range(3):
        read()
    before = descriptors()
    for _ in range(20):
        read()
    assert descriptors() < before + 10


CHILD = """
import json, sys
import polars as pl
import polars_edfi as edfi

url, result = sys.argv[1:]
runner = edfi.StudentAssessment(api_version="v3", base_url=url, bearer_token="token")
payloads = pl.DataFrame({"payload": [json.dumps({"n": n}) for n in range(1_500)]})
df = payloads.with_row_index("key")
print("ready", flush=True)
ended = "not begun"
try:
    runner.batch_post_payload(df, payload_col="payload", key_col="key", commit=True)
    ended = "done"
except KeyboardInterrupt:
    ended = "interrupted"
if runner.rows is not None:
    runner.rows.write_parquet(result)
print(ended, flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_ctrl_c_at_any_moment(ods: ScriptedOds, tmp_path: Path, seed: int) -> None:
    result = tmp_path / "rows.parquet"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, ods.url, result], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        while not ods.requests and child.poll() is None:
            time.sleep(0.001)
        time.sleep(random.Random(seed).uniform(0, 0.4))
        child.send_signal(signal.SIGINT)
        ended = child.stdout.readline()
        child.wait(30)
    if not ended:
        pytest.skip("the call was over before")
    out = pl.read_parquet(result)
    assert out.height == 1_500
    assert out.filter(pl.col("status").is_null())["key"].to_list() == applied(ods)
