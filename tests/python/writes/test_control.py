"""A batch that is watched and stopped: Ctrl-C and progress."""

import os
import signal
import threading
from typing import Any

import pytest
from conftest import Answer, Request, ScriptedOds, interruptible

import polars_edfi as edfi
from writes.support import frame, number, numbered, post


@pytest.mark.parametrize(("workers", "rows"), [(3, 20), (8, 100)])
def test_ctrl_c_accounts_for_every_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment, workers: int, rows: int
) -> None:
    unsent = rows - workers
    barrier = threading.Barrier(workers)
    with interruptible() as seen:

        def script(request: Request) -> Answer:
            barrier.wait(30)
            if number(request) == 0:
                os.kill(os.getpid(), signal.SIGINT)
            assert seen.wait(30)
            return Answer(201, headers={"location": f"/x/{number(request)}"})

        ods.script, ods.one_at_a_time = script, False
        with pytest.raises(KeyboardInterrupt):
            post(runner, frame(ods, numbered(rows)), workers=workers)
    out = runner.rows
    assert out is not None
    assert out["row_index"].to_list() == list(range(rows))
    assert out["resource_id"].to_list() == [*map(str, range(workers)), *[None] * unsent]
    assert out["status"].to_list() == [None] * workers + ["error"] * unsent
    assert out["message"].to_list()[workers:] == ["not sent: interrupted"] * unsent
    assert out["attempts"].to_list() == [1] * workers + [0] * unsent
    assert len(ods.requests) == workers


def test_ctrl_c_does_not_make_unsent_what_was_sent(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    """A row that waits to be posted again was sent, and keeps its answer."""
    with interruptible() as seen:

        def script(request: Request) -> Answer:
            if number(request) == 1:
                os.kill(os.getpid(), signal.SIGINT)
                assert seen.wait(30)
            return Answer(500, {"message": "Oh."}, {"retry-after": "30"})

        ods.script = script
        with pytest.raises(KeyboardInterrupt):
            post(runner, frame(ods, numbered(4)), workers=2, retry_statuses=[500])
    out = runner.rows
    assert out is not None
    assert out["http_status"].to_list() == [500, 500, None, None]
    assert out["message"].to_list() == [
        *["HTTP 500 Internal Server Error: Oh. (retries attempted: 0)"] * 2,
        *["not sent: interrupted"] * 2,
    ]


@pytest.mark.parametrize(
    ("first", "arguments", "message"),
    [
        (Answer(close=True), {"retry_broken": True}, "it may have been applied"),
        (Answer(500, {"message": "Oh."}), {"retry_statuses": [500]}, "HTTP 500"),
    ],
    ids=["broken", "refused"],
)
def test_ctrl_c_while_a_row_waits_for_its_second_try(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    first: Answer,
    arguments: dict[str, Any],
    message: str,
) -> None:
    """The host asks for a pause on another row's account; what was sent stays told."""
    answered = threading.Event()

    def script(request: Request) -> Answer:
        if number(request) == 0:
            answered.set()
            return first
        assert answered.wait(30)
        # By then the other row is at its second try, which waits for the host.
        threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
        return Answer(503, headers={"retry-after": "30"})

    ods.script, ods.one_at_a_time = script, False
    with interruptible(), pytest.raises(KeyboardInterrupt):
        post(runner, frame(ods, numbered(3)), workers=2, retry_backoff=0.4, **arguments)
    assert runner.rows is not None
    assert runner.rows["attempts"].to_list() == [1, 1, 0]
    assert message in runner.rows["message"][0]
    assert runner.rows["message"][2] == "not sent: interrupted"


def test_progress(
    ods: ScriptedOds, runner: edfi.StudentAssessment, capsys: pytest.CaptureFixture[str]
) -> None:
    df = frame(ods, numbered(3))
    post(runner, df, show_progress=True, progress_desc="[4/7]")
    assert "[4/7]: posting payloads" in (err := capsys.readouterr().err)
    assert "3/3" in err
    post(runner, df, show_progress=True, label="sending")
    assert "sending" in capsys.readouterr().err
    post(runner, df)
    assert capsys.readouterr().err == ""
