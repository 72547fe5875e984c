"""One result for each row: what is success, and what is said of a failure."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from conftest import Answer, ScriptedOds
from polars.testing import assert_frame_equal

import polars_edfi as edfi
from writes.support import MakeOds, frame, number, numbered, post

RESULT = {
    "key": pl.Int64,
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
    "resource_id": pl.String,
    "attempts": pl.UInt32,
    "row_index": pl.get_index_type(),
    "row_id": pl.String,
}


def test_each_row_has_one_result(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    answers = {
        "0": Answer(201, headers={"location": "http://elsewhere/x/created"}),
        "1": Answer(200, headers={"location": "/x/updated"}),
        "2": Answer(204),
        "3": Answer(409, {"detail": "No such student.", "correlationId": "c-3"}),
        "4": Answer(500, "<html>"),
    }
    ods.script = lambda request: answers[request.body.decode()[-2]]
    out = post(runner, frame(ods, numbered(5)))
    expected = pl.DataFrame(
        {
            "key": range(5),
            "status": [None, None, None, "error", "error"],
            "message": [
                None,
                None,
                None,
                "HTTP 409 Conflict: No such student.",
                "HTTP 500 Internal Server Error",
            ],
            "http_status": [201, 200, 204, 409, 500],
            "correlation_id": [None, None, None, "c-3", None],
            "resource_id": ["created", "updated", None, None, None],
            "attempts": [1] * 5,
            "row_index": range(5),
            "row_id": [None] * 5,
        },
        schema=RESULT,
    )
    assert_frame_equal(out, expected)
    assert runner.rows is out
    assert len(ods.requests) == 5
    request = ods.requests[0]
    assert (request.method, request.path) == ("POST", "/data/v3/ed-fi/studentAssessments")
    assert request.headers["content-type"] == "application/json"
    assert request.token == "token"


@pytest.mark.parametrize(
    ("dtype", "keys"),
    [
        (pl.String, ["a", " b "]),
        (pl.Int16, [1, None]),
        (pl.Float64, [1.5, 2.0]),
        (pl.Date, [date(2024, 1, 2), None]),
        (pl.Categorical(), ["a", "b"]),
        (pl.Enum(["a", "b"]), ["a", "b"]),
        (pl.UInt64, [2**64 - 1, 0]),
        (pl.Null, [None, None]),
    ],
    ids=str,
)
@pytest.mark.parametrize("what", ["success", "error", "client side", "dry run", "empty", "skipped"])
def test_columns_do_not_depend_on_the_data(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    what: str,
    dtype: Any,
    keys: list[object],
) -> None:
    if what == "error":
        ods.script = lambda _: Answer(400, {"message": "No."})
    payload = "[]" if what == "client side" else "{}"
    df = frame(ods, [payload] * 2).with_columns(
        pl.Series("key", keys, dtype),
        pl.Series("own id", [[1], None], pl.List(pl.Int8)),
        pl.lit("error" if what == "skipped" else None, pl.String).alias("row status"),
    )
    if what == "empty":
        df = df.clear()
    out = post(runner, df, commit=what != "dry run", row_id_col="own id")
    assert out.schema == RESULT | {"key": dtype, "row_id": pl.List(pl.Int8)}
    if what in ("empty", "skipped"):
        assert out.height == 0
        return
    trimmed = [key.strip() if isinstance(key, str) else key for key in keys]
    assert out["key"].to_list() == trimmed
    assert out["row_id"].to_list() == [[1], None]
    assert (
        out["status"].to_list() == [{"success": None, "dry run": "dry_run"}.get(what, "error")] * 2
    )
    assert out["attempts"].to_list() == [int(what in ("success", "error"))] * 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200),
        Answer(201),
        Answer(204),
        Answer(200, '{"id": "x"}'),
        Answer(201, "null"),
        Answer(201, " \r\n"),
        Answer(201, '{"id": "x"}', {"content-type": "text/html"}),
    ],
    ids=str,
)
def test_what_is_success(ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer) -> None:
    ods.script = lambda _: answer
    out = post(runner, frame(ods, ["{}"]))
    assert out.row(0, named=True) | {"resource_id": None} == {
        "key": 0,
        "status": None,
        "message": None,
        "http_status": answer.status,
        "correlation_id": None,
        "resource_id": None,
        "attempts": 1,
        "row_index": 0,
        "row_id": None,
    }


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, "<html>Sign in, Ada</html>"), "HTTP 200 OK"),
        (Answer(201, "<html>Sign in, Ada</html>"), "HTTP 201 Created"),
        (Answer(200, '{"id": '), "HTTP 200 OK"),
        (Answer(200, b"\xff"), "HTTP 200 OK"),
        (Answer(202), "HTTP 202 Accepted"),
        (Answer(206, "{}"), "HTTP 206 Partial Content"),
        (Answer(304), "HTTP 304 Not Modified"),
        (Answer(401, {"detail": "Not you, Ada."}), "auth error: HTTP 401"),
        (Answer(599), "HTTP 599"),
    ],
    ids=str,
)
def test_what_is_no_success(
    ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer, message: str
) -> None:
    answer.headers["x-correlation-id"] = "c-9"
    ods.script = lambda _: answer
    out = post(runner, frame(ods, ["{}"]))
    assert out["status"].item() == "error"
    assert out["message"].item().startswith(message)
    assert "Ada" not in out["message"].item()
    assert out["http_status"].item() == answer.status
    assert out["correlation_id"].item() == "c-9"
    assert out["resource_id"].item() is None
    assert len(ods.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("same_origin", [True, False])
def test_a_redirect_is_an_error_and_not_followed(
    make_ods: MakeOds, runner: edfi.StudentAssessment, status: int, same_origin: bool
) -> None:
    ods, other = make_ods(), make_ods()
    target = (ods if same_origin else other).url + "/data/v3/ed-fi/studentAssessments/x"
    ods.script = lambda _: Answer(status, headers={"location": target})
    out = post(runner, frame(ods, ["{}"]), retry_broken=True)
    assert out["status"].item() == "error"
    assert out["message"].item().startswith(f"HTTP {status} ")
    assert out["resource_id"].item() is None
    assert len(ods.requests) == 1
    assert other.requests == []


@pytest.mark.parametrize(
    ("location", "resource_id"),
    [
        ("https://wrong.example.org:8/data/v3/ed-fi/studentAssessments/abc", "abc"),
        ("/data/v3/ed-fi/studentAssessments/abc", "abc"),
        ("abc", "abc"),
        ("studentAssessments/abc/", "abc"),
        ("/data/v3/ed-fi/StudentAssessments/abc", "abc"),
        ("http://x/y/abc?z=1/2#d/e", "abc"),
        ("http://x/ed-fi/y", "y"),
        ("/data/v3/ed-fi/students/abc", None),
        ("/data/v3/ed-fi/studentAssessments/", None),
        ("", None),
        ("/", None),
        ("/x/a%20b", "a b"),
        ("/x/..", None),
        ("/x/%2e", None),
        ("/x/%ff", None),
        (f"/x/{'a' * 201}", None),
        (None, None),
    ],
)
def test_the_resource_id_is_the_last_segment_of_location(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    location: str | None,
    resource_id: str | None,
) -> None:
    headers = {} if location is None else {"Location": location}
    ods.script = lambda _: Answer(201, headers=headers)
    out = post(runner, frame(ods, ["{}"]))
    assert out["resource_id"].to_list() == [resource_id]
    assert out["status"].to_list() == [None]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"message": "Bad.", "detail": "Not this."}, ": Bad."),
        ({"error": "bad_request"}, ": bad_request"),
        (
            {
                "detail": "See 'validationErrors'.",
                "validationErrors": {"$.a": ["A is required.", "A is odd."], "$.b": ["B."]},
                "errors": ["And more."],
            },
            ": See 'validationErrors'.; $.a: A is required.; $.a: A is odd.; $.b: B.; And more.",
        ),
        ({"message": "Invalid.", "modelState": {"r.x": ["X."]}}, ": Invalid.; r.x: X."),
        ({}, ""),
        ([], ""),
        ("Nothing of the kind", ""),
        ({"message": 7}, ": 7"),
    ],
)
def test_messages_say_what_the_server_says(
    ods: ScriptedOds, runner: edfi.StudentAssessment, body: Any, text: str
) -> None:
    ods.script = lambda _: Answer(400, body)
    out = post(runner, frame(ods, ["{}"]))
    assert out["message"].item() == "HTTP 400 Bad Request" + text


def test_a_message_has_a_sane_length(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.script = lambda _: Answer(400, {"message": "é" * 50_000})
    assert 1000 < len(post(runner, frame(ods, ["{}"]))["message"].item()) < 5000


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ({"correlationId": "body"}, {"correlation-id": "header"}, "body"),
        ({"correlationId": None}, {"correlation-id": "header"}, "header"),
        ({}, {"X-Correlation-Id": "header"}, "header"),
        ("<html>", {"Correlation-Id": "header"}, "header"),
        ({}, {}, None),
    ],
)
def test_correlation_ids(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    body: Any,
    headers: dict[str, str],
    expected: str | None,
) -> None:
    ods.script = lambda _: Answer(500, body, headers)
    assert post(runner, frame(ods, ["{}"]))["correlation_id"].to_list() == [expected]


def test_details_list_single_errors(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    answers: list[tuple[dict[str, object], str | None, list[dict[str, str | None]] | None]] = [
        (
            {"type": "urn:ed-fi:api:bad-request:data", "validationErrors": {"$.a": ["x", "y"]}},
            "urn:ed-fi:api:bad-request:data",
            [{"path": "$.a", "message": "x"}, {"path": "$.a", "message": "y"}],
        ),
        ({"errors": ["taken"]}, None, [{"path": None, "message": "taken"}]),
        ({"modelState": {"r.b": ["no"]}}, None, [{"path": "r.b", "message": "no"}]),
        ({"detail": "No."}, None, None),
    ]
    ods.script = lambda request: (
        None if number(request) == len(answers) else Answer(400, answers[number(request)][0])
    )
    df = frame(ods, numbered(len(answers) + 1))
    out = post(runner, df, details=True)
    error = pl.Struct({"path": pl.String, "message": pl.String})
    assert out.schema == RESULT | {"problem": pl.String, "errors": pl.List(error)}
    assert out["problem"].to_list() == [problem for _, problem, _ in answers] + [None]
    assert out["errors"].to_list() == [errors for *_, errors in answers] + [None]
    for commit, rows in ((False, df), (True, df.clear())):
        assert post(runner, rows, commit=commit, details=True).schema == out.schema
    assert post(runner, df).schema == RESULT
