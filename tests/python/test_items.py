"""Single items: read and deleted by id."""

import itertools
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds
from polars.exceptions import ColumnNotFoundError, SchemaError
from polars.testing import assert_frame_equal

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
ANSWER = {
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
}
PLACE = {"row_index": pl.get_index_type(), "row_id": pl.String}
READ = {"id": pl.String} | ANSWER | PLACE
DELETED = {"id": pl.String, "key": pl.Int64} | ANSWER | PLACE


def frame(ods: ScriptedOds, ids: Any, **columns: object) -> pl.DataFrame:
    """One row per id, all for one district."""
    cells = {"targetUrl": ods.url, "EdFi Token": "token"} | columns
    lits = {name: pl.lit(cell) for name, cell in cells.items() if not isinstance(cell, list)}
    lists = {name: pl.Series(cell) for name, cell in cells.items() if isinstance(cell, list)}
    key = pl.int_range(pl.len(), dtype=pl.Int64).alias("key")
    return pl.DataFrame(pl.Series("id", ids)).with_columns(key, **lits).with_columns(**lists)


def read(runner: edfi.EdFiClient, df: pl.DataFrame, **arguments: Any) -> pl.DataFrame:
    return runner.batch_get_by_id(df, **({"id_col": "id"} | arguments))


def delete(
    runner: edfi.EdFiClient, df: pl.DataFrame, *, commit: bool = True, **arguments: Any
) -> pl.DataFrame:
    names = {"id_col": "id", "key_col": "key"}
    return runner.batch_delete_by_id(df, **(names | {"commit": commit} | arguments))


def hold(ods: ScriptedOds, *items: dict[str, Any]) -> None:
    ods.items = {item["id"]: json.dumps(item).encode() for item in items}


def single(ods: ScriptedOds) -> edfi.StudentAssessment:
    return edfi.StudentAssessment(
        base_url=ods.url, bearer_token="token", api_version="v3", max_retries=1, timeout=10
    )


# Reading


