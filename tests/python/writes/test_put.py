"""Items replaced by id, and writes that are made only while an item is as it was read."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, rows
from polars.exceptions import ColumnNotFoundError

import polars_edfi as edfi

PUT = {
    "key": pl.Int64,
    "id": pl.String,
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
    "attempts": pl.UInt32,
    "row_index": pl.get_index_type(),
    "row_id": pl.String,
}
NAMES: dict[str, Any] = {"payload_col": "payload", "id_col": "id", "key_col": "key"}


def frame(ods: ScriptedOds, payloads: Any, **columns: Any) -> pl.DataFrame:
    ids = [f"i{n}" for n in range(len(payloads))]
    return rows(ods, pl.Series("payload", payloads), **({"id": ids} | columns))


def put(runner: edfi.EdFiClient, df: pl.DataFrame, **options: Any) -> pl.DataFrame:
    return runner.batch_put_payload(df, **(NAMES | {"commit": True} | options))


def test_texts_are_sent_as_they_are(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = frame(ods, ['{ "id": "other", "a":1}', "{", None, '{"a":2}'], id=["x", "y", "z", None])
    out = put(runner, df)
    assert out.schema == PUT
    [request] = ods.paths("/data")
    assert (request.method, request.path.rpartition("/")[2]) == ("PUT", "x")
    assert request.body == b'{ "id": "other", "a":1}'
    assert request.headers["content-type"] == "application/json"
    assert "if-match" not in request.headers
    messages = out["message"].to_list()
    assert messages[1].startswith("invalid JSON: ")
    assert messages[2:] == ["missing 'payload'", "missing 'id'"]
    assert out["attempts"].to_list() == [1, 0, 0, 0]


@pytest.mark.parametrize("keep", [False, True])
def test_a_struct_gets_the_id_of_its_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment, keep: bool
) -> None:
    payloads = [{"id": "old", "_etag": "7", "a": 1}, {"id": None, "_etag": None, "a": None}]
    out = put(runner, frame(ods, payloads, id=['q"1', "q2"]), keep_server_fields=keep)
    sent = sorted((json.loads(request.body) for request in ods.paths("/data")), key=str)
    kept = {"_etag": "7"} if keep else {}
    assert sent == sorted([{"id": 'q"1', "a": 1} | kept, {"id": "q2"}], key=str)
    assert out["id"].to_list() == ['q"1', "q2"]


def test_a_null_struct_is_a_missing_payload(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    out = put(runner, frame(ods, [{"id": "a", "b": 1}, None]))
    assert out["message"][1] == "missing 'payload'"
    assert len(ods.paths("/data")) == 1


def test_a_dry_run_sends_nothing(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = frame(ods, ['{"a": 1}', "{", '{"a": 1}'], id=["x", "y", ".."])
    out = put(runner, df, commit=False)
    assert out["status"].to_list() == ["dry_run", "error", "error"]
    assert ods.requests == []


def test_replacements_are_repeated(make_ods: Any) -> None:
    ods = make_ods()
    runner = edfi.StudentAssessment(api_version="v3", max_retries=3, timeout=10)
    answers = {"i0": [Answer(503), Answer(204)], "i1": [Answer(close=True), Answer(204)]}
    answers["i2"] = [Answer(400, {"detail": "No."})]

    def script(request: Request) -> Answer:
        return answers[request.path.rpartition("/")[2]].pop(0)

    ods.script = script
    out = put(runner, frame(ods, ['{"a": 1}'] * 3))
    assert out["status"].to_list() == [None, None, "error"]
    assert out["attempts"].to_list() == [2, 2, 1]
    assert out["message"][2] == "HTTP 400 Bad Request: No."


def test_etags(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    seen: dict[str, str | None] = {}

    def script(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if request.method == "POST":
            name = json.loads(request.body)["n"]
        etag = seen[name] = request.headers.get("if-match")
        if etag == '"stale"':
            return Answer(412, {"detail": "The item has been modified by another user."})
        return Answer(204) if request.method != "POST" else Answer(201)

    ods.script = script
    etags = ["5250", '"5251"', None, " ", "stale", "*", 'W/"1"', "a\nb"]
    texts = [json.dumps({"n": f"i{n}"}) for n in range(len(etags))]
    df = frame(ods, texts, e=pl.Series(etags).to_list())
    expected = ['"5250"', '"5251"', None, None, '"stale"', "*", 'W/"1"']
    calls: list[Any] = [
        lambda: put(runner, df, etag_col="e"),
        lambda: runner.batch_post_payload(
            df, payload_col="payload", key_col="key", commit=True, etag_col="e"
        ),
        lambda: runner.batch_delete_by_id(
            df, id_col="id", key_col="key", commit=True, etag_col="e"
        ),
    ]
    for call in calls:
        seen.clear()
        out = call()
        assert [seen.get(f"i{n}", "?") for n in range(7)] == expected
        assert "i7" not in seen
        good = "deleted" if "deleted" in out["status"].to_list() else None
        assert out["status"].to_list() == [good] * 4 + ["error"] + [good] * 2 + ["error"]
        assert out["http_status"][4] == 412
        assert "no header can carry" in out["message"][7]


def test_a_repetition_that_meets_412_says_what_may_be(make_ods: Any) -> None:
    ods = make_ods()
    runner = edfi.StudentAssessment(api_version="v3", max_retries=2, timeout=10)
    answers = [Answer(close=True), Answer(412, {"detail": "Modified."})]
    ods.script = lambda _: answers.pop(0)
    out = put(runner, frame(ods, ['{"a": 1}'], e=["1"]), etag_col="e")
    assert out["message"][0].startswith("HTTP 412 Precondition Failed: Modified.")
    assert out["message"][0].endswith("it may have been applied")


@pytest.mark.parametrize("name", ["payload_col", "id_col", "key_col", "etag_col"])
def test_columns_must_exist(ods: ScriptedOds, runner: edfi.StudentAssessment, name: str) -> None:
    with pytest.raises(ColumnNotFoundError, match=name):
        put(runner, frame(ods, ['{"a": 1}']), **{name: "nope"})
    assert ods.requests == []


def test_an_ods_replaces_only_what_was_read() -> None:
    with edfi.Sandbox(districts=["1"], records=8) as ods:
        url, key, secret = ods.districts().row(0)[1:]
        runner = edfi.Resource(
            edfi.endpoints.STUDENTS, base_url=url, client_id=key, client_secret=secret
        )
        df = runner.get_all(key=1, schema="infer", links=False)["data"]
        assert df is not None
        struct = pl.struct("studentUniqueId", "birthDate", "firstName", "lastSurname")
        df = df.head(2).with_columns(struct.alias("payload"))
        df = df.with_columns(pl.col("payload").struct.with_fields(firstName=pl.lit("Zoë")))
        options: Any = NAMES | {"key_col": "id", "commit": True, "etag_col": "_etag"}
        out = runner.batch_put_payload(df, **options)
        assert out["http_status"].to_list() == [204, 204], out["message"].to_list()
        out = runner.batch_put_payload(df, **options)
        assert out["http_status"].to_list() == [412, 412]
        read = runner.batch_get_by_id(df, id_col="id", flatten=True)
        assert read["firstName"].to_list() == ["Zoë", "Zoë"]
