"""Each row is sent once, in whatever query it stands."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi
from expressions.support import ENGINES, chunked, ids, payloads, post, sent

LAZY: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "alone": lambda lf: lf,
    "filter": lambda lf: lf.filter(pl.col("n") < 10),
    "filter on the result": lambda lf: lf.filter(pl.col("result").struct["http_status"] == 201),
    "head": lambda lf: lf.head(5),
    "slice": lambda lf: lf.slice(20, 5),
    "tail": lambda lf: lf.tail(5),
    "sort": lambda lf: lf.sort("n", descending=True),
    "self-join": lambda lf: lf.join(lf, on="n"),
    "concat": lambda lf: pl.concat([lf, lf]),
    "cached": lambda lf: pl.concat([(cached := lf.cache()), cached.head(3)]),
    "two steps": lambda lf: lf.with_columns(s=pl.col("result").struct["status"]).unnest("result"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("query", LAZY)
@pytest.mark.parametrize("pieces", [1, 20])
def test_each_row_is_sent_once(ods: ScriptedOds, query: str, engine: Any, pieces: int) -> None:
    df = payloads(ods) if pieces == 1 else chunked(payloads(ods))
    LAZY[query](df.lazy().with_columns(post())).collect(engine=engine)
    assert sent(ods) == list(range(200))


def test_each_row_of_a_frame_is_sent_once(ods: ScriptedOds) -> None:
    chunked(payloads(ods)).with_columns(post())
    assert sent(ods) == list(range(200))


def test_a_row_has_its_own_result(ods: ScriptedOds) -> None:
    df = payloads(ods, 6).with_columns(
        payload=pl.Series(['{"n": 0}', "{", None, " ", '{"n": 4}', '{"n": 5}']),
        targetUrl=pl.Series([ods.url, ods.url, ods.url, ods.url, None, "http://127.0.0.1:9/%%"]),
    )
    out = df.select(post())["result"]
    assert [None if row is None else row["status"] for row in out] == [
        None,
        "error",
        None,
        "error",
        "error",
        "error",
    ]
    assert out[0] == {
        "status": None,
        "message": None,
        "http_status": 201,
        "correlation_id": None,
        "resource_id": next(iter(ods.items)),
    }
    assert out[1]["message"].startswith("invalid JSON: ")
    assert out[2] is None
    assert out[3]["message"] == "missing 'payload'"
    assert out[4]["message"] == "missing 'targetUrl'"
    assert sent(ods) == [0]


def test_structs_are_posted(ods: ScriptedOds) -> None:
    df = district(ods).with_columns(n=pl.Series([7]), left_out=pl.lit(None, dtype=pl.String))
    out = df.select(
        edfi.post_payload(
            pl.struct("n", "left_out"), url="targetUrl", token="EdFi Token", commit=True
        )
    )
    assert out.unnest(pl.first())["http_status"].item() == 201
    assert list(ods.items.values()) == [b'{"n":7}']


def test_nothing_is_written_without_commit(ods: ScriptedOds) -> None:
    df = ids(ods, 3).with_columns(payload=pl.lit("{}"))
    out = df.select(
        post=edfi.post_payload("payload", url="targetUrl", token="EdFi Token"),
        delete=edfi.delete_by_id("id", url="targetUrl", token="EdFi Token"),
    )
    assert {row["status"] for name in out.columns for row in out[name]} == {"dry_run"}
    assert ods.requests == []


def test_items_are_deleted(ods: ScriptedOds) -> None:
    df = ids(ods, 3).vstack(ids(ods, 3).with_columns(id=pl.lit("none")).head(1))
    where: dict[str, Any] = {"url": "targetUrl", "token": "EdFi Token", "commit": True}
    out = df.select(pl.col("id").edfi.delete_by_id(**where)).unnest("id")
    assert out["status"].to_list() == ["deleted"] * 3 + ["error"]
    assert out["correlation_id"].to_list() == [None] * 3 + ["c-404"]
    assert ods.items == {}


def test_answers_can_be_retried_and_allowed(ods: ScriptedOds) -> None:
    tries: Counter[bytes] = Counter()

    def script(request: Request) -> Answer | None:
        tries[request.body] += 1
        busy = request.body == b'{"n": 0}' and tries[request.body] == 1
        return Answer(409, {"detail": "later"}) if busy or request.body == b'{"n": 1}' else None

    ods.script = script
    more: dict[str, Any] = {"retry_messages": ["later"], "allow_statuses": {409: "warning"}}
    out = payloads(ods, 2).select(post(retry_statuses=[409], retry_backoff=0, **more))
    out = out.unnest("result")
    assert out["status"].to_list() == [None, "error"]
    assert sorted(tries.values()) == [2, 3]
