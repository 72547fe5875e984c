"""A process that ends at any moment: nothing is lost, and nothing confirmed is sent twice.

``SOAK=1`` tries more moments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

if TYPE_CHECKING:
    from pathlib import Path

ROWS, WORKERS = 300, 8
MOMENTS = 20 if os.environ.get("SOAK") else 5
BATCH = """
import sys, polars as pl, polars_edfi as edfi
url, journal, rows, workers, insists = sys.argv[1:]
df = pl.DataFrame({"k": range(int(rows))}).with_columns(
    pl.format('{{"n": {}}}', "k").alias("payload"),
    pl.lit(url).alias("targetUrl"), pl.lit("token").alias("EdFi Token"))
result = edfi.StudentAssessment(api_version="v3").batch_post_payload(
    df, payload_col="payload", key_col="k", commit=True, journal=journal, workers=int(workers),
    retry_broken=insists == "yes")
print(result.write_json())
"""


class Killer:
    """A server that keeps its own log, and ends its client at a random moment."""

    def __init__(self, ods: ScriptedOds, seed: int) -> None:
        self.chance = random.Random(seed)
        self.received: Counter[int] = Counter()
        self.answered: Counter[int] = Counter()
        self.client: subprocess.Popen[str] | None = None
        self.fuse = -1
        self.lock = threading.Lock()
        ods.script, ods.one_at_a_time = self.script, False

    def script(self, request: Request) -> Answer | None:
        if request.method != "POST":
            return None
        number = json.loads(request.body)["n"]
        with self.lock:
            self.received[number] += 1
            self.fuse -= 1
            if self.fuse == 0 and self.client is not None:
                self.client.send_signal(signal.SIGKILL)
            before_the_answer = self.chance.random() < 0.5
        if self.fuse == 0 and before_the_answer and self.client is not None:
            self.client.wait(30)
        self.answered[number] += 1
        return Answer(201, headers={"location": f"/x/{number:032x}"})


@pytest.mark.parametrize("seed", range(MOMENTS))
def test_a_kill_at_any_moment(ods: ScriptedOds, tmp_path: Path, seed: int) -> None:
    killer, journal = Killer(ods, seed), tmp_path / "run.edfi"
    command = [sys.executable, "-c", BATCH, ods.url, str(journal), str(ROWS), str(WORKERS)]
    killer.fuse = killer.chance.randint(1, ROWS - 1)
    killer.client = subprocess.Popen([*command, "no"], stdout=subprocess.PIPE, text=True)
    killer.client.communicate(timeout=60)
    assert killer.client.returncode == -signal.SIGKILL
    killer.client = None

    noted = edfi.read_journal(journal)
    confirmed = noted.filter(state="confirmed")["key"].cast(pl.Int64).to_list()
    doubtful = noted.filter(state="sent")["key"].cast(pl.Int64).to_list()
    received = set(killer.received)
    # What reached the server was noted before; what was not noted was not sent.
    assert received <= {*confirmed, *doubtful}
    assert len(doubtful) <= WORKERS
    assert set(confirmed) <= set(killer.answered)
    killer.received.clear()

    done = subprocess.run([*command, "no"], capture_output=True, text=True, timeout=60, check=True)
    second = pl.read_json(done.stdout.encode(), infer_schema_length=None)
    assert second.height == ROWS
    errors = second.filter(status="error")
    assert sorted(errors["key"]) == sorted(doubtful)
    assert errors["message"].str.contains("it may have been applied").all()
    assert set(killer.received) == set(range(ROWS)) - {*confirmed, *doubtful}

    if seed % 5:
        return  # a process takes a second to start
    killer.received.clear()
    done = subprocess.run([*command, "yes"], capture_output=True, text=True, timeout=60, check=True)
    third = pl.read_json(done.stdout.encode(), infer_schema_length=None)
    assert third["status"].null_count() == ROWS
    assert third["resource_id"].to_list() == [f"{n:032x}" for n in range(ROWS)]
    assert sorted(killer.received.elements()) == sorted(doubtful)


def test_an_interrupt_leaves_a_journal_that_goes_on(
    ods: ScriptedOds, runner: edfi.StudentAssessment, tmp_path: Path
) -> None:
    seen: list[int] = []
    lock = threading.Lock()

    def script(request: Request) -> Answer | None:
        with lock:
            seen.append(json.loads(request.body)["n"])
            if len(seen) == 100:
                os.kill(os.getpid(), signal.SIGINT)
        return None

    ods.script, ods.one_at_a_time = script, False
    df = pl.DataFrame({"k": range(ROWS)}).with_columns(
        pl.format('{{"n": {}}}', "k").alias("payload"),
        pl.lit(ods.url).alias("targetUrl"),
        pl.lit("token").alias("EdFi Token"),
    )

    def post() -> pl.DataFrame:
        return runner.batch_post_payload(
            df, payload_col="payload", key_col="k", commit=True, journal=tmp_path / "j", workers=4
        )

    with pytest.raises(KeyboardInterrupt):
        post()
    assert runner.rows is not None
    assert runner.rows.height == ROWS
    answered = runner.rows["status"].null_count()
    states = edfi.read_journal(tmp_path / "j")["state"].to_list()
    assert states.count("confirmed") == answered
    assert "sent" not in states
    again = post()
    assert again["status"].null_count() == ROWS
    assert sorted(seen) == list(range(ROWS))


def test_many_threads_share_a_journal(ods: ScriptedOds, tmp_path: Path) -> None:
    results: list[pl.DataFrame] = []

    def work() -> None:
        df = pl.DataFrame({"k": range(50)}).with_columns(
            pl.format('{{"n": {}}}', "k").alias("payload"),
            pl.lit(ods.url).alias("targetUrl"),
            pl.lit("token").alias("EdFi Token"),
        )
        client = edfi.StudentAssessment(api_version="v3")
        for _ in range(3):
            results.append(  # noqa: PERF401 - the calls are what this is about
                client.batch_post_payload(
                    df, payload_col="payload", key_col="k", commit=True, journal=tmp_path / "j"
                )
            )

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result["status"].null_count() for result in results] == [50] * 18
    assert sum(request.method == "POST" for request in ods.requests) == 50


def test_forks_while_another_thread_writes(
    ods: ScriptedOds, runner: edfi.StudentAssessment, tmp_path: Path
) -> None:
    def frame(name: str, count: int) -> pl.DataFrame:
        payloads = [json.dumps({"n": n, "of": name}) for n in range(count)]
        cells = {"targetUrl": [ods.url] * count, "EdFi Token": ["token"] * count}
        return pl.DataFrame({"k": list(range(count)), "payload": payloads} | cells)

    def post(df: pl.DataFrame, journal: str) -> pl.DataFrame:
        return runner.batch_post_payload(
            df, payload_col="payload", key_col="k", commit=True, journal=tmp_path / journal
        )

    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            post(frame(f"{stop}", 1), f"{chance.random()}")

    chance = random.Random(0)
    # What Polars makes at its first use is not to be half made at a fork.
    assert post(frame("first", 1), "first")["attempts"].to_list() == [1]
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    ends = []
    for number in range(20):
        df = frame(f"child {number}", 3)
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(15)
                os._exit(0 if post(df, f"child-{number}")["attempts"].to_list() == [1] * 3 else 1)
            finally:
                os._exit(2)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        if ends[-1]:
            break
    stop.set()
    for thread in threads:
        thread.join(60)
    assert ends == [0] * 20


def test_a_forked_child_has_journals_of_its_own(
    ods: ScriptedOds, runner: edfi.StudentAssessment, tmp_path: Path
) -> None:
    df = pl.DataFrame(
        {"k": [1], "payload": ["{}"], "targetUrl": [ods.url], "EdFi Token": ["token"]}
    )

    def post(journal: Path) -> list[int]:
        return runner.batch_post_payload(
            df, payload_col="payload", key_col="k", commit=True, journal=journal
        )["attempts"].to_list()

    assert post(tmp_path / "j") == [1]
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(30)
            went_on = post(tmp_path / "j") == [0] and post(tmp_path / "other") == [1]
            os._exit(0 if went_on else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert post(tmp_path / "j") == [0]
