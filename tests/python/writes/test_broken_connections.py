"""Connections that break: a row that was sent may have been applied."""

import itertools
import socket
import threading

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from writes.support import frame, number, numbered, post

BROKEN = "connection broken after the request was sent; it may have been applied"


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("answer", [Answer(close=True), Answer(201, "{   }", cut=2)], ids=str)
def test_a_broken_connection_is_told_and_not_repeated(
    ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer
) -> None:
    ods.script = lambda request: answer if number(request) == 1 else None
    out = post(runner, frame(ods, numbered(3)), retry_statuses=[500], allow_statuses={500: None})
    assert out["status"].to_list() == [None, "error", None]
    assert out["message"].to_list() == [None, BROKEN, None]
    assert out["http_status"].to_list() == [201, None, 201]
    assert out["attempts"].to_list() == [1, 1, 1]
    assert sorted(map(number, ods.requests)) == [0, 1, 2]


def test_silence_is_told_too(ods: ScriptedOds) -> None:
    quiet = threading.Event()

    def script(_: Request) -> Answer:
        quiet.wait(30)
        return Answer(201)

    ods.script = script
    runner = edfi.StudentAssessment(api_version="v3", timeout=0.3)
    out = post(runner, frame(ods, ["{}"]))
    quiet.set()
    assert out["message"].item().startswith(BROKEN)
    assert "0.3 s" in out["message"].item()
    assert out["attempts"].item() == len(ods.requests) == 1


def test_posting_again_after_a_broken_connection(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    answers = {0: [Answer(close=True)], 1: [Answer(close=True)] * 9}

    def script(request: Request) -> Answer | None:
        left = answers.get(number(request))
        return left.pop() if left else None

    ods.script = script
    out = post(runner, frame(ods, numbered(3)), retry_broken=True)
    assert out["status"].to_list() == [None, "error", None]
    assert out["message"].to_list() == [None, BROKEN, None]
    assert out["attempts"].to_list() == [2, 2, 1]


@pytest.mark.parametrize("retry_broken", [False, True])
def test_a_server_that_closes_each_tenth_connection(ods: ScriptedOds, retry_broken: bool) -> None:
    runner = edfi.StudentAssessment(api_version="v3")
    count = itertools.count(1)
    closed: list[int] = []

    def script(request: Request) -> Answer | None:
        if next(count) % 10:
            return None
        closed.append(number(request))
        return Answer(close=True)

    ods.script = script
    out = post(runner, frame(ods, numbered(100)), retry_broken=retry_broken)
    assert out["key"].to_list() == list(range(100))
    if retry_broken:
        assert out["status"].null_count() == 100
        assert out["attempts"].sum() == len(ods.requests) == 100 + len(closed)
    else:
        failed = out.filter(pl.col("status").is_not_null())
        assert failed["key"].to_list() == sorted(closed)
        assert failed["message"].unique().to_list() == [BROKEN]
        assert len(ods.requests) == 100


def test_no_connection_at_all(runner: edfi.StudentAssessment, ods: ScriptedOds) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    out = post(runner, frame(ods, ["{}"], targetUrl=url))
    assert out["message"].item().startswith("could not connect")
    assert BROKEN not in out["message"].item()
    assert out["attempts"].item() == 0


def test_a_server_that_goes_away_after_the_first_try() -> None:
    """What was sent may have been applied, although the last try could not connect."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve() -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection:
            connection.recv(65536)

    server = threading.Thread(target=serve)
    server.start()
    df = pl.DataFrame({"key": [0], "payload": ["{}"], "targetUrl": [url], "EdFi Token": ["t"]})
    runner = edfi.StudentAssessment(api_version="v3", max_retries=1)
    out = post(runner, df, retry_broken=True)
    server.join()
    assert out["status"].item() == "error"
    assert "it may have been applied" in out["message"].item()
    assert out["attempts"].item() == 1
