"""Posting: what goes over the wire, and what is said of each row."""

import gzip
import itertools
import json
import math
import os
import re
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds
from polars.exceptions import ColumnNotFoundError, SchemaError
from polars.testing import assert_frame_equal

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
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
STUDENT_ASSESSMENTS = "ed-fi/studentAssessments"
BROKEN = "connection broken after the request was sent; it may have been applied"
REAUTH = {
    "auth_key_col": "oAuthKey",
    "auth_secret_col": "oAuthSecret",
    "oauth_endpoint": "oauth/token",
}


def frame(ods: ScriptedOds, payloads: Any, **columns: object) -> pl.DataFrame:
    """One row per payload, all for one district."""
    values = pl.Series("payload", payloads)
    cells = {"targetUrl": ods.url, "EdFi Token": "token"} | columns
    lits = {name: pl.lit(cell) for name, cell in cells.items() if not isinstance(cell, list)}
    lists = {name: pl.Series(cell) for name, cell in cells.items() if isinstance(cell, list)}
    key = pl.int_range(pl.len(), dtype=pl.Int64).alias("key")
    return pl.DataFrame(values).with_columns(key, **lits).with_columns(**lists)


def post(
    runner: edfi.EdFiClient, df: pl.DataFrame, *, commit: bool = True, **arguments: Any
) -> pl.DataFrame:
    """Post with the columns' usual names."""
    names = {"payload_col": "payload", "key_col": "key"}
    return runner.batch_post_payload(df, **(names | {"commit": commit} | arguments))


def bodies(ods: ScriptedOds) -> list[bytes]:
    return [request.body for request in ods.paths() if request.method == "POST"]


def numbered(count: int) -> list[str]:
    return [f'{{"n": {n}}}' for n in range(count)]


def number(request: Request) -> int:
    return int(json.loads(request.body)["n"])


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Tells when Ctrl-C has reached Python."""
    seen = threading.Event()

    def handler(number: int, frame: object) -> None:
        seen.set()
        signal.default_int_handler(number, frame)  # type: ignore[arg-type]

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# Results


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
        ("http://x/y/abc?z=1/2#d/e", "abc"),
        ("", None),
        ("/", None),
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


# JSON text


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        ' {"a" :\t1 }\r\n',
        '\n\n{"a": 1}',
        '{"a":"ü \\u00fc \U0001f600 \\ud83d\\ude00 \\/"}',
        '{"lone": "\\ud800"}',
        '{"n": 1.0, "m": 1e5, "o": 1E+05, "p": -0.0, "q": 123456789012345678901234567890.10}',
        '{"huge": 1e999, "tiny": 1e-999}',
        '{"a": 1, "a": 2}',
        '{"id": "x", "_etag": "1", "studentReference": {"link": {"rel": "Student"}}, "b": null}',
        '{"": {"": []}}',
        '{"long": "' + "x" * 300_000 + '"}',
        '{"deep": ' + "[" * 100 + "]" * 100 + "}",
    ],
    ids=lambda text: text[:30],
)
def test_json_text_is_sent_byte_for_byte(
    ods: ScriptedOds, runner: edfi.StudentAssessment, text: str
) -> None:
    out = post(runner, frame(ods, [text]))
    assert out["status"].to_list() == [None], out["message"]
    assert bodies(ods) == [text.encode()]


def test_single_json_text_is_sent_byte_for_byte(ods: ScriptedOds) -> None:
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    assert client.post_payload(' {"a" : 1.0}\n', key=1, commit=True)["status"] is None
    assert bodies(ods) == [b' {"a" : 1.0}\n']


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(['{"a":1}'])], ids=str)
def test_json_text_may_be_categorical(
    ods: ScriptedOds, runner: edfi.StudentAssessment, dtype: Any
) -> None:
    post(runner, frame(ods, pl.Series(['{"a":1}'] * 2, dtype=dtype)))
    assert bodies(ods) == [b'{"a":1}'] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing 'payload'"),
        ("", "missing 'payload'"),
        (" \t", "missing 'payload'"),
        ("[]", "invalid JSON: "),
        ('[{"Ada": 1}]', "invalid JSON: "),
        ("null", "invalid JSON: "),
        ('"Ada"', "invalid JSON: "),
        ("1", "invalid JSON: "),
        ('{"Ada": 1', "invalid JSON: "),
        ('{"Ada": 1}}', "invalid JSON: "),
        ('{"Ada": 1} {"Ada": 2}', "invalid JSON: "),
        ("{'Ada': 1}", "invalid JSON: "),
        ('{"Ada": NaN}', "invalid JSON: "),
        ('{"Ada": 1,}', "invalid JSON: "),
        ('{"Ada": 01}', "invalid JSON: "),
        ('{"Ada": "\n"}', "invalid JSON: "),
        ('{"Ada": "\\x"}', "invalid JSON: "),
        ("\ufeff{}", "invalid JSON: "),
        ('{"a": ' + "[" * 100_000, "invalid JSON: "),
    ],
    ids=lambda text: str(text)[:20],
)
def test_bad_json_is_the_error_of_its_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment, text: str | None, message: str
) -> None:
    out = post(runner, frame(ods, ['{"n": 0}', text, '{"n": 2}']))
    assert out["status"].to_list() == [None, "error", None]
    assert out["message"][1].startswith(message)
    assert "Ada" not in out["message"][1]
    assert out.select("http_status", "correlation_id", "resource_id").row(1) == (None,) * 3
    assert out["attempts"].to_list() == [1, 0, 1]
    assert sorted(bodies(ods)) == [b'{"n": 0}', b'{"n": 2}']


def test_one_bad_payload_among_thousands() -> None:
    count, bad = 3000, 1717
    texts = [
        f'{{"studentUniqueId": "{n}", "firstName": "A", "lastSurname": "B", ' for n in range(count)
    ]
    texts = [text + '"birthDate": "2015-01-02"}' for text in texts]
    texts[bad] = texts[bad][:-1]
    with edfi.Sandbox(["1"], 0) as ods:
        url, key, secret = ods.districts().row(0)[1:]
        runner = edfi.Resource("ed-fi/students", base_url=url, client_id=key, client_secret=secret)
        before = runner.get_all(key=1)["data"]
        assert before is not None
        out = post(runner, pl.DataFrame({"payload": texts, "key": range(count)}))
        after = runner.get_all(key=1)["data"]
    assert after is not None
    assert out.filter(pl.col("status").is_not_null())["row_index"].to_list() == [bad]
    assert out["row_index"].to_list() == list(range(count))
    good = out.filter(pl.col("status").is_null())
    assert good["http_status"].unique().to_list() == [201]
    assert good["resource_id"].n_unique() == count - 1
    assert after.height - before.height == count - 1


# Rows, credentials, hosts


def test_cells_that_are_missing(make_ods: MakeOds) -> None:
    """Nothing goes to the runner's own ODS in their place."""
    own, other = make_ods(), make_ods()
    runner = edfi.StudentAssessment(
        base_url=own.url, bearer_token="own", api_version="v3", max_retries=0
    )
    df = pl.DataFrame(
        {
            "key": range(6),
            "payload": ["{}"] * 6,
            "targetUrl": [None, "  ", other.url, other.url, None, f" {other.url}/ "],
            "EdFi Token": ["token", "token", None, " ", None, " token "],
        }
    )
    out = post(runner, df)
    assert out["status"].to_list() == ["error"] * 5 + [None]
    assert out["message"].to_list()[:5] == [
        "missing 'targetUrl'",
        "missing 'targetUrl'",
        "missing 'EdFi Token'",
        "missing 'EdFi Token'",
        "missing 'targetUrl'",
    ]
    assert own.requests == []
    assert [request.token for request in other.requests] == ["token"]


