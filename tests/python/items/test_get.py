"""Items read by id."""

import json
from datetime import date
from typing import Any

import polars as pl
import pytest
from conftest import Answer, ScriptedOds
from polars.testing import assert_frame_equal

import polars_edfi as edfi
from items.support import DELETED, READ, MakeOds, delete, frame, hold, read, single


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
