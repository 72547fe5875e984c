"""The expression plugin, by what a server sees of it."""

from __future__ import annotations

import ctypes
import datetime as dt
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi
from polars_edfi import _native

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS = ["the-secret-of-a-client", "the-token-of-a-client"]
WRITE = {
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
    "resource_id": pl.String,
}
READ = {name: dtype for name, dtype in WRITE.items() if name != "resource_id"}
ENGINES = ["in-memory", "streaming"]


def payloads(ods: ScriptedOds, rows: int = 200) -> pl.DataFrame:
    """Rows that bring everything."""
    return pl.DataFrame(
        {
            "n": range(rows),
            "payload": [json.dumps({"n": n}) for n in range(rows)],
            "targetUrl": ods.url,
            "EdFi Token": "token",
        }
    )


def post(**more: Any) -> pl.Expr:
    call = edfi.post_payload("payload", url="targetUrl", token="EdFi Token", commit=True, **more)
    return call.alias("result")


def get(**more: Any) -> pl.Expr:
    return edfi.get_by_id("id", url="targetUrl", token="EdFi Token", **more).alias("result")


def sent(ods: ScriptedOds) -> list[int]:
    """Which rows were posted."""
    posted = [request for request in ods.requests if request.method == "POST"]
    return sorted(json.loads(request.body)["n"] for request in posted)


def ids(ods: ScriptedOds, rows: int = 200) -> pl.DataFrame:
    """Rows whose items are there."""
    for n in range(rows):
        ods.items[f"{n:032x}"] = json.dumps(
            {"id": f"{n:032x}", "n": n, "ref": {"name": f"r{n}", "deep": {"x": [n]}}}
        ).encode()
    return pl.DataFrame(
        {
            "n": range(rows),
            "id": [f"{n:032x}" for n in range(rows)],
            "targetUrl": ods.url,
            "EdFi Token": "token",
        }
    )


class Gate:
    """Holds requests until as many wait as may, and counts how many were in at once."""

    def __init__(self, ods: ScriptedOds, expected: int) -> None:
        self.most = 0
        self._now = 0
        self._expected = expected
        self._reached = threading.Event()
        self._lock = threading.Lock()
        ods.one_at_a_time = False
        ods.script = self

    def __call__(self, _: Request) -> Answer | None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            if self._now >= self._expected:
                self._reached.set()
        self._reached.wait(5)
        with self._lock:
            self._now -= 1
        return None


# What a plan knows


def test_every_function_has_its_symbols() -> None:
    library = ctypes.CDLL(_native.__file__)
    for name in ["post_payload", "get_by_id", "get_all", "delete_by_id", "fetch_token"]:
        assert callable(getattr(edfi, name))
        assert getattr(library, f"_polars_plugin_{name}")
        assert getattr(library, f"_polars_plugin_field_{name}")


def test_types_are_known_before_any_request(ods: ScriptedOds) -> None:
    item = {"n": pl.Int64, "ref": pl.Struct({"name": pl.String}), "when": pl.Date}
    lf = district(ods).lazy().with_columns(id=pl.lit("x"), payload=pl.lit("{}"))
    where: dict[str, Any] = {"url": "targetUrl", "token": "EdFi Token"}
    planned = lf.select(
        post=edfi.post_payload("payload", **where),
        delete=edfi.delete_by_id("id", **where),
        item=edfi.get_by_id("id", **where),
        typed_item=edfi.get_by_id("id", schema=item, **where),
        all=edfi.get_all(**where),
        typed_all=edfi.get_all(schema=pl.Schema(item), **where),
        struct_all=edfi.get_all(schema=pl.Struct(item), **where),
        token=edfi.fetch_token("targetUrl", client_id="id", client_secret="payload"),
    ).collect_schema()
    assert planned == pl.Schema(
        {
            "post": pl.Struct(WRITE),
            "delete": pl.Struct(WRITE),
            "item": pl.Struct(READ | {"data": pl.String}),
            "typed_item": pl.Struct(READ | {"data": pl.Struct(item)}),
            "all": pl.Struct(READ | {"data": pl.String}),
            "typed_all": pl.Struct(READ | {"data": pl.List(pl.Struct(item))}),
            "struct_all": pl.Struct(READ | {"data": pl.List(pl.Struct(item))}),
            "token": pl.Struct(
                {
                    "token": pl.String,
                    "expires_at": pl.Datetime("us", "UTC"),
                    "status": pl.String,
                    "message": pl.String,
                }
            ),
        }
    )
    assert ods.requests == []