def test_items_are_read(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    hold(
        ods,
        {"id": "a", "n": 1, "ref": {"name": "x", "link": {"rel": "X"}}, "list": [{"v": 1}]},
        {"id": "b", "n": 2.5, "list": []},
        {"id": "c", "other": True},
    )
    df = frame(ods, ["b", "nobody", " a ", None, "c"])
    out = read(runner, df)
    fields = {
        "id": pl.String,
        "n": pl.Float64,
        "list": pl.List(pl.Struct({"v": pl.Int64})),
        "ref": pl.Struct({"name": pl.String, "link": pl.Struct({"rel": pl.String})}),
        "other": pl.Boolean,
    }
    assert dict(out["data"].struct.unnest().schema) == fields
    expected = pl.DataFrame(
        {
            "id": ["b", "nobody", "a", None, "c"],
            "status": [None, "error", None, "error", None],
            "message": [
                None,
                "HTTP 404 Not Found: No such item.",
                None,
                "missing 'id'",
                None,
            ],
            "http_status": [200, 404, 200, None, 200],
            "correlation_id": [None, "c-404", None, None, None],
            "row_index": range(5),
            "row_id": [None] * 5,
            "data": [
                {"id": "b", "n": 2.5, "list": []},
                None,
                {
                    "id": "a",
                    "n": 1.0,
                    "list": [{"v": 1}],
                    "ref": {"name": "x", "link": {"rel": "X"}},
                },
                None,
                {"id": "c", "other": True},
            ],
        },
        schema=READ | {"data": pl.Struct(fields)},
    )
    assert_frame_equal(out, expected)
    assert out["data"].is_null().to_list() == [False, True, False, True, False]
    assert runner.rows is out
    assert sorted(request.path.rpartition("/")[2] for request in ods.requests) == [
        "a",
        "b",
        "c",
        "nobody",
    ]


def test_items_are_flattened(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    hold(ods, {"id": "a", "ref": {"name": "x"}, "status": "on", "key": 1, "list": [{"v": 1}]})
    out = read(runner, frame(ods, ["nobody", "a"]), flatten=True)
    assert out.columns == [*READ, "id_record", "ref.name", "status_record", "key", "list"]
    assert out.row(1)[7:] == ("a", "x", "on", 1, [{"v": 1}])
    assert out.row(0)[7:] == (None,) * 5


@pytest.mark.parametrize("flatten", [False, True])
def test_a_schema_fixes_the_columns(
    ods: ScriptedOds, runner: edfi.StudentAssessment, flatten: bool
) -> None:
    hold(ods, {"id": "a", "n": 1, "ref": {"name": "x"}}, {"id": "b", "n": "many", "new": [1]})
    schema = {"ref.name": pl.String, "n": pl.Int64}
    shapes = []
    for ids in (["a", "b", "nobody"], ["nobody"], []):
        df = frame(ods, pl.Series(ids, dtype=pl.String))
        out = read(runner, df, schema=schema, flatten=flatten)
        shapes.append(out.schema)
        assert out.height == len(ids)
    assert shapes[0] == shapes[1] == shapes[2]
    data = read(runner, frame(ods, ["b", "a"]), schema=schema, flatten=True)
    assert data["n"].to_list() == [None, 1]
    assert data["ref.name"].to_list() == [None, "x"]
    assert json.loads(data["_unknown"][0]) == {"id": "b", "n": "many", "new": [1]}
    assert json.loads(data["_unknown"][1]) == {"id": "a"}
    if not flatten:
        assert isinstance(shapes[0]["data"], pl.Struct)


@pytest.mark.parametrize("what", ["success", "error", "empty", "skipped"])
@pytest.mark.parametrize(
    ("dtype", "ids"),
    [(pl.String, ["a", "b"]), (pl.Int64, [1, 2]), (pl.Categorical(), ["a", "b"])],
    ids=str,
)
def test_columns_do_not_depend_on_the_data(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    dtype: Any,
    ids: list[Any],
    what: str,
) -> None:
    if what == "success":
        hold(ods, *({"id": str(name)} for name in ids))
    df = frame(ods, pl.Series(ids, dtype=dtype)).with_columns(
        pl.lit("error" if what == "skipped" else None, pl.String).alias("row status"),
        pl.lit(date(2024, 1, 2)).alias("own id"),
    )
    if what == "empty":
        df = df.clear()
    own = {"id": dtype, "row_id": pl.Date}
    out = read(runner, df, row_id_col="own id", flatten=True)
    assert dict(list(out.schema.items())[:7]) == READ | own
    assert out.height == (0 if what in ("empty", "skipped") else 2)
    for commit in (False, True):
        out = delete(runner, df, row_id_col="own id", commit=commit)
        assert out.schema == DELETED | own
        if out.height:
            assert out["id"].to_list() == ids
            done = "deleted" if what == "success" else "error"
            assert out["status"].to_list() == [done if commit else "dry_run"] * 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, "<html>Sign in, Ada</html>"), "HTTP 200 OK: "),
        (Answer(200, '[{"Ada": 1}]'), "HTTP 200 OK: "),
        (Answer(200, ""), "HTTP 200 OK: "),
        (Answer(200, "null"), "HTTP 200 OK: "),
        (Answer(204), "HTTP 204 No Content"),
        (Answer(201, "{}"), "HTTP 201 Created"),
        (Answer(302, headers={"location": "http://127.0.0.1:9/"}), "HTTP 302 Found"),
        (Answer(403, {"detail": "No."}), "HTTP 403 Forbidden: No."),
        (Answer(401, {"detail": "x"}), "auth error: HTTP 401"),
        (Answer(500, {"message": "Oh."}), "HTTP 500 Internal Server Error: Oh."),
        (Answer(200, '{"id": "x"}', cut=5), "connection broken"),
        (Answer(close=True), "connection broken"),
        (Answer(200, b'{"a": "\xff"}'), ""),
        (Answer(200, '{"a":' * 100_000 + "1" + "}" * 100_000), ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_item(
    ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer, message: str
) -> None:
    hold(ods, {"id": "good"})
    ods.script = lambda request: None if request.path.endswith("good") else answer
    out = read(runner, frame(ods, ["good", "bad"]))
    assert out["status"].to_list() == [None, "error"]
    assert out["message"][1].startswith(message)
    assert "Ada" not in out["message"][1]
    assert out["data"].to_list() == [{"id": "good"}, None]
    result = single(ods).get_by_id("bad")
    assert result["status"] == "error"
    assert result["message"] == out["message"][1]
    assert result["http_status"] == out["http_status"][1]
    assert result["data"] is None


def test_single_reads(ods: ScriptedOds) -> None:
    item = {"id": "a", "n": 12345678901234567890123, "ref": {"x": [1, None]}}
    hold(ods, item)
    runner = single(ods)
    assert runner.get_by_id(" a ") == {
        "id": " a ",
        "status": None,
        "message": None,
        "data": item,
        "http_status": 200,
        "correlation_id": None,
    }
    assert runner.get_by_id("b", endpoint="/tpdm/candidates/") == {
        "id": "b",
        "status": "error",
        "message": "HTTP 404 Not Found: No such resource.",
        "data": None,
        "http_status": 404,
        "correlation_id": "c-404",
    }
    assert ods.requests[-1].path == "/data/v3/tpdm/candidates/b"
    with pytest.raises(edfi.EdFiError, match="endpoint"):
        runner.get_by_id("a", endpoint="..")
    with pytest.raises(edfi.EdFiError, match="base_url"):
        edfi.StudentAssessment(bearer_token="token").get_by_id("a")
    with pytest.raises(edfi.EdFiError, match="No auth configured"):
        edfi.StudentAssessment(base_url=ods.url).get_by_id("a")


def test_reads_try_again(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    hold(ods, {"id": "a"})
    troubles = [Answer(status, headers={"retry-after": "0"}) for status in (408, 429, 502, 504)]
    for answer in [
        *troubles,
        Answer(500),
        Answer(503),
        Answer(close=True),
        Answer(200, "{  ", cut=1),
    ]:
        answers = [answer]
        ods.script = lambda _, answers=answers: answers.pop() if answers else None
        assert read(runner, frame(ods, ["a"]))["status"].to_list() == [None], answer


def test_a_read_follows_a_redirect_within_its_origin_only(make_ods: MakeOds) -> None:
    ods, other = make_ods(), make_ods()
    hold(ods, {"id": "new"})
    hold(other, {"id": "new"})
    other.tokens = ods.tokens
    for server, status in ((ods, None), (other, "error")):
        target = f"{server.url}/data/v3/ed-fi/studentAssessments/new"
        ods.script = lambda request, target=target: (
            Answer(307, headers={"location": target}) if request.path.endswith("old") else None
        )
        assert single(ods).get_by_id("old")["status"] == status
    assert other.requests == []


# Ids


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("../x", "..%2Fx"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("%2e%2e", "%252e%252e"),
        ("ü", "%C3%BC"),
        ("a\\b", "a%5Cb"),
        ("a\nb", "a%0Ab"),
        ("a;b=c&d:e@f", "a%3Bb%3Dc%26d%3Ae%40f"),
        ("...", "..."),
        ("A-z_0.9~", "A-z_0.9~"),
        (604822, "604822"),
    ],
)
def test_an_id_is_one_path_segment(
    ods: ScriptedOds, runner: edfi.StudentAssessment, name: Any, segment: str
) -> None:
    seen: list[str] = []

    def script(request: Request) -> Answer:
        seen.append(request.path)
        return Answer(200, {"id": "x"}) if request.method == "GET" else Answer(204)

    ods.script = script
    df = frame(ods, [name])
    assert read(runner, df)["status"].to_list() == [None]
    assert delete(runner, df)["status"].to_list() == ["deleted"]
    assert single(ods).get_by_id(name)["status"] is None
    assert single(ods).delete_by_id(name, key=1, commit=True)["status"] == "deleted"
    assert seen == [f"/data/v3/ed-fi/studentAssessments/{segment}"] * 4


@pytest.mark.parametrize("name", [".", "..", " .. "])
def test_dots_are_no_id(ods: ScriptedOds, runner: edfi.StudentAssessment, name: str) -> None:
    df = frame(ods, [name])
    for out in (read(runner, df), delete(runner, df)):
        assert out["status"].to_list() == ["error"]
        assert repr(name.strip()).strip("'") in out["message"].item()
    assert single(ods).get_by_id(name)["status"] == "error"
    assert single(ods).delete_by_id(name, key=1, commit=True)["status"] == "error"
    assert ods.requests == []


@pytest.mark.parametrize("name", [None, "", " ", "\t\n"])
def test_blank_ids_ask_for_nothing(
    ods: ScriptedOds, runner: edfi.StudentAssessment, name: str | None
) -> None:
    """``DELETE /ed-fi/studentAssessments/`` would be quite another request."""
    df = frame(ods, pl.Series([name], dtype=pl.String))
    for out in (read(runner, df), delete(runner, df)):
        assert out["status"].to_list() == ["error"]
        assert out["message"].to_list() == ["missing 'id'"]
    for result in (
        single(ods).get_by_id(name),  # type: ignore[arg-type]
        single(ods).delete_by_id(name, key=1, commit=True),  # type: ignore[arg-type]
    ):
        assert (result["status"], result["message"]) == ("error", "missing 'id'")
    assert ods.requests == []


def test_cells_that_are_missing(make_ods: MakeOds) -> None:
    own, other = make_ods(), make_ods()
    runner = edfi.StudentAssessment(base_url=own.url, bearer_token="own", api_version="v3")
    df = pl.DataFrame(
        {
            "key": range(5),
            "id": ["x"] * 5,
            "targetUrl": [None, " ", other.url, other.url, other.url],
            "EdFi Token": ["token", "token", None, "", "token"],
        }
    )
    for out in (read(runner, df), delete(runner, df)):
        assert out["message"].to_list() == [
            "missing 'targetUrl'",
            "missing 'targetUrl'",
            "missing 'EdFi Token'",
            "missing 'EdFi Token'",
            "HTTP 404 Not Found: No such item.",
        ]
    assert own.requests == []
    assert [request.method for request in other.requests] == ["GET", "DELETE"]


# Deleting


def test_items_are_deleted(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    hold(ods, {"id": "a"}, {"id": "b"}, {"id": "c"})

    def script(request: Request) -> Answer | None:
        if request.path.endswith("b"):
            return Answer(409, {"detail": "It is needed.", "correlationId": "c-b"})
        return None

    ods.script = script
    df = frame(ods, ["a", "b", "nobody", None, ".."], own=list("vwxyz"))
    assert delete(runner, df, commit=False)["status"].to_list() == ["dry_run"] * 5
    assert ods.requests == []
    out = delete(runner, df, row_id_col="own")
    expected = pl.DataFrame(
        {
            "id": ["a", "b", "nobody", None, ".."],
            "key": range(5),
            "status": ["deleted", "error", "error", "error", "error"],
            "message": [
                None,
                "HTTP 409 Conflict: It is needed.",
                "HTTP 404 Not Found: No such item.",
                "missing 'id'",
                out["message"][4],
            ],
            "http_status": [204, 409, 404, None, None],
            "correlation_id": [None, "c-b", "c-404", None, None],
            "row_index": range(5),
            "row_id": list("vwxyz"),
        },
        schema=DELETED,
    )
    assert_frame_equal(out, expected)
    assert runner.rows is out
    assert set(ods.items) == {"b", "c"}


@pytest.mark.parametrize("answer", [Answer(200), Answer(200, '{"ok": true}'), Answer(204)], ids=str)
def test_what_is_deleted(ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer) -> None:
    ods.script = lambda _: answer
    out = delete(runner, frame(ods, ["a"]))
    assert out.select("status", "http_status").row(0) == ("deleted", answer.status)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>"),
        Answer(202),
        Answer(302, headers={"location": "/data/v3/ed-fi/studentAssessments/b"}),
        Answer(405, {"detail": "No."}),
        Answer(401),
    ],
    ids=str,
)
def test_what_is_not_deleted(
    ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer
) -> None:
    ods.script = lambda _: answer
    out = delete(runner, frame(ods, ["a"]))
    assert out.select("status", "http_status").row(0) == ("error", answer.status)
    assert len(ods.requests) == 1


