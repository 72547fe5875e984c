"""Only what a query needs is read."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi
from expressions.support import ENGINES, chunked, get, ids


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


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("height", [1, 5, 300_000])
def test_a_client_without_url_is_read_once(ods: ScriptedOds, engine: Any, height: int) -> None:
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    got = edfi.get_all(client=client, schema={"id": pl.String})
    lf = pl.LazyFrame({"a": range(height)})
    queries = [
        lf.with_columns(got),
        lf.select(got),
        lf.with_columns(got).head(2),
        lf.with_columns(got).filter(pl.col("a") > 0),
    ]
    for query in queries:
        ods.requests.clear()
        query.collect(engine=engine)
        assert len(ods.paths()) == 1


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


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "schema",
    [{"ref": pl.Struct([])}, pl.Struct({"id": pl.String, "refs": pl.List(pl.Struct([]))})],
)
def test_a_struct_without_fields_is_what_the_plan_says(
    ods: ScriptedOds, engine: Any, schema: Any
) -> None:
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    lf = pl.LazyFrame({"n": [1]}).select(all=edfi.get_all(client=client, schema=schema))
    out = lf.collect(engine=engine)
    assert out.schema == lf.collect_schema()
    assert out["all"].struct.field("data").list.len().to_list() == [3]
    with pytest.raises(edfi.EdFiError, match="with a field at least"):
        edfi.get_all(client=client, schema=pl.Struct([]))
