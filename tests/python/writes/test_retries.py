"""Answers after which a row is posted again, and those that are allowed."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from writes.support import bodies, frame, number, numbered, post


def test_posts_are_not_repeated_by_themselves(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    statuses = [408, 500, 502, 503, 504]
    ods.script = lambda request: Answer(statuses[number(request)])
    out = post(runner, frame(ods, numbered(5)))
    assert out["http_status"].to_list() == statuses
    assert out["status"].to_list() == ["error"] * 5
    assert len(ods.requests) == 5


def test_a_server_that_answers_500_to_every_post(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda _: Answer(500, {"message": "Oh.", "correlationId": "c-5"})
    out = post(runner, frame(ods, numbered(50)), retry_statuses={500}, retry_backoff=0)
    assert out["message"].unique().to_list() == [
        "HTTP 500 Internal Server Error: Oh. (correlation id: c-5; retries attempted: 2)"
    ]
    assert out["correlation_id"].unique().to_list() == ["c-5"]
    assert out["attempts"].unique().to_list() == [3]
    assert len(ods.requests) == 150


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
def test_posting_again(ods: ScriptedOds, runner: edfi.StudentAssessment, failures: int) -> None:
    answers = itertools.chain(itertools.repeat(Answer(400), failures), [Answer(201)])
    ods.script = lambda _: next(answers)
    out = post(runner, frame(ods, ["{}"]), retry_statuses=[400], retry_backoff=0)
    attempts = min(failures, 2) + 1
    assert out["attempts"].item() == len(ods.requests) == attempts
    if failures <= 2:
        assert out.select("status", "message", "http_status").row(0) == (None, None, 201)
    else:
        message = "HTTP 400 Bad Request (retries attempted: 2)"
        assert out.select("status", "message", "http_status").row(0) == ("error", message, 400)
    assert set(bodies(ods)) == {b"{}"}


@pytest.mark.parametrize(
    ("arguments", "attempts", "note"),
    [
        ({"max_retries": 0}, 1, " (retries attempted: 0)"),
        ({"max_retries": 4}, 5, " (retries attempted: 4)"),
        ({"retry_messages": ["UNABLE to resolve"]}, 3, " (retries attempted: 2)"),
        ({"retry_messages": ["other", "$.student"]}, 3, " (retries attempted: 2)"),
        ({"retry_messages": "unable"}, 3, " (retries attempted: 2)"),
        ({"retry_messages": ["is required"]}, 1, " (retries attempted: 0)"),
        ({"retry_messages": []}, 3, " (retries attempted: 2)"),
        ({"retry_statuses": {409, 500}}, 1, " (retries attempted: 0)"),
        ({"retry_statuses": None}, 1, ""),
        ({"retry_statuses": frozenset()}, 1, ""),
    ],
    ids=str,
)
def test_which_answers_are_posted_again(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    arguments: dict[str, Any],
    attempts: int,
    note: str,
) -> None:
    body = {"detail": "It was unable to Resolve.", "validationErrors": {"$.student": ["Who?"]}}
    ods.script = lambda _: Answer(400, body)
    out = post(
        runner, frame(ods, ["{}"]), **({"retry_statuses": {400}, "retry_backoff": 0} | arguments)
    )
    text = "HTTP 400 Bad Request: It was unable to Resolve.; $.student: Who?"
    assert out["message"].item() == text + note
    assert out["attempts"].item() == len(ods.requests) == attempts


def times(ods: ScriptedOds, answer: Callable[[int], Answer]) -> list[float]:
    """When each request came; ``answer`` gets its number."""
    seen: list[float] = []

    def script(_: Request) -> Answer:
        seen.append(time.monotonic())
        return answer(len(seen) - 1)

    ods.script = script
    return seen


def gaps(seen: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(seen)]


def test_waits_double(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    seen = times(ods, lambda _: Answer(500))
    post(runner, frame(ods, ["{}"]), retry_statuses=[500], retry_backoff=0.1)
    first, second = gaps(seen)
    assert first >= 0.1
    assert second >= 0.2
    assert first + second < 5


@pytest.mark.parametrize(("status", "wait"), [(429, 1), (500, 2)])
def test_the_server_says_how_long_to_wait(
    ods: ScriptedOds, runner: edfi.StudentAssessment, status: int, wait: int
) -> None:
    answers = [Answer(status, headers={"retry-after": str(wait)}), Answer(201)]
    seen = times(ods, answers.__getitem__)
    out = post(runner, frame(ods, ["{}"]), retry_statuses=[status], retry_backoff=0)
    assert out["status"].to_list() == [None]
    assert wait <= gaps(seen)[0] < wait + 5


def test_a_longer_wait_than_allowed_is_an_error(ods: ScriptedOds) -> None:
    ods.script = lambda _: Answer(503, {"detail": "Later."}, {"retry-after": "3600"})
    runner = edfi.StudentAssessment(api_version="v3", max_wait=1)
    out = post(runner, frame(ods, ["{}"]), retry_statuses=[503])
    assert out["message"].item().startswith("HTTP 503 Service Unavailable: Later.")
    assert out["attempts"].item() == len(ods.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_all_slow_down_together(
    ods: ScriptedOds, runner: edfi.StudentAssessment, status: int
) -> None:
    """A ``Retry-After`` that one request is given holds for all of its host."""
    workers = 4
    barrier = threading.Barrier(workers)
    seen: list[float] = []

    def script(request: Request) -> Answer:
        seen.append(time.monotonic())
        if len(seen) > workers:
            return Answer(201)
        barrier.wait(30)
        if number(request) > 0:
            # The others are answered once the first has closed the gate.
            time.sleep(0.5)
            return Answer(201)
        return Answer(status, headers={"retry-after": "1"})

    ods.script, ods.one_at_a_time = script, False
    out = post(runner, frame(ods, numbered(12)), workers=workers)
    assert out["status"].to_list() == [None] * 12
    assert out["attempts"].to_list() == [2, *[1] * 11]
    seen.sort()
    assert seen[workers] - seen[workers - 1] >= 1
    assert len(seen) == 13


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"allow_statuses": {409: "warning"}}, "warning"),
        ({"allow_statuses": {409: None}}, None),
        ({"allow_statuses": {400: "warning"}}, "error"),
        ({"allow_statuses": {}}, "error"),
        ({"allow_statuses": {409: "warning"}, "retry_statuses": [409], "max_retries": 1}, "error"),
        ({"allow_statuses": {409: "warning"}, "retry_statuses": [500]}, "warning"),
        (
            {
                "allow_statuses": {409: "warning"},
                "retry_statuses": [409],
                "retry_messages": ["other"],
            },
            "warning",
        ),
    ],
    ids=str,
)
def test_statuses_that_are_allowed(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    arguments: dict[str, Any],
    status: str | None,
) -> None:
    ods.script = lambda _: Answer(409, {"detail": "Twice.", "correlationId": "c"})
    out = post(runner, frame(ods, ["{}"]), retry_backoff=0, **arguments)
    assert out["status"].to_list() == [status]
    assert out["message"].item().startswith("HTTP 409 Conflict: Twice.")
    assert out.select("http_status", "correlation_id", "resource_id").row(0) == (409, "c", None)


def test_what_never_reached_the_ods_is_not_allowed(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda _: Answer(200, "<html>")
    allow = {200: None, 201: None}
    out = post(runner, frame(ods, ["{", "{}"]), allow_statuses=allow)
    assert out["status"].to_list() == ["error", "error"], "a page of HTML is no success"