@pytest.mark.parametrize("engine", ENGINES)
def test_results_have_the_planned_types(ods: ScriptedOds, engine: Any) -> None:
    ods.items["x"] = (
        b'{"n": 1, "s": "text", "ref": {"name": "a", "extra": 2}, "when": "2024-02-29"}'
    )
    item = {
        "n": pl.Int32,
        "ref": pl.Struct({"name": pl.String}),
        "when": pl.Date,
        "s": pl.Categorical,
        "_unknown": pl.String,
        "none": pl.List(pl.Struct({"a": pl.Decimal(10, 2)})),
    }
    where: dict[str, Any] = {"url": "targetUrl", "token": "EdFi Token", "schema": item}
    for frame in [district(ods), district(ods).clear()]:
        lf = frame.lazy().with_columns(id=pl.lit("x"))
        lf = lf.select(
            item=edfi.get_by_id("id", **where),
            all=edfi.get_all(**where),
            text=edfi.get_by_id("id", url="targetUrl", token="EdFi Token"),
        )
        assert lf.collect(engine=engine).schema == lf.collect_schema()
    result = district(ods).with_columns(id=pl.lit("x")).select(edfi.get_by_id("id", **where))
    assert result.item()["data"] == {
        "n": 1,
        "ref": {"name": "a"},
        "when": dt.date(2024, 2, 29),
        "s": "text",
        "_unknown": '{"ref":{"extra":2}}',
        "none": None,
    }


# Writes: each row once


def chunked(df: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([df[i : i + 10] for i in range(0, df.height, 10)], rechunk=False)


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


# Reads: what the query needs


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("query", "requests"),
    [
        (lambda lf: lf.with_columns(get()), 200),
        (lambda lf: lf.with_columns(get()).filter(pl.col("n") < 10), 10),
        (lambda lf: lf.with_columns(get()).head(5), 5),
        (lambda lf: lf.with_columns(get()).select("n"), 0),
        (lambda lf: lf.with_columns(get()).select(pl.len()), 0),
        (lambda lf: lf.with_columns(get(), again=get()), 200),
        (lambda lf: lf.clear().with_columns(get()), 0),
    ],
)
def test_only_what_is_needed_is_read(
    ods: ScriptedOds, query: Callable[[pl.LazyFrame], pl.LazyFrame], requests: int, engine: Any
) -> None:
    query(ids(ods).lazy()).collect(engine=engine)
    assert len(ods.requests) == requests
    assert max(Counter(request.path for request in ods.requests).values(), default=1) == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_are_counted_in_the_whole_process(
    ods: ScriptedOds, engine: Any, workers: int
) -> None:
    df = chunked(ids(ods, 120))
    gate = Gate(ods, workers)
    out = df.lazy().with_columns(get(workers=workers)).collect(engine=engine)
    assert out["result"].struct["http_status"].to_list() == [200] * 120
    assert gate.most == workers


def test_queries_of_one_client_share_its_workers(ods: ScriptedOds) -> None:
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3")
    gate = Gate(ods, 2)
    df = ids(ods, 40)
    lfs = [
        df.lazy().select(edfi.get_by_id("id", client=client, workers=2).alias(str(i)))
        for i in range(4)
    ]
    threads = [threading.Thread(target=lf.collect) for lf in lfs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ods.requests) == 160
    assert gate.most == 2


def test_data_is_text_without_a_schema(ods: ScriptedOds) -> None:
    df = ids(ods, 2).vstack(ids(ods, 2).with_columns(id=pl.lit("none")).head(1))
    out = df.select(get()).unnest("result")
    assert [json.loads(text) for text in out["data"][:2]] == [
        json.loads(ods.items[name]) for name in df["id"][:2]
    ]
    assert out.row(2) == ("error", "HTTP 404 Not Found: No such item.", 404, "c-404", None)


def test_a_schema_is_found_by_paths_and_by_structs(ods: ScriptedOds) -> None:
    schema = {
        "ref.name": pl.String,
        "ref": pl.Struct({"deep": pl.Struct({"x": pl.List(pl.Int16), "y": pl.Time})}),
        "n": pl.String,
    }
    out = ids(ods, 1).select(get(schema=schema)).unnest("result")
    assert out["data"].item() == {
        "ref.name": "r0",
        "ref": {"deep": {"x": [0], "y": None}},
        "n": None,
    }


