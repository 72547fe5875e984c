"""Ctrl-C in the middle: what was answered is kept, and nothing new is sent."""

import os
import signal
import threading
import time

import pytest
from conftest import Answer, Request, ScriptedOds

from send.support import (
    ENROLMENTS,
    LEVELS,
    SCHOOLS,
    STUDENTS,
    client,
    enrolment,
    frame,
    problem,
    school,
    serve,
    student,
    writes,
)

UNRESOLVED = problem(409, "data-conflict:unresolved-reference", "It does not exist.")


def interrupted_after(ods: ScriptedOds, count: int, answer: Answer) -> None:
    """Answer so many writes, and interrupt with the last of them."""
    lock, seen = threading.Lock(), [0]

    def write(_request: Request) -> Answer:
        with lock:
            seen[0] += 1
            if seen[0] == count:
                os.kill(os.getpid(), signal.SIGINT)
            is_over = seen[0] >= count
        # However fast the machine is, few are answered until the signal is seen.
        if is_over:
            time.sleep(0.005)
        return answer

    serve(ods, LEVELS, write)


def test_all_rows_are_accounted_for(ods: ScriptedOds) -> None:
    interrupted_after(ods, 12, Answer(201))
    runner = client(ods)
    frames = {
        ENROLMENTS: frame(enrolment(f"{n}", 1) for n in range(400)),
        STUDENTS: frame(student(f"{n}") for n in range(400)),
        SCHOOLS: frame([school(1)]).lazy(),
    }
    with pytest.raises(KeyboardInterrupt):
        runner.send(frames, commit=True, workers=2)
    rows = runner.rows
    assert rows is not None
    # Those of a LazyFrame are there if it was read before the interrupt.
    assert rows.filter(rows["endpoint"] != SCHOOLS).height == 800
    assert rows.height <= 801
    sent = rows.filter(http_status=201)
    assert sent.height == sent["status"].null_count() == len(writes(ods))
    rest = rows.filter(rows["http_status"].is_null())
    assert set(rest["message"]) == {"not sent: interrupted"}
    assert set(rest["attempts"]) == {0}
    assert rest.height >= 400
    assert rest.height + sent.height == rows.height


def test_rows_that_wait_keep_what_they_were_answered(ods: ScriptedOds) -> None:
    interrupted_after(ods, 3, UNRESOLVED)
    runner = client(ods)
    with pytest.raises(KeyboardInterrupt):
        runner.send({STUDENTS: frame(student(f"{n}") for n in range(3))}, commit=True, workers=1)
    rows = runner.rows
    assert rows is not None
    assert rows["http_status"].to_list() == [409] * 3
    assert rows["attempts"].sum() == len(writes(ods))
