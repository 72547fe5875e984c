"""Lazy scans: the same rows as on the collected frame, and no more requests than it takes."""

import gc
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district
from polars.testing import assert_frame_equal
from test_pushdown import Filtering, records

import polars_edfi as edfi

Engine = Literal["in-memory", "streaming"]
ENGINES: tuple[Engine, ...] = ("in-memory", "streaming")
RESULTS = "ed-fi/studentAssessments"

SPARSE_LISTS = ["accommodations", "performanceLevels", "studentObjectiveAssessments"]

Step = Callable[[pl.LazyFrame], pl.LazyFrame]
minutes = pl.col("assessedMinutes")
student = pl.col("studentReference.studentUniqueId")


def is_late(text: str) -> bool:
    """Say something about a student that only Python can."""
    return sum(map(ord, text)) % 3 > 0


STEPS: dict[str, Step] = {
    "head": lambda lf: lf.head(10),
    "head_0": lambda lf: lf.head(0),
    "head_13": lambda lf: lf.head(13),
    "limit": lambda lf: lf.limit(1000),
    "slice": lambda lf: lf.slice(5, 20),
    "slice_end": lambda lf: lf.slice(-9, 4),
    "tail": lambda lf: lf.tail(6),
    "last": lambda lf: lf.last(),
    "gather_every": lambda lf: lf.gather_every(3, offset=1),
    "filter": lambda lf: lf.filter(minutes > 40),
    "filter_null": lambda lf: lf.filter(minutes.is_null() | (minutes < 30)),
    "filter_text": lambda lf: lf.filter(student.str.ends_with("1") | student.str.contains("7")),
    "filter_none": lambda lf: lf.filter(minutes < 0),
    "filter_mean": lambda lf: lf.filter(minutes > minutes.mean()),
    "filter_first": lambda lf: lf.filter(student.is_first_distinct()),
    "filter_over": lambda lf: lf.filter(minutes == minutes.max().over(student)),
    "filter_list": lambda lf: lf.filter(pl.col("scoreResults").list.len() > 1),
    "filter_udf": lambda lf: lf.filter(student.map_elements(is_late, return_dtype=pl.Boolean)),
    "drop_nulls": lambda lf: lf.drop_nulls("assessedMinutes"),
    "sort": lambda lf: lf.sort("assessedMinutes", student, "id", descending=True, nulls_last=True),
    "top_k": lambda lf: lf.sort("id").head(7),
    # Polars 2.1 panics on reversing lists of structs that are null in a whole batch, whatever the
    # source of the batches is.
    "reverse": lambda lf: lf.drop(SPARSE_LISTS, strict=False).reverse(),
    "row_index": lambda lf: lf.drop("n", strict=False).with_row_index("n"),
    "unique": lambda lf: lf.unique(student.meta.output_name(), keep="first", maintain_order=True),
    "with_columns": lambda lf: lf.with_columns(double=minutes * 2),
    "overwrite": lambda lf: lf.with_columns(minutes.fill_null(0)),
    "select": lambda lf: lf.select("scoreResults", "id", student, "assessedMinutes"),
    "drop": lambda lf: lf.drop("_etag", "_unknown", strict=False),
    "concat": lambda lf: pl.concat([lf, lf]),
    "semi": lambda lf: lf.join(lf.filter(minutes > 50), on="id", how="semi", maintain_order="left"),
    "cache": lambda lf: lf.cache(),
    "row_index_filter": lambda lf: (
        lf.drop("m", strict=False).with_row_index("m").filter(pl.col("m") % 4 == 1)
    ),
    "over": lambda lf: lf.with_columns(rank=minutes.rank("ordinal").over(student)),
    "shift": lambda lf: lf.with_columns(before=minutes.shift(1), diff=minutes.diff()),
    "int_range": lambda lf: lf.with_columns(place=pl.int_range(pl.len())),
    "literal": lambda lf: lf.with_columns(one=pl.lit(1)),
}