def test_a_null_is_not_read(ods: ScriptedOds) -> None:
    df = ids(ods, 3).with_columns(id=pl.Series(["0" * 32, None, " "]))
    out = df.select(get(schema={"n": pl.Int64}))["result"]
    assert out[0]["data"] == {"n": 0}
    assert out[1] is None
    assert out[2]["message"] == "missing 'id'"
    assert len(ods.requests) == 1


def test_one_value_serves_all_rows(ods: ScriptedOds) -> None:
    df = ids(ods, 4)
    item = edfi.get_by_id("id", url=pl.lit(ods.url), token=pl.col("EdFi Token").first())
    assert df.select(item).unnest("id")["http_status"].to_list() == [200] * 4
    item = edfi.get_by_id(pl.lit("0" * 32), url="targetUrl", token="EdFi Token")
    assert df.select(item.alias("x")).unnest("x")["http_status"].to_list() == [200] * 4


@pytest.mark.parametrize("engine", ENGINES)
def test_collections_become_lists(make_ods: Callable[..., ScriptedOds], engine: Any) -> None:
    servers = [make_ods(7), make_ods(0), make_ods(3)]
    servers[2].tokens = set()
    df = pl.concat([district(ods, bk) for ods, bk in zip(servers, "abc", strict=True)])
    df = df.vstack(df.head(1).with_columns(pl.lit(None, dtype=pl.String).alias("targetUrl")))
    call = edfi.get_all(
        "targetUrl",
        token="EdFi Token",
        limit=3,
        params={"x": 1},
        schema={"n": pl.Int64, "ref": pl.Struct({"name": pl.String})},
    )
    out = df.lazy().select("District BK", call.alias("got")).collect(engine=engine)
    assert out["got"][0]["data"] == [{"n": n, "ref": {"name": f"r{n}"}} for n in range(7)]
    assert out["got"][1] == {
        "status": None,
        "message": None,
        "http_status": 200,
        "correlation_id": None,
        "data": [],
    }
    assert out["got"][2]["message"] == "auth error: HTTP 401"
    assert out["got"][2]["data"] is None
    assert out["got"][3] is None
    assert all(request.query["x"] == "1" for request in servers[0].paths())
    flat = out.unnest("got").explode("data").unnest("data").unnest("ref")
    assert flat.filter(pl.col("District BK") == "a", pl.col("n").is_not_null()).height == 7


def test_collections_are_text_without_a_schema(ods: ScriptedOds) -> None:
    ods.records = [{"id": "a", "x": 1.50, "n": None}, {"id": "b", "y": {}}, {"id": "a", "x": 2}]
    ods.total_count = False
    text = district(ods).select(edfi.get_all("targetUrl", token="EdFi Token"))
    assert text.item()["data"] == '[{"id":"b","y":{}},{"id":"a","x":2}]'


def test_a_client_without_url_is_one_value(ods: ScriptedOds) -> None:
    client = edfi.Resource("ed-fi/students", base_url=ods.url, bearer_token="token")
    out = pl.DataFrame({"n": range(5)}).with_columns(edfi.get_all(client=client))
    assert [len(json.loads(row["data"])) for row in out["get_all"]] == [3] * 5
    assert [request.path for request in ods.paths()] == ["/data/v3/ed-fi/students"]


def test_versions_and_endpoints(ods: ScriptedOds) -> None:
    client = edfi.Resource(
        "ed-fi/students", base_url=ods.url, bearer_token="token", api_version="v9"
    )
    df = pl.DataFrame({"id": ["a"], "targetUrl": [ods.url], "t": ["token"]})
    for call in [
        edfi.get_by_id("id", client=client),
        edfi.get_by_id("id", client=client, api_version="7.1", endpoint="/ed-fi/schools/"),
        edfi.get_by_id("id", client=client, api_version=""),
        edfi.get_by_id("id", url="targetUrl", token="t"),
    ]:
        df.select(call)
    assert [request.path for request in ods.requests] == [
        "/data/v9/ed-fi/students/a",
        "/data/v3/ed-fi/schools/a",
        "/ed-fi/students/a",
        "/data/v3/ed-fi/studentAssessments/a",
    ]


# Tokens