def test_a_delete_after_a_broken_connection_finds_nothing(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    """The first try has done it."""
    hold(ods, {"id": "a"}, {"id": "b"})
    broken = {"a"}

    def script(request: Request) -> Answer | None:
        name = request.path[-1]
        if name not in broken:
            return None
        broken.remove(name)
        assert ods.items.pop(name)
        return Answer(close=True)

    ods.script = script
    out = delete(runner, frame(ods, ["a", "b", "c"]))
    assert out["status"].to_list() == ["deleted", "deleted", "error"]
    assert out["message"].to_list()[:2] == [None, None]
    assert ods.items == {}
    hold(ods, {"id": "a"})
    broken.add("a")
    assert single(ods).delete_by_id("a", key="k", commit=True)["status"] == "deleted"


def test_a_delete_that_was_not_broken_finds_nothing(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    answers = iter([Answer(503, headers={"retry-after": "0"}), Answer(404, {"detail": "None."})])
    ods.script = lambda _: next(answers)
    out = delete(runner, frame(ods, ["a"]))
    assert out.select("status", "http_status").row(0) == ("error", 404)


def test_a_delete_that_could_not_connect_first_finds_nothing(
    runner: edfi.StudentAssessment, ods: ScriptedOds
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    out = delete(runner, frame(ods, ["a"], targetUrl=url))
    assert out["status"].to_list() == ["error"]
    assert out["message"].item().startswith("could not connect")


def test_deletes_try_again(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    for status in (408, 429, 500, 502, 503, 504):
        answers = [Answer(204), Answer(status, headers={"retry-after": "0"})]
        ods.script = lambda _, answers=answers: answers.pop()
        assert delete(runner, frame(ods, ["a"]))["status"].to_list() == ["deleted"], status
        assert answers == []


def test_single_deletes(ods: ScriptedOds) -> None:
    hold(ods, {"id": "a"})
    runner = single(ods)
    dry = runner.delete_by_id("a", key=("k", 1))
    assert dry == {
        "id": "a",
        "key": ("k", 1),
        "status": "dry_run",
        "message": None,
        "http_status": None,
        "correlation_id": None,
    }
    assert edfi.StudentAssessment().delete_by_id("a", key=1)["status"] == "dry_run"
    assert ods.requests == []
    done = runner.delete_by_id("a", key=("k", 1), commit=True)
    assert done == dry | {"status": "deleted", "http_status": 204}
    gone = runner.delete_by_id("a", key=None, commit=True)
    assert gone == dry | {
        "key": None,
        "status": "error",
        "message": "HTTP 404 Not Found: No such item.",
        "http_status": 404,
        "correlation_id": "c-404",
    }
    with pytest.raises(edfi.EdFiError, match="endpoint"):
        runner.delete_by_id("a", key=1, endpoint="..", commit=True)


# Batches


def test_tokens_are_renewed(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    hold(ods, *({"id": str(n)} for n in range(10)))
    ods.secret = "items:renewed"
    cells = {"EdFi Token": "old", "oAuthKey": "items", "oAuthSecret": "renewed"}
    df = frame(ods, [str(n) for n in range(10)], **cells)
    arguments = {
        "auth_key_col": "oAuthKey",
        "auth_secret_col": "oAuthSecret",
        "oauth_endpoint": "oauth/token",
    }
    assert read(runner, df)["message"].unique().to_list() == ["auth error: HTTP 401"]
    assert read(runner, df, **arguments)["status"].null_count() == 10
    assert delete(runner, df, **arguments)["status"].unique().to_list() == ["deleted"]
    assert ods.items == {}


@pytest.mark.parametrize(("workers", "rows"), [(1, 21), (7, 21), (8, 64)])
def test_so_many_requests_are_in_flight(
    ods: ScriptedOds, runner: edfi.StudentAssessment, workers: int, rows: int
) -> None:
    barrier = threading.Barrier(workers)

    def script(request: Request) -> Answer:
        barrier.wait(30)
        name = request.path.rpartition("/")[2]
        return Answer(200, {"id": name}) if request.method == "GET" else Answer(204)

    ods.script, ods.one_at_a_time = script, False
    df = frame(ods, [f"{n}" for n in range(rows)])
    out = read(runner, df, workers=workers, flatten=True)
    assert out["id_record"].to_list() == df["id"].to_list()
    out = delete(runner, df, workers=workers)
    assert out["id"].to_list() == df["id"].to_list()


def test_thousands_of_items_of_many_shapes(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    """Chunks of records are decoded apart, and still make one frame."""
    items = [
        {"id": str(n), f"only {n // 500}": n, "v": n if n < 900 else f"t{n}"} for n in range(1200)
    ]
    hold(ods, *items)
    out = read(runner, frame(ods, [item["id"] for item in items]), workers=4, flatten=True)
    assert out["id_record"].to_list() == [item["id"] for item in items]
    assert out["v"].to_list() == [str(item["v"]) for item in items]
    assert out["only 1"].drop_nulls().to_list() == list(range(500, 1000))


def test_one_item_that_cannot_be_decoded_spoils_no_other(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    hold(ods, *({"id": str(n)} for n in range(600)))
    ods.items["17"] = b'{"a": "\xff"}'
    ods.items["555"] = b'{"a":' * 200 + b"1" + b"}" * 200
    out = read(runner, frame(ods, [str(n) for n in range(600)]))
    bad = out.filter(pl.col("status") == "error")
    assert bad["row_index"].to_list() == [17, 555]
    assert bad["http_status"].to_list() == [200, 200]
    assert bad["data"].to_list() == [None, None]


@pytest.mark.parametrize("call", [read, delete])
@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ColumnNotFoundError, {"id_col": "nope"}),
        (ColumnNotFoundError, {"url_col": "nope"}),
        (ColumnNotFoundError, {"token_col": "nope"}),
        (ColumnNotFoundError, {"row_id_col": "nope"}),
        (ColumnNotFoundError, {"status_col": "nope"}),
        (SchemaError, {"id_col": "list"}),
        (SchemaError, {"url_col": "key"}),
        (edfi.EdFiError, {"workers": 0}),
        (edfi.EdFiError, {"refresh_cooldown": float("nan")}),
        (edfi.EdFiError, {"endpoint": "a b"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)
def test_wrong_arguments_raise_before_anything_is_sent(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    call: Callable[..., pl.DataFrame],
    error: type[Exception],
    arguments: dict[str, Any],
) -> None:
    df = frame(ods, ["a", "b"]).with_columns(list=pl.lit([1]))
    with pytest.raises(error):
        call(runner, df, **arguments)
    if call is delete:
        with pytest.raises(error):
            call(runner, df, commit=False, **arguments)
    assert ods.requests == []


def test_other_wrong_arguments(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = frame(ods, ["a"])
    with pytest.raises(ColumnNotFoundError):
        delete(runner, df, key_col="nope")
    for schema in (1, {"a": "nonsense"}, "all"):
        with pytest.raises((edfi.EdFiError, TypeError)):
            read(runner, df, schema=schema)
    for call in (read, delete):
        with pytest.raises(TypeError, match="collect"):
            call(runner, df.lazy())
    assert ods.requests == []


@pytest.mark.parametrize("call", [read, delete])
def test_ctrl_c_accounts_for_every_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment, call: Callable[..., pl.DataFrame]
) -> None:
    seen = threading.Event()

    def handler(number: int, frame: object) -> None:
        seen.set()
        signal.default_int_handler(number, frame)  # type: ignore[arg-type]

    def script(request: Request) -> Answer:
        if request.path.endswith("2"):
            os.kill(os.getpid(), signal.SIGINT)
            assert seen.wait(30)
        return Answer(200, "{}") if request.method == "GET" else Answer(204)

    ods.script = script
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            call(runner, frame(ods, list("0123456")), workers=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert runner.rows is not None
    assert runner.rows["id"].to_list() == list("0123456")
    assert runner.rows["message"].to_list() == [None] * 3 + ["not sent: interrupted"] * 4
    assert len(ods.requests) == 3


@pytest.mark.parametrize("name", ["get_by_id", "delete_by_id"])
def test_ctrl_c_in_a_single_call(ods: ScriptedOds, name: str) -> None:
    seen = threading.Event()

    def handler(number: int, frame: object) -> None:
        seen.set()
        signal.default_int_handler(number, frame)  # type: ignore[arg-type]

    def script(_: Request) -> Answer:
        os.kill(os.getpid(), signal.SIGINT)
        assert seen.wait(30)
        return Answer(200, "{}")

    ods.script = script
    arguments: dict[str, Any] = {} if name == "get_by_id" else {"key": 1, "commit": True}
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            getattr(single(ods), name)("a", **arguments)
    finally:
        signal.signal(signal.SIGINT, before)


def test_progress(
    ods: ScriptedOds, runner: edfi.StudentAssessment, capsys: pytest.CaptureFixture[str]
) -> None:
    df = frame(ods, ["a", "b"])
    for call in (read, delete):
        call(runner, df, show_progress=True, progress_desc="[1/2]")
        assert "[1/2]: " in (err := capsys.readouterr().err)
        assert "2/2" in err


def test_a_server_that_closes_each_tenth_connection(ods: ScriptedOds) -> None:
    """Reads and deletes are sent again by themselves."""
    hold(ods, *({"id": str(n)} for n in range(60)))
    count = itertools.count(1)
    ods.script = lambda _: None if next(count) % 10 else Answer(close=True)
    client = edfi.StudentAssessment(api_version="v3", max_retries=4)
    df = frame(ods, [str(n) for n in range(60)])
    assert read(client, df)["status"].null_count() == 60
    assert delete(client, df)["status"].to_list() == ["deleted"] * 60


# Against the sandbox


def test_items_of_the_sandbox() -> None:
    with edfi.Sandbox(["1", "2"], 40) as ods:
        districts = ods.districts()
        tokens = edfi.EdFiClient().batch_fetch_tokens(
            districts, oauth_endpoint="oauth/token", account_col="District BK"
        )
        districts = districts.join(tokens.drop("oAuthKey"), on="District BK")
        runner = edfi.StudentAssessment()
        records = runner.batch_get_all(districts, key_col="District BK", schema="infer")
        items = records.select("District BK", "id").join(
            districts.drop("message"), on="District BK"
        )
        out = read(runner, items, schema=None, flatten=True)
        wanted = [name for name in records.columns if name not in (*ANSWER, "District BK", "id")]
        assert_frame_equal(out.select(wanted), records.select(wanted))
        assert out["id_record"].to_list() == records["id"].to_list()

        some = items.head(50)
        gone = delete(runner, some, key_col="District BK")
        assert gone["status"].unique().to_list() == ["deleted"]
        left = runner.batch_get_all(districts, key_col="District BK")
        assert left["id"].to_list() == records["id"].to_list()[50:]
        assert read(runner, some)["http_status"].unique().to_list() == [404]
        assert delete(runner, some, key_col="District BK")["http_status"].unique().to_list() == [
            404
        ]

        students = runner.batch_get_all(districts, key_col="District BK", endpoint="ed-fi/students")
        needed = students.join(districts.drop("message", "row status"), on="District BK").filter(
            pl.col("studentUniqueId").is_in(left["studentReference.studentUniqueId"].implode())
        )
        refused = delete(
            runner,
            needed.select("id", "District BK", "targetUrl", "EdFi Token"),
            key_col="District BK",
            endpoint="ed-fi/students",
        )
        assert refused["http_status"].unique().to_list() == [409]
        assert refused["message"].str.contains("'StudentAssessment'").all()
        assert refused["correlation_id"].null_count() == 0