ENDS: dict[str, Step] = {
    "all": lambda lf: lf,
    "len": lambda lf: lf.select(pl.len()),
    "three": lambda lf: lf.select("assessedMinutes", "scoreResults", "id"),
    "group_by": lambda lf: lf.group_by(student, maintain_order=True).agg(
        pl.len(), pl.col("id").first(), minutes.sum()
    ),
    "sums": lambda lf: lf.select(minutes.sum(), pl.col("id").max(), ids=pl.col("id").n_unique()),
    "explode": lambda lf: lf.select("id", pl.col("scoreResults").list.first()).unnest(
        "scoreResults"
    ),
    "self_join": lambda lf: lf.select("id", "assessedMinutes").join(
        lf.select("id", student), on="id", how="left", maintain_order="left_right"
    ),
    "nothing": lambda lf: lf.select([]),
    "row_index_alone": lambda lf: lf.with_row_index("only").select("only"),
    "row_index_filtered": lambda lf: (
        lf.with_row_index("only").filter(pl.col("only") > 2).select("only")
    ),
    "literals": lambda lf: lf.select(pl.lit(1), pl.int_range(pl.len()).alias("place")),
    "length": lambda lf: lf.with_columns(pl.lit(2).alias("two")).select("two", n=pl.len()),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[edfi.Sandbox]:
    with edfi.Sandbox(districts=["a", "b", "c"], records=45, page_limit=7) as ods:
        yield ods


def client_of(ods: edfi.Sandbox, name: str = "a", **settings: object) -> edfi.EdFiClient:
    url, key, secret = ods.districts().filter(pl.col("District BK") == name).row(0)[1:]
    return edfi.EdFiClient(
        base_url=url,
        client_id=key,
        client_secret=secret,
        api_version="v3",
        **settings,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def schema(sandbox: edfi.Sandbox) -> pl.Schema:
    """All columns that the records have, so that nothing is left for ``_unknown``."""
    result = client_of(sandbox).get_all(key=1, endpoint=RESULTS, schema="infer")
    assert result["data"] is not None
    return result["data"].schema


@pytest.fixture(scope="module")
def scanned(sandbox: edfi.Sandbox, schema: pl.Schema) -> pl.LazyFrame:
    client = client_of(sandbox)
    return edfi.scan(RESULTS, client=client, schema=schema, limit=7, workers=3)


@pytest.fixture(scope="module")
def collected(scanned: pl.LazyFrame, sandbox: edfi.Sandbox) -> pl.DataFrame:
    df = scanned.collect()
    data = client_of(sandbox).get_all(key=1, endpoint=RESULTS, schema="infer")["data"]
    assert data is not None
    assert_frame_equal(df.drop("_unknown"), data)
    assert df["_unknown"].null_count() == 45
    return df


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first", STEPS)
def test_queries_give_the_rows_of_the_collected_frame(
    scanned: pl.LazyFrame, collected: pl.DataFrame, first: str, engine: Engine
) -> None:
    for second, end in product(STEPS, ENDS):
        # Not all of the thousands; the offset lets every pair of neighbours come up.
        if (list(STEPS).index(first) + list(STEPS).index(second)) % len(ENDS) != list(ENDS).index(
            end
        ):
            continue
        if "select" in (first, second) and "drop" in (first, second):
            continue

        def query(lf: pl.LazyFrame, second: str = second, end: str = end) -> pl.LazyFrame:
            return ENDS[end](STEPS[second](STEPS[first](lf)))

        expected = query(collected.lazy()).collect(engine="in-memory")
        got = query(scanned).collect(engine=engine)
        try:
            assert_frame_equal(got, expected)
        except AssertionError as error:
            error.add_note(f"{first}, {second}, {end}, {engine}")
            raise


@pytest.mark.parametrize("engine", ENGINES)
def test_three_steps_in_every_order(
    scanned: pl.LazyFrame, collected: pl.DataFrame, engine: Engine
) -> None:
    names = ["head", "filter", "row_index", "select"]
    for steps in product(names, repeat=3):
        got, expected = scanned, collected.lazy()
        for step in steps:
            got, expected = STEPS[step](got), STEPS[step](expected)
        assert_frame_equal(got.collect(engine=engine), expected.collect())


@pytest.mark.parametrize("paging", ["offset", "cursor", "auto"])
def test_every_way_of_paging_gives_the_same_rows(
    sandbox: edfi.Sandbox,
    schema: pl.Schema,
    collected: pl.DataFrame,
    paging: Literal["offset", "cursor", "auto"],
) -> None:
    lf = edfi.scan(RESULTS, client=client_of(sandbox), schema=schema, limit=3, paging=paging)
    assert_frame_equal(lf.collect(), collected)
    assert_frame_equal(lf.head(20).collect(), collected.head(20))


def small(ods: ScriptedOds, **arguments: object) -> pl.LazyFrame:
    client = edfi.EdFiClient(
        base_url=ods.url, bearer_token="token", api_version="v3", max_retries=0, timeout=10
    )
    return edfi.scan("ed-fi/things", client=client, **arguments)  # type: ignore[arg-type]


SCHEMA = {"id": pl.String, "n": pl.Int64, "ref.name": pl.String}


def test_the_endpoint_of_a_client_may_be_left_to_it(ods: ScriptedOds) -> None:
    client = edfi.Resource("ed-fi/x", base_url=ods.url, api_version="v3", bearer_token="token")
    nothing: Any = None
    lf = edfi.scan(nothing, client=client, schema={"id": pl.String})
    assert "ed-fi/x" in lf.explain()
    assert lf.collect().height == 3


def test_a_scan_sends_nothing_until_it_is_run(ods: ScriptedOds) -> None:
    lf = small(ods).filter(pl.col("n") > 0).select("n")
    assert ods.requests == []
    assert lf.collect_schema() == {"n": pl.Int64}
    # There is no document, so the first page tells the columns, once for all queries.
    asked = len(ods.requests)
    assert len(ods.paths()) == 1
    lf.collect_schema()
    lf.explain()
    assert len(ods.requests) == asked
    # The page that told the columns serves the first reading, where that follows at once.
    asked -= 1
    for _ in range(3):
        assert lf.collect()["n"].to_list() == [1, 2]
        asked += 1
    assert len(ods.requests) in (asked, asked + 1)
    asked = len(ods.requests)
    given = small(ods, schema=SCHEMA)
    assert given.collect_schema() == {**SCHEMA, "_unknown": pl.String}
    assert len(ods.requests) == asked


def test_the_page_that_told_the_columns_is_not_read_again(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods = make_ods(30)
    assert small(ods, schema="infer", limit=100).collect().height == 30
    assert len(ods.paths()) == 1
    # Of a larger collection one page more is looked at.
    ods.requests.clear()
    df = small(ods, schema="infer", limit=10, workers=1).collect()
    assert df["n"].to_list() == list(range(30))
    offsets = [int(request.query["offset"]) for request in ods.paths()]
    assert sorted(offsets) == [0, 9, 18, 20, 27]
    # What this process writes is in the next reading.
    lf = small(ods, schema="infer", limit=100)
    lf.collect_schema()
    client = edfi.Resource("ed-fi/things", base_url=ods.url, bearer_token="token", api_version="v3")
    assert client.post_payload({"n": 30}, key="k", commit=True)["status"] is None
    ods.records.append({"id": "new", "n": 30})
    assert lf.collect()["n"].to_list() == list(range(31))


@pytest.mark.parametrize("engine", ENGINES)
def test_heads_cost_no_more_than_their_pages(
    make_ods: Callable[..., ScriptedOds], engine: Engine
) -> None:
    ods = make_ods(1000)
    lf = small(ods, schema=SCHEMA, limit=100)
    for rows, pages in [(10, 1), (100, 1), (101, 2), (350, 4)]:
        ods.requests.clear()
        assert lf.head(rows).collect(engine=engine)["n"].to_list() == list(range(rows))
        assert len(ods.requests) == pages
    ods.requests.clear()
    assert lf.head(10).filter(pl.col("n") % 2 == 0).collect(engine=engine).height == 5
    assert [request.query for request in ods.requests] == [{"offset": "0", "limit": "10"}]
    # Where a filter stands before, pages are read until there are enough.
    ods.requests.clear()
    lf = small(ods, schema=SCHEMA, limit=10, workers=2)
    some = lf.filter(pl.col("n") % 2 == 0).head(10).collect(engine=engine)
    assert some["n"].to_list() == list(range(0, 20, 2))
    if engine == "streaming":
        assert len(ods.requests) < 20


@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_after_a_filter_stops_early(
    make_ods: Callable[..., ScriptedOds], engine: Engine
) -> None:
    ods = make_ods(4000)
    lf = small(ods, schema=SCHEMA, limit=20, workers=2)
    assert lf.filter(pl.col("n") == 3).head(1).collect(engine=engine)["n"].to_list() == [3]
    if engine == "streaming":
        assert len(ods.requests) < 60
    assert lf.filter(pl.col("n") < 0).collect(engine=engine).height == 0


def test_a_match_on_the_first_page_takes_few_requests(make_ods: Callable[..., ScriptedOds]) -> None:
    ods = make_ods(4000)
    lf = small(ods, schema=SCHEMA, limit=20)
    for _ in range(3):
        ods.requests.clear()
        found = lf.filter(pl.col("n").is_between(3, 3)).head(1).collect(engine="streaming")
        assert found["n"].to_list() == [3]
        settled(ods)
        assert len(ods.requests) < 40


def test_a_consumer_that_stops_is_not_read_for(make_ods: Callable[..., ScriptedOds]) -> None:
    ods = make_ods(1000)
    lf = small(ods, schema=SCHEMA, limit=10, workers=3)
    batches = lf.collect_batches(chunk_size=1, engine="streaming")
    next(iter(batches))
    del batches
    gc.collect()
    settled(ods)
    assert len(ods.requests) < 60


def settled(ods: ScriptedOds) -> None:
    """Wait until no request comes any more."""
    seen = -1
    while seen != len(ods.requests):
        seen = len(ods.requests)
        time.sleep(0.2)


def test_only_wanted_columns_are_decoded(make_ods: Callable[..., ScriptedOds]) -> None:
    records: list[dict[str, Any]] = [{"id": f"{n}", "n": n, "text": "t"} for n in range(6)]
    records[3] |= {"text": 5, "new": 1}
    ods = make_ods(records)
    lf = small(ods, limit=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lf.select("n").collect().to_dict(as_series=False) == {"n": list(range(6))}
    with pytest.warns(UserWarning, match="1 record has something in '_unknown'"):
        df = lf.collect()
    assert df["_unknown"][3] == '{"new":1}'
    assert df["text"].to_list() == ["t", "t", "t", "5", "t", "t"]
    # Where someone chose the columns, nobody is warned.
    given = small(ods, schema={"n": pl.Int64}).collect()
    assert given["_unknown"].null_count() == 0


def test_inferred_columns_hold_what_comes_or_say_so(make_ods: Callable[..., ScriptedOds]) -> None:
    first = {"id": "1", "n": 1, "late": None, "list": [], "nested": [[]], "empty": {}}
    last = {"id": "last", "n": 9}

    def read(*between: dict[str, Any]) -> pl.LazyFrame:
        records = [first, *({"id": f"{n + 2}"} | one for n, one in enumerate(between)), last]
        return small(make_ods(records), limit=2, workers=1)

    def column(name: str, *between: dict[str, Any]) -> list[Any]:
        return read(*between).select(name).collect()[name].to_list()

    few = [{}] * 4
    assert column("late", *few, {"late": "text"}, *few)[5] == "text"
    assert column("late", *few, {"late": 5}, *few)[5] == "5"
    assert column("late", *few, {"late": {"a": [1.50]}}, *few)[5] == '{"a":[1.5]}'
    assert column("list", *few, {"list": [1, "b", {"c": None}]}, *few)[5] == [
        "1",
        "b",
        '{"c":null}',
    ]
    assert column("nested", *few, {"nested": [["x"], []]}, *few)[5] == [["x"], []]
    assert column("empty", *few, {"empty": {"a": 1}}, *few)[5] == '{"a":1}'
    with pytest.warns(UserWarning, match="1 record has something in '_unknown'"):
        assert column("_unknown", *few, {"new": {"a": 1}}, *few)[5] == '{"new":{"a":1}}'
    # A page far from the first is looked at as well: what both hold is right for all.
    assert column("n", *few, {"n": 1.5}) == [1.0, None, None, None, None, 1.5, 9.0]
    assert column("n", *few, {"n": "text"})[5:] == ["text", "9"]
    # What does not fit and cannot be told apart from null is an error, also where nobody looks at
    # `_unknown`.
    for value in (1.5, "text", True, {"a": 1}, [1], 2**63):
        lf = read(*few, {"n": value}, *few)
        assert lf.select("late").collect().height == 11
        with pytest.raises(
            pl.exceptions.SchemaError, match=r"ed-fi/things: 'n' has another type .* schema="
        ):
            lf.select(pl.col("n").sum()).collect()
    with pytest.raises(pl.exceptions.SchemaError, match="'list' has another type"):
        column("list", *few, {"list": "text"}, *few)
    # Integers that a float does not hold.
    with pytest.raises(pl.exceptions.SchemaError, match="'n' has another type"):
        column("n", {"n": 0.5}, *few, {"n": 2**53 + 1}, *few)


def test_sinks_write_what_collect_gives(
    scanned: pl.LazyFrame, collected: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "results.parquet"
    scanned.sink_parquet(path)
    assert_frame_equal(pl.read_parquet(path), collected)
    parts = list(scanned.collect_batches(chunk_size=10, maintain_order=True))
    assert_frame_equal(pl.concat(parts), collected)


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_keep_their_type_and_text(
    make_ods: Callable[..., ScriptedOds], engine: Engine, tmp_path: Path
) -> None:
    ods = make_ods(30)

    def script(request: Request) -> Answer | None:
        if request.query.get("offset") == "18":
            return Answer(400, {"detail": "No third page.", "correlationId": "c-1"})
        return None

    ods.script = script
    lf = small(ods, schema=SCHEMA, limit=10, workers=1)
    text = "ed-fi/things: HTTP 400 Bad Request: No third page."
    with pytest.raises(edfi.HttpError, match=text):
        lf.collect(engine=engine)
    with pytest.raises(edfi.HttpError, match=text):
        lf.sink_parquet(tmp_path / "part.parquet", engine=engine)
    with pytest.raises(edfi.HttpError, match=text):
        list(lf.collect_batches(engine=engine))
    # What comes before it is good.
    assert lf.head(19).collect(engine=engine).height == 19
    ods.tokens.clear()
    with pytest.raises(edfi.AuthError, match="auth error: HTTP 401"):
        lf.collect(engine=engine)
    with pytest.raises(pl.exceptions.ComputeError, match=r"AuthError: .*HTTP 401"):
        small(ods).collect(engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_short_read_raises(make_ods: Callable[..., ScriptedOds], engine: Engine) -> None:
    ods = make_ods(25)

    def script(request: Request) -> Answer | None:
        answer = ods.page(request)
        if "Total-Count" in answer.headers:
            answer.headers["Total-Count"] = "27"
        return answer

    ods.script = script
    lf = small(ods, schema=SCHEMA, limit=10)
    with pytest.raises(edfi.HttpError, match="25 records came where the server counts 27"):
        lf.collect(engine=engine)
    assert lf.head(10).collect(engine=engine).height == 10


def test_wrong_arguments_raise_at_once(ods: ScriptedOds) -> None:
    wrong: list[dict[str, Any]] = [
        {"limit": 0},
        {"workers": 0},
        {"paging": "sideways"},
        {"schema": "guess"},
        {"schema": {"a": pl.Duration}},
        {"params": {"limit": 5}},
        {"params": {"a": []}},
    ]
    for arguments in wrong:
        with pytest.raises(edfi.EdFiError):
            small(ods, **arguments)
    clients: list[Any] = ["a client", edfi.EdFiClient(), edfi.EdFiClient(base_url=ods.url)]
    for client in clients:
        with pytest.raises(edfi.EdFiError):
            edfi.scan("ed-fi/things", client=client)
    assert ods.requests == []


KEYS = {"auth_key_col": "oAuthKey", "auth_secret_col": "oAuthSecret"}


def all_of(ods: edfi.Sandbox, **arguments: object) -> pl.LazyFrame:
    return edfi.scan_all(
        ods.districts(),
        RESULTS,
        key_col="District BK",
        oauth_endpoint="oauth/token",
        **KEYS,
        **arguments,  # type: ignore[arg-type]
    )


def test_a_key_column_named_as_an_element_of_a_list(make_ods: Callable[..., ScriptedOds]) -> None:
    ods = make_ods([{"id": "1", "sc": [{"r": 1, "q": 2}, {"r": 3, "q": 4}]}])
    df = district(ods).rename({"District BK": "sc.r"})
    options: dict[str, Any] = {"key_col": "sc.r", "explode": "sc"}
    for schema in ("infer", {"id": pl.String, "sc": pl.List(pl.Struct({"r": int, "q": int}))}):
        client = edfi.Resource("ed-fi/things", api_version="v3")
        batch = client.batch_get_all(df, schema=schema, **options)  # type: ignore[arg-type]
        about = ["status", "message", "http_status", "correlation_id"]
        lf = edfi.scan_all(df, "ed-fi/things", client=client, schema=schema, **options)  # type: ignore[arg-type]
        expected = batch.drop(about).drop("_unknown", strict=False)
        assert expected.columns == ["sc.r", "id", "sc.r_record", "sc.q"]
        assert_frame_equal(lf.drop("_unknown").collect(), expected)
        assert lf.select("sc.r_record").collect()["sc.r_record"].to_list() == [1, 3]
        assert lf.select("sc.r").collect()["sc.r"].to_list() == ["a", "a"]


@pytest.mark.parametrize("engine", ENGINES)
def test_many_districts_are_one_frame(
    sandbox: edfi.Sandbox, schema: pl.Schema, engine: Engine
) -> None:
    batch = edfi.StudentAssessment().batch_get_all(
        sandbox.districts(),
        key_col="District BK",
        oauth_endpoint="oauth/token",
        schema="infer",
        **KEYS,
    )
    expected = batch.drop("status", "message", "http_status", "correlation_id")
    names = [name for name in expected.columns[1:] if name in schema]
    lf = all_of(sandbox, schema=expected.select(names).schema, workers=2)
    lf = lf.drop("_unknown")
    expected = expected.select("District BK", *names)
    assert lf.collect_schema() == expected.schema
    assert_frame_equal(lf.collect(engine=engine), expected)
    for step in STEPS.values():
        got = step(lf).collect(engine=engine)
        assert_frame_equal(got, step(expected.lazy()).collect())
    counts = lf.group_by("District BK").len().collect(engine=engine)
    assert sorted(counts.rows()) == [("a", 45), ("b", 45), ("c", 45)]
    assert lf.select("District BK").collect(engine=engine).height == 135
    keys = lf.filter(pl.col("District BK") == "b").select("id").collect(engine=engine)
    assert keys.height == 45


def test_lists_explode(sandbox: edfi.Sandbox) -> None:
    arguments = {"key_col": "District BK", "oauth_endpoint": "oauth/token", **KEYS}
    batch = edfi.StudentAssessment().batch_get_all(
        sandbox.districts(),
        explode="scoreResults",
        schema="infer",
        **arguments,  # type: ignore[arg-type]
    )
    lf = all_of(sandbox, explode="scoreResults", schema="infer")
    for columns in [["id", "scoreResults.result"], ["District BK"], ["scoreResults.result"]]:
        assert_frame_equal(lf.select(columns).collect(), batch.select(columns))
        assert_frame_equal(lf.select(columns).head(9).collect(), batch.select(columns).head(9))


def test_a_district_that_fails_is_named(make_ods: Callable[..., ScriptedOds]) -> None:
    good, bad = make_ods(3), make_ods(3)
    bad.script = lambda _: Answer(400, {"detail": "Not today."})
    df = pl.concat([district(good, "a"), district(bad, "b"), district(good, "c")])
    client = edfi.EdFiClient(api_version="v3", max_retries=0)
    lf = edfi.scan_all(df, "ed-fi/things", key_col="District BK", client=client, schema=SCHEMA)
    with pytest.raises(edfi.HttpError, match=r"District BK b: HTTP 400 Bad Request: Not today\."):
        lf.collect()
    assert lf.head(3).collect()["District BK"].to_list() == ["a"] * 3
    with pytest.raises(edfi.EdFiError, match="District BK a: not read: this key"):
        edfi.scan_all(pl.concat([df, district(bad, "a")]), "ed-fi/things", key_col="District BK")
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="nowhere"):
        edfi.scan_all(df, key_col="nowhere")
    with pytest.raises(TypeError, match="collect"):
        edfi.scan_all(df.lazy(), key_col="District BK")  # type: ignore[arg-type]


@pytest.mark.parametrize("schema", ["infer", "auto", "openapi"])
def test_a_district_that_failed_for_its_columns_is_asked_again(
    make_ods: Callable[..., ScriptedOds], schema: Any
) -> None:
    servers = {name: Filtering(make_ods(records(5))) for name in "ab"}
    bad, fails = servers["b"].ods, True

    def script(request: Request) -> Answer | None:
        return Answer(500) if fails else servers["b"].answer(request)

    bad.script = script
    lf = edfi.scan_all(
        pl.concat([district(one.ods, name) for name, one in servers.items()]),
        RESULTS,
        key_col="District BK",
        on_error="row",
        schema=schema,
        client=edfi.EdFiClient(api_version="v3", max_retries=0),
    )

    def read() -> list[tuple[str, str | None]]:
        return lf.select("District BK", "status").collect().rows()

    good: list[tuple[str, str | None]] = [("a", None)] * 5
    lf.collect_schema()
    asked = len(bad.requests)
    # Nobody waits twice for one that was asked just before.
    assert read() == [*good, ("b", "error")]
    assert len(bad.requests) == asked
    time.sleep(1.1)
    assert read() == [*good, ("b", "error")]
    assert len(bad.requests) > asked
    fails = False
    assert read() == good + [("b", None)] * 5


def test_a_district_that_is_asked_again_must_know_the_parameters(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    servers = {name: Filtering(make_ods(records(30))) for name in "ab"}
    fails = True

    def script(request: Request) -> Answer | None:
        if fails:
            return Answer(500)
        answer = servers["b"].answer(request)
        if answer is not None and request.path == "/metadata/r":
            answer.body = json.loads(json.dumps(answer.body).replace('"schoolYear"', '"other"'))
        return answer

    servers["b"].ods.script = script
    lf = edfi.scan_all(
        pl.concat([district(one.ods, name) for name, one in servers.items()]),
        RESULTS,
        key_col="District BK",
        on_error="row",
        params={"schoolYear": 2021},
        client=edfi.EdFiClient(api_version="v3", max_retries=0),
    )
    lf.collect_schema()
    time.sleep(1.1)
    fails = False
    out = lf.filter(pl.col("District BK") == "b").collect()
    assert out["status"].to_list() == ["error"]
    assert "is no query parameter" in out["message"].item()


def test_short_districts_can_be_warned_of(make_ods: Callable[..., ScriptedOds]) -> None:
    ods = make_ods(3)
    ods.script = lambda request: Answer(200, ods.page(request).body, {"Total-Count": "4"})
    client = edfi.EdFiClient(api_version="v3")
    lf = edfi.scan_all(
        district(ods),
        "ed-fi/things",
        key_col="District BK",
        client=client,
        schema=SCHEMA,
        on_short="warn",
    )
    with pytest.warns(UserWarning, match="District BK a: 3 records came where the server counts 4"):
        assert lf.collect().height == 3


def test_progress_is_drawn(ods: ScriptedOds, capsys: pytest.CaptureFixture[str]) -> None:
    client = edfi.EdFiClient(api_version="v3")
    lf = edfi.scan_all(
        district(ods),
        "ed-fi/things",
        key_col="District BK",
        client=client,
        schema=SCHEMA,
        show_progress=True,
        progress_desc="[1/2]",
    )
    assert lf.collect().height == 3
    assert "[1/2]: scanning records" in capsys.readouterr().err


def test_plans_hold_no_secret(sandbox: edfi.Sandbox, schema: pl.Schema) -> None:
    pytest.importorskip("cloudpickle")
    one = edfi.scan(RESULTS, client=client_of(sandbox), schema=schema)
    token = client_of(sandbox).fetch_token()["token"]
    secrets = [token, *sandbox.districts().select("oAuthKey", "oAuthSecret").to_series(1)]
    secrets += sandbox.districts()["oAuthKey"].to_list()
    for lf in [one, all_of(sandbox, schema=schema), one.filter(minutes > 1).head(5)]:
        pickled, serialized = pickle.dumps(lf), lf.serialize()
        texts = [pickled, serialized, lf.explain().encode(), repr(lf).encode()]
        for secret, text in product(secrets, texts):
            assert isinstance(secret, str)
            assert secret.encode() not in text
        for again in [pickle.loads(pickled), pl.LazyFrame.deserialize(io.BytesIO(serialized))]:
            assert_frame_equal(again.collect(), lf.collect())
    code = "import pickle, sys; pickle.load(sys.stdin.buffer).collect()"
    run = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(one), capture_output=True, check=False
    )
    assert b"the scan of this plan lives in another process" in run.stderr


def test_explain_names_the_resource(scanned: pl.LazyFrame) -> None:
    if tuple(map(int, pl.__version__.split(".")[:2])) < (2, 1):
        pytest.skip("plans have no labels before Polars 2.1")
    assert RESULTS in scanned.explain()


def test_ctrl_c_ends_a_wait(ods: ScriptedOds) -> None:
    release = threading.Event()
    ods.one_at_a_time = False

    def hang(request: Request) -> None:
        if request.query["offset"] == "2":
            os.kill(os.getpid(), signal.SIGINT)
            release.wait(30)

    ods.script = hang
    lf = small(ods, schema=SCHEMA, limit=1, workers=1)
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            lf.collect(engine="in-memory")
        assert time.monotonic() - start < 10
    finally:
        release.set()


def test_threads_ask_for_the_columns_once(ods: ScriptedOds) -> None:
    lf = small(ods)
    threads = [threading.Thread(target=lf.collect_schema) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ods.paths()) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_documents_tell_the_columns(sandbox: edfi.Sandbox, engine: Engine) -> None:
    client = client_of(sandbox)
    whole = client.get_all(key=1, endpoint=RESULTS)["data"]
    assert whole is not None
    lf = edfi.scan(RESULTS, client=client, limit=7)
    assert lf.collect_schema() == whole.schema
    assert lf.drop("_unknown").collect_schema() == client.schema(RESULTS)
    assert_frame_equal(lf.collect(engine=engine), whole)
    columns = ["administrationDate", "schoolYearTypeReference.schoolYear", "_unknown"]
    assert_frame_equal(lf.select(columns).collect(engine=engine), whole.select(columns))
    late = pl.col("administrationDate") > whole["administrationDate"].median()
    assert_frame_equal(lf.filter(late).collect(engine=engine), whole.filter(late))
    with pytest.raises(pl.exceptions.ComputeError, match=r"EdFiError: .*schoolYear"):
        edfi.scan(RESULTS, client=client, params={"schoolYeer": 2026}).collect(engine=engine)