def test_equal_credentials_share_a_request(make_ods: Callable[..., ScriptedOds]) -> None:
    good, bad = make_ods(), make_ods()
    bad.secret = "another"
    df = pl.DataFrame(
        {
            "url": [good.url, bad.url, None, good.url, good.url],
            "key": ["key", "key", "key", "key", None],
            "secret": ["secret"] * 5,
        }
    )
    out = df.select(pl.col("url").edfi.fetch_token(client_id="key", client_secret="secret"))["url"]
    assert out[0]["token"] == "issued-1"
    assert out[0]["expires_at"] is not None
    assert out[1]["message"] == "auth error: HTTP 401"
    assert out[2] is None
    assert out[3] == out[0]
    assert out[4]["message"] == "missing 'oAuthKey'"
    assert (len(good.requests), len(bad.requests)) == (1, 1)


# Credentials


def client_with_secrets(ods: ScriptedOds) -> list[edfi.EdFiClient]:
    return [
        edfi.StudentAssessment(base_url=ods.url, client_id="k", client_secret=SECRETS[0]),
        edfi.StudentAssessment(base_url=ods.url, bearer_token=SECRETS[1]),
    ]


def test_plans_hold_no_secret(ods: ScriptedOds) -> None:
    df = pl.DataFrame({"id": ["a"], "payload": ["{}"]})
    for client in client_with_secrets(ods):
        expressions = [
            edfi.post_payload("payload", client=client, commit=True),
            edfi.delete_by_id("id", client=client, commit=True),
            edfi.get_by_id("id", client=client, schema={"id": pl.String}),
            edfi.get_all(client=client),
        ]
        for expr in expressions:
            lf = df.lazy().with_columns(expr.alias("x"))
            written = [
                pickle.dumps(expr),
                pickle.dumps(lf),
                lf.serialize(),
                str(expr).encode(),
                repr(expr).encode(),
                lf.explain().encode(),
                expr.meta.serialize(),
                expr.meta.tree_format(return_as_string=True).encode(),
            ]
            for text in written:
                assert not any(secret.encode() in text for secret in SECRETS)


def test_a_plan_goes_on_in_its_own_process(ods: ScriptedOds) -> None:
    client = edfi.Resource("ed-fi/students", base_url=ods.url, bearer_token="token")
    lf = ids(ods, 2).lazy().select(edfi.get_by_id("id", client=client))
    again = pl.LazyFrame.deserialize(io.BytesIO(lf.serialize()))
    assert again.collect().unnest("id")["http_status"].to_list() == [200, 200]


def test_another_process_says_what_is_missing(ods: ScriptedOds) -> None:
    client = edfi.Resource("ed-fi/students", base_url=ods.url, bearer_token="token")
    lf = ids(ods, 2).lazy().select(edfi.get_by_id("id", client=client))
    code = """
import io, sys
import polars as pl
try:
    pl.LazyFrame.deserialize(io.BytesIO(sys.stdin.buffer.read())).collect()
except pl.exceptions.ComputeError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=lf.serialize(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"lives in another process" in run.stdout
    assert ods.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: edfi.post_payload("p", url="u", token=pl.lit("secret")),
        lambda: edfi.get_by_id("p", url="u", token=pl.lit("sec") + "ret"),
        lambda: edfi.fetch_token("u", client_id="k", client_secret=pl.lit("secret")),
    ],
)
def test_literal_secrets_are_refused(wrong: Callable[[], pl.Expr]) -> None:
    with pytest.raises(edfi.EdFiError, match="column, or give client=") as raised:
        wrong()
    assert "secret'" not in str(raised.value)


# Wrong calls


BARE = edfi.EdFiClient()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: edfi.post_payload("p"), "url is missing"),
        (lambda: edfi.post_payload("p", url="u"), "token is missing"),
        (edfi.get_all, "url is missing"),
        (lambda: edfi.get_all(client=BARE), "url is missing"),
        (lambda: edfi.get_all("u", client=BARE), "token is missing"),
        (lambda: edfi.get_by_id("p", url="u", token="t", workers=0), "workers"),
        (lambda: edfi.get_by_id("p", url="u", token="t", workers=True), "workers"),
        (lambda: edfi.get_by_id("p", url="u", token="t", client="c"), "client must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", endpoint="a/../b"), "endpoint"),
        (lambda: edfi.get_by_id("p", url="u", token="t", schema="infer"), "schema must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", schema={}), "schema must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", schema={"a": pl.Binary}), "Binary|binary"),
        (lambda: edfi.get_by_id(1, url="u", token="t"), "id must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", api_version=7.1), "api_version"),
        (lambda: edfi.get_all("u", token="t", limit=0), "limit"),
        (lambda: edfi.get_all("u", token="t", params={"a": []}), "params"),
        (lambda: edfi.post_payload("p", url="u", token="t", retry_statuses=[401]), "401"),
        (lambda: edfi.post_payload("p", url="u", token="t", retry_backoff=-1), "retry_backoff"),
        (
            lambda: edfi.post_payload("p", url="u", token="t", retry_backoff=float("nan")),
            "retry_backoff",
        ),
        (lambda: edfi.post_payload("p", url="u", token="t", max_retries=-1), "max_retries"),
        (
            lambda: edfi.fetch_token("u", client_id="k", client_secret="s", oauth_endpoint=1),
            "oauth",
        ),
    ],
)
def test_wrong_calls_raise_where_they_are_written(wrong: Callable[[], pl.Expr], text: str) -> None:
    with pytest.raises(edfi.EdFiError, match=text):
        wrong()


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unknown"):
        edfi.get_all("u", token="t", unknown=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown"):
        pl.col("u").edfi.get_all(token="t", unknown=1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_of_a_wrong_type_raise(ods: ScriptedOds, engine: Any) -> None:
    lf = payloads(ods, 2).lazy().with_columns(id=pl.lit([1]))
    for call in [
        edfi.post_payload("n", url="targetUrl", token="EdFi Token", commit=True),
        edfi.get_by_id("payload", url="n", token="EdFi Token"),
        edfi.get_by_id("id", url="targetUrl", token="EdFi Token"),
        edfi.delete_by_id("payload", url="targetUrl", token="n", commit=True),
    ]:
        with pytest.raises(pl.exceptions.ComputeError, match=r"must be String|a key is"):
            lf.select(call).collect(engine=engine)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        lf.select(edfi.get_by_id("nothing", url="targetUrl", token="EdFi Token")).collect(
            engine=engine
        )
    assert ods.requests == []


def test_every_dtype_is_an_answer_or_an_error() -> None:
    code = """