@pytest.mark.parametrize("url", [None, "", "x", "ftp://x.org", "http://ods.example.org/api"])
def test_urls_that_are_none_or_not_safe(make_ods: MakeOds, url: str | None) -> None:
    own = make_ods()
    runner = edfi.StudentAssessment(base_url=own.url, bearer_token="own", api_version="v3")
    out = post(runner, frame(own, ["{}"] * 2, targetUrl=[url, own.url]))
    assert out["status"].to_list() == ["error", None]
    assert len(own.requests) == 1
    if url == "http://ods.example.org/api":
        assert "allow_http=True" in out["message"][0]


def test_the_runners_credentials_stay_at_home(make_ods: MakeOds) -> None:
    own, other = make_ods(), make_ods()
    own.secret = "k:s"
    runner = edfi.StudentAssessment(
        base_url=own.url, client_id="k", client_secret="s", api_version="v3"
    )
    df = frame(own, ["{}"] * 3, targetUrl=[own.url, other.url, own.url]).drop("EdFi Token")
    out = post(runner, df, workers=1)
    assert out["status"].to_list() == [None, "error", None]
    assert out["message"][1].startswith("missing 'EdFi Token'")
    assert other.requests == []
    assert [request.method for request in own.paths("/oauth")] == ["POST"]


def test_columns_that_are_absent_are_served_by_the_runner(ods: ScriptedOds) -> None:
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    df = frame(ods, ["{}"]).drop("EdFi Token", "targetUrl")
    assert post(runner, df)["status"].to_list() == [None]


def test_rows_of_many_districts_keep_to_their_own(
    make_ods: MakeOds, runner: edfi.StudentAssessment
) -> None:
    servers = [make_ods() for _ in range(3)]
    for place, server in enumerate(servers):
        server.tokens = {f"token-{place}"}
    df = pl.concat(
        frame(server, numbered(20), **{"EdFi Token": f"token-{place}", "place": place})
        for place, server in enumerate(servers)
    ).sample(fraction=1, shuffle=True, seed=1)
    out = post(runner, df, key_col="place", workers=6)
    assert out["status"].null_count() == 60
    assert out["key"].to_list() == df["place"].to_list()
    for server in servers:
        assert sorted(map(number, server.requests)) == list(range(20))


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({}, [0, 3, 4]),
        ({"skip_statuses": []}, [0, 1, 2, 3, 4]),
        ({"skip_statuses": ["odd"]}, [0, 1, 2, 4]),
        ({"skip_statuses": "error"}, [0, 2, 3, 4]),
        ({"status_col": "other"}, [1]),
    ],
)
@pytest.mark.parametrize("commit", [True, False])
def test_rows_that_are_done_with(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    arguments: dict[str, Any],
    kept: list[int],
    commit: bool,
) -> None:
    df = frame(ods, numbered(5)).with_columns(
        pl.Series("row status", [None, "error", "warning", "odd", ""]),
        pl.Series("other", ["error", None, "warning", "error", "error"]),
        pl.Series("own id", [10, 11, 12, 13, 14]),
    )
    out = post(runner, df, commit=commit, row_id_col="own id", **arguments)
    assert out["row_index"].to_list() == kept
    assert out["key"].to_list() == kept
    assert out["row_id"].to_list() == [10 + row for row in kept]
    assert sorted(map(number, ods.requests)) == (kept if commit else [])


