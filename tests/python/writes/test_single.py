"""One payload at a time."""

import json
import math
import os
import signal
from datetime import date
from typing import Any

import pytest
from conftest import Answer, Request, ScriptedOds, interruptible

import polars_edfi as edfi
from writes.support import bodies


def test_single_json_text_is_sent_byte_for_byte(ods: ScriptedOds) -> None:
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    assert client.post_payload(' {"a" : 1.0}\n', key=1, commit=True)["status"] is None
    assert bodies(ods) == [b' {"a" : 1.0}\n']


def test_a_single_dry_run_needs_nothing() -> None:
    assert edfi.StudentAssessment().post_payload({"a": 1}, key="k") == {
        "key": "k",
        "status": "dry_run",
        "message": None,
        "http_status": None,
        "correlation_id": None,
        "resource_id": None,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"retry_statuses": {401}},
        {"retry_statuses": 500},
        {"max_retries": -1},
        {"retry_backoff": math.nan},
        {"allow_statuses": [409]},
        {"endpoint": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("commit", [True, False])
def test_wrong_arguments_of_a_single_post(
    ods: ScriptedOds, arguments: dict[str, Any], commit: bool
) -> None:
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token")
    with pytest.raises(edfi.EdFiError):
        runner.post_payload({}, key=1, commit=commit, **arguments)
    assert ods.requests == []


@pytest.mark.parametrize(
    "payload", [{"n": math.nan}, {"d": date(2024, 1, 1)}, {"t": "\ud800"}, b"{}"]
)
def test_single_payloads_that_are_no_json(ods: ScriptedOds, payload: Any) -> None:
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token")
    with pytest.raises(edfi.EdFiError):
        runner.post_payload(payload, key=1, commit=True)
    assert ods.requests == []


def test_single_posts(ods: ScriptedOds) -> None:
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    payload = {"name": "Zoë", "n": 12345678901234567890123, "f": 1.5, "x": None, "l": []}
    first = runner.post_payload(payload, key=("any", 1), commit=True)
    assert json.loads(ods.requests[0].body) == payload
    assert first == {
        "key": ("any", 1),
        "status": None,
        "message": None,
        "http_status": 201,
        "correlation_id": None,
        "resource_id": next(iter(ods.items)),
    }
    assert runner.post_payload(payload, key=1, commit=True)["http_status"] == 200
    assert runner.post_payload("[]", key=1, commit=True)["message"].startswith("invalid JSON: ")
    ods.script = lambda _: Answer(409, {"detail": "No.", "correlationId": "c"})
    assert runner.post_payload({}, key=1, commit=True, allow_statuses={409: "warning"}) == {
        "key": 1,
        "status": "warning",
        "message": "HTTP 409 Conflict: No.",
        "http_status": 409,
        "correlation_id": "c",
        "resource_id": None,
    }
    assert runner.rows is None
    with pytest.raises(edfi.EdFiError, match="base_url"):
        edfi.StudentAssessment(bearer_token="token").post_payload({}, key=1, commit=True)
    with pytest.raises(edfi.EdFiError, match="No auth configured"):
        edfi.StudentAssessment(base_url=ods.url).post_payload({}, key=1, commit=True)


def test_ctrl_c_in_a_single_post(ods: ScriptedOds) -> None:
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    with interruptible() as seen:

        def script(_: Request) -> Answer:
            os.kill(os.getpid(), signal.SIGINT)
            assert seen.wait(30)
            return Answer(201)

        ods.script = script
        with pytest.raises(KeyboardInterrupt):
            runner.post_payload({}, key=1, commit=True)