import datetime as dt, decimal
import polars as pl
import polars_edfi as edfi

columns = [
    pl.Series("a", [None, None]),
    *(pl.Series("a", [1, None], dtype=dtype) for dtype in [
        pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128,
        pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128,
    ]),
    *(pl.Series("a", [1.5, None], dtype=dtype) for dtype in [pl.Float16, pl.Float32, pl.Float64]),
    pl.Series("a", [True, None]),
    pl.Series("a", ["x", None]),
    pl.Series("a", ["x", None], dtype=pl.Categorical),
    pl.Series("a", ["x", None], dtype=pl.Enum(["x"])),
    pl.Series("a", [b"x", None]),
    pl.Series("a", [dt.date(2024, 1, 1), None]),
    pl.Series("a", [dt.time(1), None]),
    pl.Series("a", [dt.datetime(2024, 1, 1), None]),
    pl.Series("a", [dt.datetime(2024, 1, 1), None]).dt.replace_time_zone("Europe/Berlin"),
    pl.Series("a", [dt.timedelta(1), None]),
    pl.Series("a", [decimal.Decimal("1.5"), None]),
    pl.Series("a", [[1], None]),
    pl.Series("a", [[1], None], dtype=pl.Array(pl.Int64, 1)),
    pl.Series("a", [{"x": 1}, None]),
    pl.Series("a", [object(), None], dtype=pl.Object),
]
client = edfi.EdFiClient(base_url="http://127.0.0.1:9", bearer_token="t", max_retries=0)
calls = {
    "payload": edfi.post_payload("a", client=client),
    "post url": edfi.post_payload("b", url="a", token="b"),
    "post token": edfi.post_payload("b", url="b", token="a"),
    "id": edfi.get_by_id("a", client=client),
    "id typed": edfi.get_by_id("a", client=client, schema={"x": pl.Int64}),
    "get url": edfi.get_by_id("b", url="a", token="b"),
    "delete": edfi.delete_by_id("a", client=client),
    "all": edfi.get_all("a", token="b"),
    "all typed": edfi.get_all("b", token="a", schema={"x": pl.Int64}),
    "token": edfi.fetch_token("a", client_id="b", client_secret="b"),
    "secret": edfi.fetch_token("b", client_id="b", client_secret="a"),
}
for column in columns:
    df = pl.DataFrame([column, pl.Series("b", ["y", "y"])])
    for name, call in calls.items():
        for frame in [df, df.clear()]:
            try:
                out = frame.select(call)
            except Exception as error:
                assert "panic" not in str(error).lower(), (name, column.dtype, error)
            else:
                assert out.width == 1, (name, column.dtype)
                assert out.height in (0, 2), (name, column.dtype)
