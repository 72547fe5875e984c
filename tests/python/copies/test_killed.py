"""A run that is killed between any two steps: the copies stay whole, and the next run goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Request, ScriptedOds
from test_interrupts import SOON, silence

import polars_edfi as edfi
from polars_edfi._sync.parquet import ParquetFile

from .test_sync import BOTH, STUDENTS, assert_equal, client_of

KILLS = 60 if os.environ.get("SOAK") else 6
STEPS = 900
"""About as many calls of functions a run takes that has something to do."""

CHILD = """
import os, signal, sys, threading

import polars_edfi as edfi

url, key, secret, into, format, step = sys.argv[1:]
client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
left = int(step)


def count(frame, event, function):
    global left
    if "_sync" in frame.f_code.co_filename and event in ("call", "c_call"):
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


threading.setprofile(count)
sys.setprofile(count)
edfi.sync(client, ["ed-fi/students", "ed-fi/studentAssessments"], into=into, format=format)
"""


def run_child(ods: edfi.Sandbox, into: Path, fmt: str, step: int) -> bool:
    """Tell whether it was killed before its end."""
    account = ods.districts().row(0)[1:]
    arguments = [*account, str(into), fmt, str(step)]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], timeout=300, check=False)
    assert child.returncode in (0, -9)
    return child.returncode != 0


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("fmt", ["parquet", "delta"])
def test_a_killed_run_is_gone_on_with(tmp_path: Path, fmt: Any) -> None:
    chance = random.Random(7)
    killed = 0
    with edfi.Sandbox(records=60) as ods:
        client = client_of(ods)
        for number in range(KILLS):
            killed += run_child(ods, tmp_path, fmt, chance.randint(1, STEPS))
            for endpoint in BOTH:
                check_whole(tmp_path, endpoint, fmt)
            if number % 2:  # what one run did not finish, another one finds
                report = edfi.sync(client, BOTH, into=tmp_path, format=fmt)
                assert report["status"].null_count() == len(BOTH)
                assert report["repaired"].to_list() == [0, 0]
                for endpoint in BOTH:
                    assert_equal(client, tmp_path, endpoint, fmt)
            for endpoint in BOTH:
                kind: Any = chance.choice(["insert", "delete", "edit", "recreate", "rekey"])
                ods.mutate("255901", endpoint, kind, chance.randint(1, 9))
        edfi.sync(client, BOTH, into=tmp_path, format=fmt)
        for endpoint in BOTH:
            assert_equal(client, tmp_path, endpoint, fmt)
            files = list((tmp_path / endpoint).iterdir())
            assert fmt == "delta" or [file.name for file in files] == ["data.parquet"]
    assert killed > 0


def check_whole(into: Path, endpoint: str, fmt: str) -> None:
    """A reader finds a whole resource, with the state that belongs to it, or nothing."""
    if fmt == "delta":
        if (into / endpoint / "_delta_log").exists():
            rows = pl.read_delta(str(into / endpoint))
            assert rows["id"].is_unique().all()
        return
    file = into / endpoint / "data.parquet"
    if file.exists():
        rows = pl.read_parquet(file)
        state = json.loads(pl.read_parquet_metadata(file)["polars_edfi"])
        assert rows["id"].is_unique().all()
        assert state["rows"] == rows.height


def test_an_interrupt_that_a_resource_hears_of_ends_the_whole_run(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path
) -> None:
    one, other = make_ods(3), make_ods(3)
    frame = pl.DataFrame({"k": ["a", "b"], "targetUrl": [one.url, other.url], "t": "token"})
    options: dict[str, Any] = {"key_col": "k", "token_col": "t", "schema": {"id": pl.String}}
    client = edfi.EdFiClient(api_version="v3", timeout=600)
    both = threading.Barrier(2, timeout=60)

    def versions(request: Request) -> bool:
        return request.path.endswith("/availableChangeVersions")

    def pages(request: Request) -> bool:
        return request.query.get("limit", "0") != "0"

    with silence(one, pages) as reading, silence(other, versions) as asking:

        def when_both_wait(_: int) -> None:
            if both.wait() == 0:
                reading.interrupt()

        reading.on_silence = asking.on_silence = when_both_wait  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            edfi.sync(frame, [STUDENTS], into=tmp_path, client=client, **options)
        assert time.monotonic() - reading.interrupted_at < SOON


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent there")
def test_a_second_ctrl_c_waits_for_what_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = ParquetFile.replace
    raised = threading.Semaphore(0)
    told: list[str] = []

    def handler(*_: object) -> None:
        raised.release()
        raise KeyboardInterrupt

    def interrupting(*args: Any) -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            assert raised.acquire(timeout=20)
        replace(*args)
        told.append("replaced")

    monkeypatch.setattr(ParquetFile, "replace", interrupting)
    before = signal.signal(signal.SIGINT, handler)
    try:
        with edfi.Sandbox(records=5) as ods, pytest.raises(KeyboardInterrupt):
            edfi.sync(client_of(ods), [STUDENTS], into=tmp_path)
        assert told == ["replaced"]
    finally:
        signal.signal(signal.SIGINT, before)