def test_results_come_back_onto_the_frame(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.script = lambda request: Answer(400) if number(request) % 2 else None
    df = frame(ods, numbered(6)).with_columns(
        pl.when(pl.col("key") == 2).then(pl.lit("error")).alias("row status")
    )
    out = post(runner, df)
    back = df.with_row_index("row_index").join(
        out.drop("key"), on="row_index", how="left", maintain_order="left"
    )
    assert back["http_status"].to_list() == [201, 400, None, 400, 201, 400]


def test_versions_and_endpoints(ods: ScriptedOds) -> None:
    runner = edfi.Resource("/tpdm/candidates/", api_version="7.1")
    df = frame(ods, ["{}"] * 4, version=["v2", None, " ", "6.2"])
    post(runner, df, api_version_col="version", workers=1)
    post(runner, df.head(1), endpoint="/ed-fi/students/")
    assert [request.path for request in ods.requests] == [
        "/data/v2/tpdm/candidates",
        *["/data/v3/tpdm/candidates"] * 3,
        "/data/v3/ed-fi/students",
    ]


def test_the_version_is_asked_for_once(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer | None:
        if request.method == "GET":
            url = f"https://elsewhere{request.path}data/v9/"
            return Answer(200, {"urls": {"dataManagementApi": url}})
        return Answer(201)

    ods.script, ods.serves_metadata = script, True
    out = post(edfi.StudentAssessment(), frame(ods, numbered(10)), workers=4)
    assert out["status"].null_count() == 10
    assert Counter((request.method, request.path) for request in ods.requests) == {
        ("GET", "/"): 1,
        ("POST", "/data/v9/ed-fi/studentAssessments"): 10,
    }


# Dry run


def test_a_dry_run_sends_nothing(ods: ScriptedOds) -> None:
    df = frame(ods, numbered(3))
    for runner in (
        edfi.StudentAssessment(),
        edfi.StudentAssessment(base_url=ods.url, client_id="key", client_secret="secret"),
    ):
        for columns in (df.columns, ["key", "payload"]):
            out = runner.batch_post_payload(
                df.select(columns), payload_col="payload", key_col="key"
            )
            assert out["status"].to_list() == ["dry_run"] * 3
            assert out["attempts"].to_list() == [0] * 3
            assert (
                out.drop("key", "status", "attempts", "row_index").null_count().row(0) == (3,) * 5
            )
            assert runner.rows is out
    assert ods.requests == []


def test_a_single_dry_run_needs_nothing() -> None:
    assert edfi.StudentAssessment().post_payload({"a": 1}, key="k") == {
        "key": "k",
        "status": "dry_run",
        "message": None,
        "http_status": None,
        "correlation_id": None,
        "resource_id": None,
    }


# Wrong arguments


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ColumnNotFoundError, {"payload_col": "nope"}),
        (ColumnNotFoundError, {"key_col": "nope"}),
        (ColumnNotFoundError, {"row_id_col": "nope"}),
        (ColumnNotFoundError, {"order_by_col": "nope"}),
        (ColumnNotFoundError, {"status_col": "nope"}),
        (ColumnNotFoundError, {"url_col": "nope"}),
        (ColumnNotFoundError, {"token_col": "nope"}),
        (ColumnNotFoundError, {"api_version_col": "nope"}),
        (ColumnNotFoundError, {"auth_key_col": "nope"}),
        (ColumnNotFoundError, {"auth_secret_col": "nope"}),
        (ColumnNotFoundError, {"expires_col": "nope"}),
        (SchemaError, {"payload_col": "key"}),
        (SchemaError, {"payload_col": "list"}),
        (SchemaError, {"key_col": "list"}),
        (SchemaError, {"order_by_col": "list"}),
        (SchemaError, {"status_col": "key"}),
        (SchemaError, {"url_col": "key"}),
        (SchemaError, {"token_col": "key"}),
        (SchemaError, {"expires_col": "list"}),
        (edfi.EdFiError, {"retry_statuses": {401}}),
        (edfi.EdFiError, {"retry_statuses": [500, 401]}),
        (edfi.EdFiError, {"retry_statuses": 500}),
        (edfi.EdFiError, {"retry_statuses": [-1]}),
        (edfi.EdFiError, {"retry_statuses": ["500"]}),
        (edfi.EdFiError, {"retry_messages": [1]}),
        (edfi.EdFiError, {"max_retries": -1}),
        (edfi.EdFiError, {"max_retries": 1.5}),
        (edfi.EdFiError, {"max_retries": math.nan}),
        (edfi.EdFiError, {"retry_backoff": -0.1}),
        (edfi.EdFiError, {"retry_backoff": math.nan}),
        (edfi.EdFiError, {"retry_backoff": "1"}),
        (edfi.EdFiError, {"refresh_cooldown": -1}),
        (edfi.EdFiError, {"refresh_cooldown": math.nan}),
        (edfi.EdFiError, {"allow_statuses": [409]}),
        (edfi.EdFiError, {"allow_statuses": {409: 1}}),
        (edfi.EdFiError, {"workers": 0}),
        (edfi.EdFiError, {"workers": -3}),
        (edfi.EdFiError, {"endpoint": ""}),
        (edfi.EdFiError, {"endpoint": "ed-fi/../x"}),
        (edfi.EdFiError, {"endpoint": "ed-fi/students?x=1"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)
def test_wrong_arguments_raise_before_anything_is_sent(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    error: type[Exception],
    arguments: dict[str, Any],
    commit: bool,
) -> None:
    df = frame(ods, numbered(3)).with_columns(list=pl.lit([1]), payload_2="payload")
    with pytest.raises(error):
        post(runner, df, commit=commit, **arguments)
    assert ods.requests == []
    assert runner.rows is None


@pytest.mark.parametrize("not_a_frame", [None, [{"payload": "{}"}], pl.LazyFrame({"payload": [1]})])
def test_what_is_not_a_frame(runner: edfi.StudentAssessment, not_a_frame: Any) -> None:
    with pytest.raises(TypeError, match="DataFrame"):
        post(runner, not_a_frame)


def test_a_batch_without_url_or_credentials(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    for name in ("targetUrl", "EdFi Token"):
        with pytest.raises(ColumnNotFoundError, match=name):
            post(runner, frame(ods, ["{}"]).drop(name))
    assert ods.requests == []


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


# Workers


@pytest.mark.parametrize(("workers", "rows"), [(1, 36), (3, 36), (12, 36), (16, 96)])
def test_so_many_requests_are_in_flight(
    ods: ScriptedOds, runner: edfi.StudentAssessment, workers: int, rows: int
) -> None:
    barrier = threading.Barrier(workers)
    flying, most = 0, 0
    lock = threading.Lock()

    def script(_: Request) -> Answer:
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        barrier.wait(30)
        with lock:
            flying -= 1
        return Answer(201)

    ods.script, ods.one_at_a_time = script, False
    out = post(runner, frame(ods, numbered(rows)), workers=workers)
    assert out["key"].to_list() == list(range(rows))
    assert out["status"].null_count() == rows
    assert most == workers
    connections = len({request.port for request in ods.requests})
    assert connections <= workers + 10, "connections stay open"
    assert sorted(map(number, ods.requests)) == list(range(rows))


def test_rows_of_one_key_go_one_after_another(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    keys = 4
    barrier = threading.Barrier(keys)
    flying: Counter[int] = Counter()
    seen: list[int] = []
    lock = threading.Lock()

    def script(request: Request) -> Answer:
        n = number(request)
        with lock:
            seen.append(n)
            flying[n % keys] += 1
            assert flying[n % keys] == 1
        barrier.wait(30)
        with lock:
            flying[n % keys] -= 1
        return Answer(201)

    ods.script, ods.one_at_a_time = script, False
    df = frame(ods, numbered(40)).with_columns(natural=pl.col("key") % keys)
    out = post(runner, df, workers=16, order_by_col="natural")
    assert out["status"].null_count() == 40
    assert out["key"].to_list() == list(range(40))
    for key in range(keys):
        assert [n for n in seen if n % keys == key] == list(range(key, 40, keys))


@pytest.mark.parametrize("dtype", [pl.String, pl.Int32, pl.Categorical], ids=str)
def test_rows_without_a_key_wait_for_nobody(
    ods: ScriptedOds, runner: edfi.StudentAssessment, dtype: Any
) -> None:
    barrier = threading.Barrier(4)

    def script(_: Request) -> Answer:
        barrier.wait(30)
        return Answer(201)

    ods.script, ods.one_at_a_time = script, False
    df = frame(ods, numbered(4)).with_columns(natural=pl.lit(None, dtype))
    assert post(runner, df, workers=4, order_by_col="natural")["status"].null_count() == 4


def test_a_failed_row_does_not_stop_those_of_its_key(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda request: Answer(400) if number(request) == 1 else None
    df = frame(ods, [*numbered(3), "{", '{"n": 4}'], natural="x")
    out = post(runner, df, order_by_col="natural", workers=4)
    assert out["http_status"].to_list() == [201, 400, 201, None, 201]
    assert list(map(number, ods.requests)) == [0, 1, 2, 4]


# Posting again


def test_posts_are_not_repeated_by_themselves(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    statuses = [408, 429, 500, 502, 503, 504]
    ods.script = lambda request: Answer(statuses[number(request)])
    out = post(runner, frame(ods, numbered(6)))
    assert out["http_status"].to_list() == statuses
    assert out["status"].to_list() == ["error"] * 6
    assert len(ods.requests) == 6


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
        if number(request) >= workers:
            return Answer(201)
        barrier.wait(30)
        if number(request) > 0:
            # The others are answered once the first has closed the gate.
            time.sleep(0.5)
            return Answer(201)
        return Answer(status, headers={"retry-after": "1"})

    ods.script, ods.one_at_a_time = script, False
    out = post(runner, frame(ods, numbered(12)), workers=workers)
    assert out["status"].to_list() == ["error", *[None] * 11]
    seen.sort()
    assert seen[workers] - seen[workers - 1] >= 1
    assert len(seen) == 12


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


# Connections that break


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


# Tokens


def test_a_refused_token_without_a_way_to_renew_it(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    out = post(runner, frame(ods, numbered(5), **{"EdFi Token": "old"}))
    assert out["message"].unique().to_list() == ["auth error: HTTP 401"]
    assert out["http_status"].unique().to_list() == [401]
    assert len(ods.requests) == 5


def test_one_renewal_serves_all_workers(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.secret = "one:renewal"
    workers = 6
    barrier = threading.Barrier(workers)

    def script(request: Request) -> Answer | None:
        if request.token == "old":
            barrier.wait(30)
        return None

    ods.script, ods.one_at_a_time = script, False
    cells = {"EdFi Token": "old", "oAuthKey": "one", "oAuthSecret": "renewal"}
    out = post(runner, frame(ods, numbered(30), **cells), workers=workers, **REAUTH)
    assert out["status"].null_count() == 30
    assert out["attempts"].to_list().count(2) == workers
    assert len(ods.paths("/oauth")) == 1
    posted = Counter(request.token == "old" for request in ods.paths())
    assert posted == {True: workers, False: 30}


def test_tokens_that_are_over_or_missing_are_fetched_first(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.secret = "over:missing"
    past = datetime.now(UTC) - timedelta(seconds=5)
    cells = {"oAuthKey": "over", "oAuthSecret": "missing"}
    for columns in (
        {"EdFi Token": "old", "ends": past},
        {"EdFi Token": "old", "ends": str(past.timestamp())},
        {"EdFi Token": "old", "ends": past.timestamp()},
        {"EdFi Token": None, "ends": None},
        {"EdFi Token": " ", "ends": None},
    ):
        ods.requests.clear()
        df = frame(ods, numbered(4), **(cells | columns)).with_columns(
            pl.col("EdFi Token").cast(pl.String)
        )
        out = post(runner, df, expires_col="ends", **REAUTH)
        assert out["attempts"].to_list() == [1] * 4, columns
        assert all(request.token != "old" for request in ods.paths())


@pytest.mark.parametrize(
    ("cells", "arguments", "message"),
    [
        (
            {"oAuthKey": " "},
            REAUTH,
            "auth error: HTTP 401 (re-auth not possible: empty 'oAuthKey')",
        ),
        (
            {},
            {"auth_key_col": "oAuthKey", "auth_secret_col": "oAuthSecret"},
            "auth error: HTTP 401 (re-auth not possible: oauth_endpoint not set)",
        ),
        (
            {"oAuthSecret": "wrong"},
            REAUTH,
            "auth error: HTTP 401; auth refresh failed: auth error: HTTP 401",
        ),
        (
            {"ends": 1, "oAuthSecret": "wrong"},
            REAUTH | {"expires_col": "ends"},
            "auth refresh failed: auth error: HTTP 401",
        ),
    ],
    ids=str,
)
def test_renewals_that_fail(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    cells: dict[str, object],
    arguments: dict[str, Any],
    message: str,
) -> None:
    cells = {"EdFi Token": "old", "oAuthKey": "failing", "oAuthSecret": "s"} | cells
    ods.secret = "failing:s"
    out = post(runner, frame(ods, ["{}"], **cells), **arguments)
    assert out["status"].item() == "error"
    assert out["message"].item() == message
    sent = "ends" not in cells
    assert out["http_status"].item() == (401 if sent else None)
    assert out["attempts"].item() == int(sent)


def test_a_401_that_is_allowed_is_not_renewed(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.secret = "not:renewed"
    cells = {"EdFi Token": "old", "oAuthKey": "not", "oAuthSecret": "renewed"}
    for status in ("warning", None):
        ods.requests.clear()
        out = post(runner, frame(ods, numbered(3), **cells), allow_statuses={401: status}, **REAUTH)
        assert out["status"].to_list() == [status] * 3
        assert out["message"].to_list() == ["auth error: HTTP 401"] * 3
        assert out["http_status"].to_list() == [401] * 3
        assert len(ods.requests) == 3


def test_tokens_that_are_refused_for_ever_fail_fast(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda request: Answer(401) if request.path.startswith("/data") else None
    ods.secret = "for:ever"
    cells = {"EdFi Token": "old", "oAuthKey": "for", "oAuthSecret": "ever"}
    begin = time.monotonic()
    out = post(
        runner, frame(ods, numbered(200), **cells), refresh_cooldown=0.5, workers=4, **REAUTH
    )
    assert time.monotonic() - begin < 20
    assert out["status"].to_list() == ["error"] * 200
    assert out["message"].str.contains("auth error: HTTP 401").all()
    assert len(ods.paths("/oauth")) < 20
    assert len(ods.paths()) < 40
    paused = out["message"].str.contains(r"refresh paused \d+ s after \d+ failed refreshes")
    assert paused.sum() > 100


def test_a_token_that_no_header_can_carry(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    out = post(runner, frame(ods, ["{}"], **{"EdFi Token": "to\nken-5ecret"}))
    assert out["status"].item() == "error"
    assert "5ecret" not in out["message"].item()
    assert out["attempts"].item() == 0
    assert ods.requests == []


# Ctrl-C


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


# Struct payloads


def sent(
    ods: ScriptedOds, runner: edfi.EdFiClient, column: pl.Series, **arguments: Any
) -> list[str]:
    """What is posted for a Struct column, in the order of its rows."""
    out = post(runner, frame(ods, column), workers=1, **arguments)
    assert out["status"].null_count() == len(column), out["message"].to_list()
    return [body.decode() for body in bodies(ods)]


def test_structs_are_encoded_exactly(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    dtype = pl.Struct(
        {
            "date": pl.Date,
            "naive": pl.Datetime("ms"),
            "utc": pl.Datetime("us", "UTC"),
            "zone": pl.Datetime("ns", "America/Chicago"),
            "time": pl.Time,
            "decimal": pl.Decimal(38, 10),
            "i64": pl.Int64,
            "u64": pl.UInt64,
            "i8": pl.Int8,
            "f64": pl.Float64,
            "f32": pl.Float32,
            "bool": pl.Boolean,
            "text": pl.String,
            "cat": pl.Categorical,
            "enum": pl.Enum(["é"]),
            "null": pl.Null,
            "array": pl.Array(pl.Int16, 2),
        }
    )
    moment = datetime(2024, 2, 29, 13, 5, 6, 123000, UTC)
    row = {
        "date": date(1850, 3, 1),
        "naive": moment.replace(tzinfo=None),
        "utc": moment,
        "zone": moment,
        "time": clock(7, 8, 9, 500000),
        "decimal": Decimal("1234567890123456789012345678.0123456789"),
        "i64": 2**63 - 1,
        "u64": 2**64 - 1,
        "i8": -128,
        "f64": 0.1,
        "f32": 0.1,
        "bool": False,
        "text": '\t"\\\u0001é\u2028\U0001f600',
        "cat": "c",
        "enum": "é",
        "null": None,
        "array": [1, None],
    }
    (text,) = sent(ods, runner, pl.Series([row], dtype=dtype, strict=False))
    found = json.loads(text, parse_float=str, parse_int=str)
    assert found == {
        "date": "1850-03-01",
        "naive": "2024-02-29T13:05:06.123",
        "utc": "2024-02-29T13:05:06.123Z",
        "zone": "2024-02-29T13:05:06.123Z",
        "time": "07:08:09.500",
        "decimal": "1234567890123456789012345678.0123456789",
        "i64": str(2**63 - 1),
        "u64": str(2**64 - 1),
        "i8": "-128",
        "f64": "0.1",
        "f32": "0.1",
        "bool": False,
        "text": row["text"],
        "cat": "c",
        "enum": "é",
        "array": ["1", None],
    }
    assert list(found) == [name for name in row if name != "null"]


def test_nulls_are_left_out_at_every_depth(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    inner = pl.Struct({"x": pl.Int8, "deep": pl.Struct({"y": pl.String})})
    dtype = pl.Struct({"a": inner, "l": pl.List(inner), "s": pl.List(pl.String), "z": pl.Int8})
    rows = [
        {"a": None, "l": None, "s": None, "z": None},
        {"a": {"x": None, "deep": {"y": None}}, "l": [], "s": [], "z": 0},
        {"a": {"x": 1, "deep": {"y": None}}, "l": [None, {"x": None, "deep": None}], "s": [None]},
        {"a": {"x": None, "deep": {"y": ""}}, "l": [{"x": 1, "deep": {"y": None}}], "s": [""]},
    ]
    assert sent(ods, runner, pl.Series(rows, dtype=dtype)) == [
        "{}",
        '{"l":[],"s":[],"z":0}',
        '{"a":{"x":1},"l":[null,{}],"s":[null]}',
        '{"a":{"deep":{"y":""}},"l":[{"x":1}],"s":[""]}',
    ]


def test_rows_of_a_struct_stay_where_they_are(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    """Slices, filters, reversals and chunks: the row of the frame is the row that is sent."""

    def payload(n: int) -> dict[str, Any]:
        fields: dict[str, Any] = {"n": n, "l": [{"v": n}] * (n % 3)}
        if n % 4:
            fields["r"] = {"t": str(n)}
        return fields

    dtype = pl.Struct(
        {
            "n": pl.Int64,
            "l": pl.List(pl.Struct({"v": pl.Int64})),
            "r": pl.Struct({"t": pl.String}),
        }
    )
    df = pl.DataFrame({"payload": pl.Series([payload(n) for n in range(60)], dtype=dtype)})
    chunked = pl.concat([df.slice(0, 7), df.slice(7, 20), df.slice(27)], rechunk=False)
    for part in (
        df.slice(13, 20),
        df.filter(pl.col("payload").struct.field("n") % 7 == 3),
        df.reverse(),
        chunked,
        chunked.slice(5, 40),
        df.head(0),
    ):
        ods.requests.clear()
        expected = [payload(n) for n in part["payload"].struct.field("n").to_list()]
        texts = sent(ods, runner, part["payload"])
        assert [json.loads(text) for text in texts] == expected


def test_a_null_struct_is_missing(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    column = pl.Series([{"a": 1}, None, {"a": None}], dtype=pl.Struct({"a": pl.Int8}))
    out = post(runner, frame(ods, column), workers=1)
    assert out["message"].to_list() == [None, "missing 'payload'", None]
    assert bodies(ods) == [b'{"a":1}', b"{}"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for(
    ods: ScriptedOds, runner: edfi.StudentAssessment, bad: float
) -> None:
    rows = [{"a": {"b": [1.0]}}, {"a": {"b": [2.0, bad]}}, {"a": {"b": [3.0]}}]
    out = post(runner, frame(ods, pl.Series(rows)))
    assert out["status"].to_list() == [None, "error", None]
    assert "a.b" in out["message"][1]
    assert "NaN" in out["message"][1]
    assert sorted(bodies(ods)) == [b'{"a":{"b":[1.0]}}', b'{"a":{"b":[3.0]}}']


@pytest.mark.parametrize(
    "dtype", [pl.Binary, pl.Duration, pl.List(pl.Duration), pl.Struct({"x": pl.Binary})], ids=str
)
@pytest.mark.parametrize("commit", [True, False])
def test_dtypes_that_json_cannot_hold(
    ods: ScriptedOds, runner: edfi.StudentAssessment, dtype: Any, commit: bool
) -> None:
    column = pl.Series([{"a": None}], dtype=pl.Struct({"a": dtype}))
    with pytest.raises(SchemaError, match=r"payload\.a"):
        post(runner, frame(ods, column), commit=commit)
    assert ods.requests == []


def test_server_fields_stay_at_home(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    link = {"rel": "X", "href": "/x"}
    row = {
        "id": "1",
        "_etag": "2",
        "_lastModifiedDate": "3",
        "link": link,
        "aReference": {"k": 1, "link": link},
        "onlyReference": {"link": link},
        "parts": [{"id": "4", "link": link, "bReference": {"k": 2, "link": link}}],
        "other": {"id": "5", "link": link},
    }
    (text,) = sent(ods, runner, pl.Series([row]))
    assert json.loads(text) == {
        "link": link,
        "aReference": {"k": 1},
        "parts": [{"id": "4", "link": link, "bReference": {"k": 2}}],
        "other": {"id": "5", "link": link},
    }
    ods.requests.clear()
    (text,) = sent(ods, runner, pl.Series([row]), keep_server_fields=True)
    assert json.loads(text) == row


def test_what_had_no_column_goes_back(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    original = [
        {
            "id": f"{n}",
            "n": n if n % 2 else f"text {n}",
            "big": 123456789012345678901234567890 + n,
            "ref": {"name": "r", "more": {"x": [1, {"y": n}]}},
            "list": [{"a": 1, "b": n}, {"a": 2}],
            "empty": {},
        }
        for n in range(6)
    ]
    ods.records = original
    schema = {
        "id": pl.String,
        "n": pl.Int64,
        "ref.name": pl.String,
        "list": pl.List(pl.Struct({"a": pl.Int64})),
    }
    read = runner.batch_get_all(frame(ods, ["{}"]), key_col="key", schema=schema)
    assert read["_unknown"].null_count() == 0
    payload = edfi.unflatten(read.select(*schema, "_unknown"))["payload"]
    texts = sent(ods, runner, payload)
    expected = [{k: v for k, v in row.items() if k not in ("id", "empty")} for row in original]
    assert [json.loads(text) for text in texts] == expected
    ods.requests.clear()
    edited = pl.DataFrame(payload).unnest("payload").with_columns(n=pl.lit(7, pl.Int64))
    texts = sent(ods, runner, edfi.unflatten(edited)["payload"], keep_server_fields=True)
    assert [json.loads(text)["n"] for text in texts] == [7] * 6
    assert [json.loads(text)["id"] for text in texts] == [row["id"] for row in original]


@pytest.mark.parametrize("text", ["{", "[1]", "1", ""])
def test_unknown_that_is_not_what_was_read(
    ods: ScriptedOds, runner: edfi.StudentAssessment, text: str
) -> None:
    column = pl.Series([{"a": 1, "_unknown": None}, {"a": 2, "_unknown": text}])
    out = post(runner, frame(ods, column))
    assert out["status"].to_list() == [None, "error"]
    assert bodies(ods) == [b'{"a":1}']


def test_decimals_of_all_scales(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    for scale, text in [(0, "-7"), (2, "-0.05"), (38, "0." + "1" * 38), (1, "9" * 37 + ".9")]:
        ods.requests.clear()
        column = pl.Series([{"d": Decimal(text)}], dtype=pl.Struct({"d": pl.Decimal(38, scale)}))
        assert sent(ods, runner, column) == [f'{{"d":{text}}}']


# Against the sandbox


@cache
def access(ods: edfi.Sandbox) -> tuple[str, str | None]:
    url, key, secret = ods.districts().row(0)[1:]
    runner = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    return url, runner.fetch_token()["token"]


def wire(ods: edfi.Sandbox, endpoint: str) -> list[dict[str, Any]]:
    """What the sandbox holds, read without this library; without what the server adds."""
    url, token = access(ods)
    records: list[dict[str, Any]] = []
    while True:
        query = f"limit=500&offset={len(records)}"
        request = urllib.request.Request(
            f"{url}/data/v3/{endpoint}?{query}", headers={"authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request) as answer:
            page = json.load(answer, parse_float=Decimal)
        if not page:
            return records
        records += [bare(record) for record in page]


def bare(record: Any, name: str | None = None) -> Any:
    """A record without server fields, links, nulls and empty objects."""
    if isinstance(record, list):
        return [bare(item, "") for item in record]
    if not isinstance(record, dict):
        return record
    drop = {"id", "_etag", "_lastModifiedDate"} if name is None else set()
    drop |= {"link"} if (name or "").endswith("Reference") else set()
    members = {key: bare(value, key) for key, value in record.items() if key not in drop}
    return {key: value for key, value in members.items() if value is not None and value != {}}


def client(ods: edfi.Sandbox, endpoint: str = STUDENT_ASSESSMENTS) -> edfi.Resource:
    url, key, secret = ods.districts().row(0)[1:]
    return edfi.Resource(endpoint, base_url=url, client_id=key, client_secret=secret)


def test_fetch_edit_and_post_back() -> None:
    with edfi.Sandbox(["1"], 200) as ods:
        runner = client(ods)
        before = wire(ods, STUDENT_ASSESSMENTS)
        records = runner.get_all(key=1)["data"]
        assert records is not None
        minutes = pl.col("assessedMinutes").fill_null(0) + 1
        edited = edfi.unflatten(records.with_columns(assessedMinutes=minutes))
        out = post(runner, edited.with_row_index("key"), workers=4)
        assert out["http_status"].to_list() == [200] * 200, out["message"].drop_nulls().head()
        assert out["resource_id"].to_list() == records["id"].to_list()
        after = wire(ods, STUDENT_ASSESSMENTS)
    for record in before:
        record["assessedMinutes"] = record.get("assessedMinutes", 0) + 1
    assert after == before


def test_upserts_validation_and_conflicts() -> None:
    student = {
        "studentUniqueId": "1",
        "firstName": "A",
        "lastSurname": "B",
        "birthDate": "2015-02-03",
    }
    with edfi.Sandbox(["1"], 4) as ods:
        runner = client(ods, "ed-fi/students")
        texts = [
            json.dumps(student),
            json.dumps(student | {"firstName": "C"}),
            json.dumps({"studentUniqueId": "2", "birthDate": "soon"}),
            json.dumps(student | {"id": "0" * 32}),
        ]
        df = pl.DataFrame({"key": range(4), "payload": texts})
        out = post(runner, df, workers=1)
        assert out["http_status"].to_list() == [201, 200, 400, 400]
        assert out["resource_id"][0] == out["resource_id"][1] is not None
        for text in ("$.firstName: ", "$.lastSurname: ", "$.birthDate: "):
            assert text in out["message"][2]
        assert out["correlation_id"].is_null().to_list() == [True, True, False, False]
        found = runner.get_by_id(out["resource_id"][0])["data"]
        assert found is not None
        assert found["firstName"] == "C"
        lost = {
            "studentAssessmentIdentifier": "x",
            "assessmentReference": {
                "assessmentIdentifier": "STATE-ELA",
                "namespace": "uri://ed-fi.org/Assessment",
            },
            "studentReference": {"studentUniqueId": "nobody"},
            "administrationDate": "2024-05-01T00:00:00Z",
        }
        result = runner.post_payload(
            lost, key=1, endpoint=edfi.endpoints.STUDENT_ASSESSMENTS, commit=True
        )
        assert result["http_status"] == 409
        assert "'Student' item does not exist" in str(result["message"])


# Real data


def lines(path: Path) -> list[str]:
    read = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt", encoding="utf-8") as file:
        return [line for line in file.read().split("\n") if line.strip()]


def ordered(records: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(record, sort_keys=True, default=str) for record in records)


def send(runner: edfi.EdFiClient, df: pl.DataFrame, endpoint: str) -> pl.DataFrame:
    """Post a resource. Its items may refer to each other, and a few stand there twice."""
    return post(
        runner,
        df.with_columns(key=pl.lit(endpoint)),
        endpoint=endpoint,
        workers=16 if df.height > 200 else 1,
        retry_statuses={409},
        retry_backoff=0.05,
    )


GrandBend = tuple[edfi.Sandbox, dict[str, list[str]], pl.DataFrame, dict[str, list[str]]]


@pytest.fixture(scope="module")
def grand_bend(data: Path) -> Iterator[GrandBend]:
    """A sandbox that was sent everything; what was sent; the results; what it held before."""
    path = data / "metadata" / "ods7-ds5.2.0-dependencies.json"
    steps = sorted(json.loads(path.read_text()), key=lambda step: step["order"])
    files = {
        f"ed-fi/{path.name.removesuffix('.jsonl.gz')}": lines(path)
        for path in (data / "records" / "grandbend").glob("*.jsonl.gz")
    }
    with edfi.Sandbox(["1"], 0) as ods:
        before = {endpoint: ordered(wire(ods, endpoint)) for endpoint in files}
        runner = client(ods)
        endpoints = [step["resource"].strip("/") for step in steps]
        results = [
            send(runner, pl.DataFrame({"payload": files[endpoint]}), endpoint)
            for endpoint in endpoints
            if endpoint in files
        ]
        yield ods, files, pl.concat(results), before


def test_all_of_grand_bend_in_dependency_order(grand_bend: GrandBend) -> None:
    _, files, out, _ = grand_bend
    assert out["message"].drop_nulls().to_list() == []
    assert set(out["key"].unique()) == set(files)
    people = {"ed-fi/students", "ed-fi/staffs", "ed-fi/contacts"}
    for (endpoint,), results in out.group_by("key"):
        times = 2 if endpoint in people else 1
        assert results["row_index"].to_list() == [*range(len(files[str(endpoint)]))] * times
        created = results.filter(pl.col("http_status") == 201).height
        assert created == results["resource_id"].n_unique(), endpoint


def test_grand_bend_comes_back_equal(grand_bend: GrandBend) -> None:
    """Read as frames, put together as Structs, posted elsewhere, and read without this library."""
    ods, files, out, before = grand_bend
    with edfi.Sandbox(["1"], 0) as copy:
        reader, writer = client(ods), client(copy)
        for endpoint, texts in files.items():
            ids = out.filter(pl.col("key") == endpoint)["resource_id"].to_list()
            last = dict(zip(ids, texts * 2, strict=False))
            sent = [bare(json.loads(text, parse_float=Decimal)) for text in last.values()]
            there = ordered(wire(ods, endpoint))
            assert there == sorted(before[endpoint] + ordered(sent)), endpoint
            records = reader.get_all(key=1, endpoint=endpoint)["data"]
            assert records is not None
            results = send(writer, edfi.unflatten(records), endpoint)
            assert results["message"].drop_nulls().to_list() == []
            assert ordered(wire(copy, endpoint)) == there, endpoint


@pytest.mark.parametrize("vendor", ["ACT", "AP", "FastBridge_English", "KRA"])
def test_vendors_student_assessments_posted_and_deleted(data: Path, vendor: str) -> None:
    folder = data / "assessments" / vendor
    texts = lines(folder / "studentAssessments.jsonl")
    names = {json.loads(text)["studentReference"]["studentUniqueId"] for text in texts}
    student = {"firstName": "A", "lastSurname": "B", "birthDate": "2010-01-01"}
    students = [json.dumps(student | {"studentUniqueId": name}) for name in sorted(names)]
    with edfi.Sandbox(["1"], 0) as ods:
        runner = client(ods)
        others = {"students": students} | {
            kind: lines(folder / f"{kind}.jsonl")
            for kind in ("assessments", "objectiveAssessments")
            if (folder / f"{kind}.jsonl").exists()
        }
        for kind, payloads in others.items():
            out = send(runner, pl.DataFrame({"payload": payloads}), f"ed-fi/{kind}")
            assert out["message"].drop_nulls().to_list() == []
        df = pl.DataFrame({"payload": texts}).with_row_index("key")
        out = post(runner, df)
        bad = out.filter(pl.col("status").is_not_null())
        if vendor == "AP":
            # Its dates are not those of an ODS: 05/01/2024; and one namespace is empty.
            assert bad["message"].str.contains(r"\$\.administrationDate").all()
            american, iso = r'"(\d\d)/(\d\d)/(\d{4})"', '"$3-$1-$2"'
            mended = pl.col("payload").str.replace_all(american, iso)
            again = post(runner, df.join(bad, on="key", how="semi").with_columns(mended))
            bad = again.filter(pl.col("status").is_not_null())
            assert bad["message"].str.contains(r"\$\.assessmentReference\.namespace").to_list() == [
                True
            ]
            out = pl.concat([out, again]).filter(pl.col("status").is_null())
        assert out["message"].drop_nulls().to_list() == []
        assert out["key"].n_unique() + (vendor == "AP") == df.height

        assert len(wire(ods, STUDENT_ASSESSMENTS)) == out["resource_id"].n_unique()
        ids = out.select("key", "resource_id").unique("resource_id", maintain_order=True)
        deleted = runner.batch_delete_by_id(ids, id_col="resource_id", key_col="key", commit=True)
        assert deleted["status"].to_list() == ["deleted"] * ids.height
        assert deleted["http_status"].unique().to_list() == [204]
        gone = runner.batch_get_by_id(ids, id_col="resource_id")
        assert gone["http_status"].unique().to_list() == [404]
        assert wire(ods, STUDENT_ASSESSMENTS) == []


def test_the_guide_runs() -> None:
    guide = Path(__file__).parents[2] / "docs" / "from_row_dicts.md"
    blocks = re.findall(
        r"^```python\n(.*?)^```", guide.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["expanded"].height == names["records"].height == 120
    assert len(blocks) == 8