print("done", len(columns))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stderr.decode()[-3000:]
    assert run.stdout.split()[0] == b"done"
    assert int(run.stdout.split()[1]) > 28


# The other namespaces


def test_frames_have_the_namespace() -> None:
    df = pl.DataFrame({"ref": [{"id": 1}], "n": [2]})
    flat = df.edfi.flatten()  # type: ignore[attr-defined]
    assert flat.columns == ["ref.id", "n"]
    assert flat.edfi.unflatten()["payload"].to_list() == [{"ref": {"id": 1}, "n": 2}]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sink_sends_each_row_once(ods: ScriptedOds, monkeypatch: Any, engine: Any) -> None:
    monkeypatch.setattr("polars_edfi._namespaces.CHUNK", 60)
    pl.Config.set_engine_affinity(engine)
    try:
        df = payloads(ods).with_columns(key=pl.col("n") * 2)
        lf = df.lazy().filter(pl.col("n") >= 50)
        out = lf.edfi.sink_post_payload(payload_col="payload", key_col="key", commit=True)  # type: ignore[attr-defined]
    finally:
        pl.Config.set_engine_affinity(None)
    assert sent(ods) == list(range(50, 200))
    assert out["key"].to_list() == list(range(100, 400, 2))
    assert out["row_index"].to_list() == list(range(150))
    assert (
        out.schema
        == edfi.EdFiClient().batch_post_payload(df, payload_col="payload", key_col="key").schema
    )
    assert out["http_status"].unique().to_list() == [201]


def test_a_sink_deletes(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    lf = ids(ods, 30).lazy()
    out = lf.edfi.sink_delete_by_id(client=runner, id_col="id", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert out["status"].unique().to_list() == ["deleted"]
    assert runner.rows is not None
    assert runner.rows.equals(out)
    assert ods.items == {}


def test_a_sink_checks_before_it_begins(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ran = []
    lf = payloads(ods, 3).lazy().map_batches(lambda df: ran.append(1) or df)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        lf.edfi.sink_post_payload(client=runner, payload_col="nothing", key_col="n")  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="unknown"):
        lf.edfi.sink_post_payload(payload_col="payload", key_col="n", unknown=1)  # type: ignore[attr-defined]
    assert ran == []
    out = lf.clear().edfi.sink_post_payload(payload_col="payload", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert out.height == 0
    assert ods.requests == []


def test_a_query_that_fails_leaves_what_was_sent(
    ods: ScriptedOds, runner: edfi.StudentAssessment, monkeypatch: Any
) -> None:
    monkeypatch.setattr("polars_edfi._namespaces.CHUNK", 10)

    def broken(df: pl.DataFrame) -> pl.DataFrame:
        if df["n"].max() >= 40:
            msg = "the query broke"
            raise ValueError(msg)
        return df

    pieces = [payloads(ods)[i : i + 10].lazy() for i in range(0, 60, 10)]
    lf = pl.concat([piece.map_batches(broken, streamable=True) for piece in pieces])
    with pytest.raises(Exception, match="the query broke"):
        lf.edfi.sink_post_payload(client=runner, payload_col="payload", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert runner.rows is not None
    assert runner.rows["key"].to_list() == sent(ods)


def test_a_sink_can_be_interrupted(
    ods: ScriptedOds, runner: edfi.StudentAssessment, monkeypatch: Any
) -> None:
    monkeypatch.setattr("polars_edfi._namespaces.CHUNK", 20)

    def script(_: Request) -> None:
        if len(ods.requests) == 30:
            os.kill(os.getpid(), signal.SIGINT)

    ods.script = script
    lf = payloads(ods, 2_000).lazy()
    with pytest.raises(KeyboardInterrupt) as raised:
        lf.edfi.sink_post_payload(client=runner, payload_col="payload", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert "client.rows" in raised.value.__notes__[0]
    assert runner.rows is not None
    rows = runner.rows
    assert rows.height < 2_000
    assert rows.filter(pl.col("status").is_null())["key"].to_list() == sent(ods)
    assert rows["status"].is_in([None, "error"], nulls_equal=True).all()
