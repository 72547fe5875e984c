"""Filters that reach the server: what is sent, and the rows that come of it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district
from polars.testing import assert_frame_equal

import polars_edfi as edfi
from polars_edfi import _native
from polars_edfi._base import native_side

MakeOds = Callable[..., ScriptedOds]
Engine = Literal["in-memory", "streaming"]
ENGINES: tuple[Engine, ...] = ("in-memory", "streaming")
ENDPOINT = "ed-fi/studentAssessments"
student = pl.col("studentReference.studentUniqueId")
#: Parameters, where records have what they filter by, and the schema of it.
FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "studentUniqueId": ("studentReference.studentUniqueId", {"type": "string"}),
    "schoolYear": ("schoolYear", {"type": "integer", "format": "int32"}),
    "administrationDate": ("administrationDate", {"type": "string", "format": "date"}),
    "isFinal": ("isFinal", {"type": "boolean"}),
    "platformTypeDescriptor": ("platformTypeDescriptor", {"type": "string"}),
}


def document() -> dict[str, Any]:
    reference = {"studentUniqueId": {"type": "string"}}
    properties: dict[str, Any] = {
        "id": {"type": "string"},
        "studentReference": {"$ref": "#/components/schemas/studentReference"},
        "score": {"type": "integer", "format": "int32"},
    }
    properties |= {path: schema for path, schema in FIELDS.values() if "." not in path}
    items = {"type": "array", "items": {"$ref": "#/components/schemas/x"}}
    get = {
        "parameters": [{"name": name, "in": "query"} for name in [*FIELDS, "offset", "limit"]],
        "responses": {"200": {"content": {"application/json": {"schema": items}}}},
    }
    return {
        "openapi": "3.0.1",
        "paths": {f"/{ENDPOINT}": {"get": get}},
        "components": {
            "schemas": {
                "x": {"type": "object", "properties": properties},
                "studentReference": {"type": "object", "properties": reference},
            }
        },
    }


class Filtering:
    """Serves a document and pages of the records that parameters choose."""

    def __init__(self, ods: ScriptedOds, *, knows: set[str] | None = None) -> None:
        self.ods = ods
        self.knows = set(FIELDS) if knows is None else knows
        self.refused: Callable[[str], bool] = lambda _: False
        self.refusal = Answer(400, {"detail": "Not a value."})
        self.servers = [f"{ods.url}/data/v3"]
        ods.script, ods.serves_metadata = self.answer, True

    def answer(self, request: Request) -> Answer | None:
        if request.path == "/":
            return Answer(200, {"urls": {"openApiMetadata": f"{self.ods.url}/metadata/"}})
        if request.path == "/metadata/":
            return Answer(200, [{"name": "Resources", "endpointUri": f"{self.ods.url}/metadata/r"}])
        if request.path == "/metadata/r":
            return Answer(200, document() | {"servers": [{"url": url} for url in self.servers]})
        if "offset" not in request.query or request.token not in self.ods.tokens:
            return None
        records = self.ods.records
        for name, text in request.query.items():
            if name not in self.knows:
                continue
            if self.refused(text):
                return self.refusal
            records = [
                one for one in records if shown(one, FIELDS[name][0]).lower() == text.lower()
            ]
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        headers = {"Total-Count": str(len(records))} if "totalCount" in request.query else {}
        return Answer(200, records[offset : offset + limit], headers)

    def sent(self) -> list[dict[str, str]]:
        """The parameters of each page that are no paging's."""
        own = {"offset", "limit", "totalCount"}
        pages = self.ods.paths("/data")
        return [{k: v for k, v in one.query.items() if k not in own} for one in pages]


def shown(record: dict[str, Any], path: str) -> str:
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else json.dumps(value)


def records(count: int, seed: int = 1) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    made = []
    for n in range(count):
        one: dict[str, Any] = {
            "id": f"{n:032x}",
            "studentReference": {"studentUniqueId": f"s{n % 40}"},
            "schoolYear": 2020 + n % 5,
            "administrationDate": f"2024-05-{1 + n % 28:02}",
            "isFinal": n % 3 == 0,
            "platformTypeDescriptor": f"uri://ed-fi.org/P#{'aAb'[n % 3]} & +1",
            "score": rng.randrange(100),
        }
        for name in list(one)[1:]:
            if rng.random() < 0.1:
                del one[name]
        made.append(one)
    return made


def client_of(ods: ScriptedOds, max_retries: int = 0) -> edfi.EdFiClient:
    return edfi.EdFiClient(
        base_url=ods.url,
        bearer_token="token",
        api_version="v3",
        max_retries=max_retries,
        timeout=10,
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("schema", ["auto", "given", "infer"])
def test_a_filter_by_key_is_one_small_request(
    make_ods: MakeOds, engine: Engine, schema: str
) -> None:
    ods = make_ods(records(4000))
    server = Filtering(ods)
    given: Any = {"studentReference.studentUniqueId": pl.String, "score": pl.Int32}
    lf = edfi.scan(
        ENDPOINT, client=client_of(ods), schema=given if schema == "given" else schema, limit=10
    )
    out = lf.filter(student == "s7").collect(engine=engine)
    expected = [
        one["score"]
        for one in ods.records
        if shown(one, FIELDS["studentUniqueId"][0]) == "s7" and "score" in one
    ]
    assert out["score"].drop_nulls().to_list() == expected
    assert server.sent()[-1] == {"studentUniqueId": "s7"}
    assert len(server.sent()) < 20


@pytest.mark.parametrize("version", ["v3", None])
def test_a_key_costs_three_requests(make_ods: MakeOds, version: str | None) -> None:
    ods = make_ods(records(400))
    Filtering(ods)
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version=version)
    asked = ["/metadata/", "/metadata/r", f"/data/v3/{ENDPOINT}"]
    lf = edfi.scan(ENDPOINT, client=client)
    assert lf.filter(student == "s7").collect().height > 5
    assert [request.path for request in ods.requests] == asked
    ods.requests.clear()
    # A client that comes later knows where the data is, too; it asks whether this is the same ODS.
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version=version)
    assert client.count(ENDPOINT, params={"studentUniqueId": "s7"}) > 5
    assert [request.path for request in ods.requests] == asked[1:]


@pytest.mark.parametrize("servers", [[], ["https://x/elsewhere/data/v3"], ["https://x/{y}/data"]])
def test_a_document_that_does_not_say_where_the_data_is(
    make_ods: MakeOds, servers: list[str]
) -> None:
    ods = make_ods(records(400))
    Filtering(ods).servers = servers
    client = edfi.EdFiClient(base_url=f"{ods.url}", bearer_token="token")
    lf = edfi.scan(ENDPOINT, client=client)
    assert lf.filter(student == "s7").collect().height > 5
    asked = ["/metadata/", "/metadata/r", "/", f"/data/v3/{ENDPOINT}"]
    assert [request.path for request in ods.requests] == asked


@pytest.mark.parametrize("workers", [1, 4])
def test_is_in_is_one_request_for_each_value(make_ods: MakeOds, workers: int) -> None:
    ods = make_ods(records(4000))
    server = Filtering(ods)
    lf = edfi.scan(ENDPOINT, client=client_of(ods), limit=100, workers=workers)
    wanted = [f"s{n}" for n in (3, 1, 20, 3, 35)]
    everything = lf.collect()
    ods.requests.clear()
    out = lf.filter(student.is_in(wanted), pl.col("score") > 20).collect()
    expected = everything.filter(student.is_in(wanted), pl.col("score") > 20)
    assert_frame_equal(out, expected, check_row_order=False)
    sent = [one["studentUniqueId"] for one in server.sent() if one]
    assert sorted(sent) == ["s1", "s20", "s3", "s35"]
    # And the first page, which tells how many there are.
    assert len(server.sent()) == 5
    # Value by value, whatever the order in which a query has them.
    again = lf.filter(student.is_in(set(wanted)), pl.col("score") > 20).collect()
    assert_frame_equal(again, out)
    assert out[FIELDS["studentUniqueId"][0]].is_sorted()
    # More values than pages: the pages.
    ods.requests.clear()
    lf = edfi.scan(ENDPOINT, client=client_of(ods), limit=500, workers=workers)
    many = [f"s{n}" for n in range(30)]
    assert_frame_equal(
        lf.filter(student.is_in(many)).collect(), everything.filter(student.is_in(many))
    )
    assert server.sent() == [{}] * 9


@pytest.mark.parametrize("knows", [set(), {"schoolYear"}])
@pytest.mark.parametrize("named", [True, False])
def test_a_server_that_ignores_parameters_changes_nothing(
    make_ods: MakeOds, knows: set[str], named: bool
) -> None:
    ods = make_ods([one if named else one | {"id": None} for one in records(900)])
    server = Filtering(ods, knows=knows)
    lf = edfi.scan(ENDPOINT, client=client_of(ods), limit=20, workers=3)
    everything = lf.collect()
    for predicate in (student == "s7", student.is_in(["s7", "s9"]), pl.col("schoolYear") == 2021):
        assert_frame_equal(lf.filter(predicate).collect(), everything.filter(predicate))
    assert {"studentUniqueId": "s7"} in server.sent()


def test_a_refused_value_is_read_without(make_ods: MakeOds) -> None:
    ods = make_ods(records(900))
    server = Filtering(ods)
    lf = edfi.scan(ENDPOINT, client=client_of(ods), limit=20, workers=3)
    everything = lf.collect()
    for refused, predicate in [
        ("s7", student == "s7"),
        ("s7", student.is_in(["s7", "s9"])),
        ("s9", student.is_in(["s7", "s9"])),
    ]:
        server.refused = refused.__eq__
        out = lf.filter(predicate).collect()
        assert_frame_equal(out, everything.filter(predicate), check_row_order=False)


@pytest.mark.parametrize("status", [403, 405, 413, 431, 500, 501])
def test_a_district_that_refuses_a_filter_loses_no_row(make_ods: MakeOds, status: int) -> None:
    ods = make_ods(records(300))
    server = Filtering(ods)
    server.refused, server.refusal = "s7".__eq__, Answer(status)
    lf = edfi.scan_all(
        district(ods), ENDPOINT, key_col="District BK", client=client_of(ods), on_error="row"
    )
    for predicate in (student == "s7", student.is_in(["s7", "s9"]), student.is_in(["s9", "s7"])):
        expected = lf.collect().filter(predicate)
        assert not expected.is_empty()
        assert_frame_equal(lf.filter(predicate).collect(), expected, check_row_order=False)
    assert {"studentUniqueId": "s7"} in server.sent()


def test_who_may_not_ask_at_all_asks_for_no_more(make_ods: MakeOds) -> None:
    ods = make_ods(records(300))
    server = Filtering(ods)
    lf = edfi.scan(ENDPOINT, client=client_of(ods))
    lf.collect_schema()
    server.refused, server.refusal = "s7".__eq__, Answer(401)
    with pytest.raises(edfi.AuthError, match="HTTP 401"):
        lf.filter(student == "s7").collect()
    assert server.sent() == [{"studentUniqueId": "s7"}]
    # What fails without the filter as well is told of the whole.
    ods.script = lambda request: Answer(403 if "studentUniqueId" in request.query else 500)
    with pytest.raises(edfi.HttpError, match="HTTP 500"):
        lf.filter(student == "s7").collect()


@pytest.mark.parametrize(("answer", "tries"), [(Answer(503), 2), (Answer(close=True), 1)])
@pytest.mark.parametrize("many", [True, False])
def test_metadata_that_fails_costs_filters_a_request_or_two(
    make_ods: MakeOds, answer: Answer, tries: int, many: bool
) -> None:
    ods = make_ods(records(300))
    server = Filtering(ods)

    def script(request: Request) -> Answer | None:
        return answer if request.path.startswith("/metadata") else server.answer(request)

    ods.script = script
    # One that tries six times, after which the origin would be closed.
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3")
    options: dict[str, Any] = {"client": client, "schema": "infer"}
    if many:
        options |= {"key_col": "District BK", "on_error": "row"}
        lf = edfi.scan_all(district(ods), ENDPOINT, **options)
    else:
        lf = edfi.scan(ENDPOINT, **options)
    for predicate in (student == "s7", student.is_in(["s7", "s9"])):
        expected = lf.collect().filter(predicate)
        assert not expected.is_empty()
        assert_frame_equal(lf.filter(predicate).collect(), expected)
    assert len(ods.paths("/metadata")) == tries


@pytest.mark.parametrize("answer", [Answer(503), Answer(429, headers={"Retry-After": "0"})])
def test_a_filter_is_sent_where_metadata_is_busy_once(make_ods: MakeOds, answer: Answer) -> None:
    ods = make_ods(records(300))
    server, busy = Filtering(ods), [answer]

    def script(request: Request) -> Answer | None:
        is_busy = busy and request.path.startswith("/metadata")
        return busy.pop() if is_busy else server.answer(request)

    ods.script = script
    lf = edfi.scan(ENDPOINT, client=client_of(ods, max_retries=2), schema="infer")
    assert not lf.filter(student == "s7").collect().is_empty()
    assert {"studentUniqueId": "s7"} in server.sent()


def test_ctrl_c_waits_for_no_metadata_of_filters(make_ods: MakeOds) -> None:
    ods, end = make_ods(records(30)), threading.Event()
    server = Filtering(ods)
    ods.one_at_a_time = False

    def script(request: Request) -> Answer | None:
        if request.path.startswith("/metadata"):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            end.wait(20)
        return server.answer(request)

    ods.script = script
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3", timeout=10)
    scan = _native.Scan(
        native_side(client), None, endpoint=ENDPOINT, schema={"schoolYear": pl.Int32}
    )
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        scan.pieces(2, [pl.DataFrame({"schoolYear": [2021]})])
    assert time.monotonic() - begin < 5
    end.set()


def test_a_value_that_brings_records_of_others_hides_none_of_them(make_ods: MakeOds) -> None:
    ods = make_ods(records(900))
    server = Filtering(ods)
    lf = edfi.scan(ENDPOINT, client=client_of(ods), limit=20, workers=3)
    everything = lf.collect()

    def check(predicate: pl.Expr) -> None:
        out = lf.filter(predicate).collect()
        assert_frame_equal(out, everything.filter(predicate), check_row_order=False)

    # The server does not tell capitals from small letters.
    platforms = [f"uri://ed-fi.org/P#{letter} & +1" for letter in "aA"]
    check(pl.col("platformTypeDescriptor").is_in(platforms))
    assert {"platformTypeDescriptor": platforms[1]} in server.sent()
    # It refuses one of the values, of which everything is read then.
    server.refused = "s9".__eq__
    check(student.is_in(["s7", "s9", "s11", "s12"]))
    # It knows no parameters, and that does not show: another record came first meanwhile.
    server.knows, pages = set(), iter(range(1_000))

    def script(request: Request) -> Answer | None:
        if "offset" in request.query and next(pages) == 1:
            ods.records.insert(0, {"id": "new", "score": 1})
        return server.answer(request)

    ods.script = script
    check(student.is_in(["s7", "s9", "s11", "s12"]))
    assert {"studentUniqueId": "s12"} in server.sent()


def test_a_record_that_goes_from_one_value_to_another_comes_once(make_ods: MakeOds) -> None:
    ods = make_ods(records(900))
    server = Filtering(ods)
    moved = next(
        one for one in ods.records if shown(one, "studentReference.studentUniqueId") == "s7"
    )

    def script(request: Request) -> Answer | None:
        if request.query.get("studentUniqueId") == "s9":
            moved["studentReference"] = {"studentUniqueId": "s9"}
        return server.answer(request)

    ods.script = script
    lf = edfi.scan(ENDPOINT, client=client_of(ods), limit=20, workers=1)
    ids = lf.filter(student.is_in(["s7", "s9", "s11"])).collect()["id"]
    assert moved["id"] in ids
    assert ids.is_unique().all()


def test_a_value_with_fewer_records_than_counted_is_told(make_ods: MakeOds) -> None:
    ods = make_ods(records(900))
    server = Filtering(ods)

    def script(request: Request) -> Answer | None:
        answer = server.answer(request)
        if answer is not None and "studentUniqueId" in request.query and answer.headers:
            answer.headers["Total-Count"] = "77"
        return answer

    ods.script = script
    df, wanted = district(ods), student.is_in(["s7", "s9"])
    options: dict[str, Any] = {
        "key_col": "District BK",
        "client": edfi.EdFiClient(api_version="v3"),
    }
    with pytest.raises(edfi.HttpError, match="where the server counts 77"):
        edfi.scan_all(df, ENDPOINT, limit=20, **options).filter(wanted).collect()
    with pytest.warns(UserWarning, match="where the server counts 77"):
        edfi.scan_all(df, ENDPOINT, limit=20, on_short="warn", **options).filter(wanted).collect()


def test_what_is_not_sent(make_ods: MakeOds) -> None:
    ods = make_ods(records(60))
    server = Filtering(ods)
    client = client_of(ods)
    lf = edfi.scan(ENDPOINT, client=client)
    everything = lf.collect()
    ods.requests.clear()
    for query in (
        lambda lf: lf.head(30).filter(student == "s7"),
        lambda lf: lf.slice(2, 30).filter(student == "s7"),
        lambda lf: lf.with_row_index().filter(student == "s7"),
        lambda lf: lf.filter((student == "s7") | (pl.col("score") == 1)),
        lambda lf: lf.filter(student != "s7"),
        lambda lf: lf.filter(student.str.to_uppercase() == "S7"),
        lambda lf: lf.filter(student.eq_missing("s7")),
        lambda lf: lf.filter(pl.col("score") == 5),
        lambda lf: lf.filter(student == ""),
        lambda lf: lf.filter(student == " s7"),
        lambda lf: lf.filter(student.is_in([None, "s7"], nulls_equal=True)),
        lambda lf: lf.with_columns(student.str.to_uppercase()).filter(student == "S7"),
    ):
        assert_frame_equal(query(lf).collect(), query(everything.lazy()).collect())  # type: ignore[no-untyped-call]
        assert not any(server.sent())
    off = edfi.scan(ENDPOINT, client=client, pushdown=False)
    assert_frame_equal(off.filter(student == "s7").collect(), everything.filter(student == "s7"))
    own = edfi.scan(ENDPOINT, client=client, params={"studentUniqueId": "s8"})
    assert own.filter(student == "s7").collect().height == 0
    assert server.sent()[-1] == {"studentUniqueId": "s8"}


@pytest.mark.parametrize("name", ["number", "limit", "pageSize", "q", "minChangeVersion"])
def test_a_property_named_as_what_controls_a_read_is_not_sent(
    make_ods: MakeOds, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(FIELDS, name, (name, {"type": "string"}))
    ods = make_ods([one | {name: f"{n % 7}"} for n, one in enumerate(records(100))])
    server = Filtering(ods, knows=set())
    lf = edfi.scan(ENDPOINT, client=client_of(ods))
    out = lf.filter(pl.col(name) == "3", student == "s3").collect()
    assert_frame_equal(out, lf.collect().filter(pl.col(name) == "3", student == "s3"))
    assert server.sent()[0] == {"studentUniqueId": "s3"}


def test_texts_that_are_too_long_for_a_url_stay_here(make_ods: MakeOds) -> None:
    long, shorter = "é" * 40_000, "x" * 1_500
    ods = make_ods([*records(100), {"id": "l", "platformTypeDescriptor": long}])
    server = Filtering(ods)
    lf = edfi.scan(ENDPOINT, client=client_of(ods))
    platform = pl.col("platformTypeDescriptor")
    assert lf.filter(platform == long).collect()["id"].to_list() == ["l"]
    assert server.sent() == [{}]
    assert lf.filter(platform == shorter, student == shorter).collect().is_empty()
    assert len(server.sent()[-1]) == 1


def test_what_cannot_travel_keeps_nothing_else_at_home(make_ods: MakeOds) -> None:
    ods = make_ods(records(60))
    server = Filtering(ods)
    lf = edfi.scan(ENDPOINT, client=client_of(ods))
    everything = lf.collect()
    score, final = pl.col("score"), pl.col("isFinal")
    for predicate, sent in [
        (final, {"isFinal": "true"}),
        (~final, {"isFinal": "false"}),
        (final & (student == "s7"), {"isFinal": "true", "studentUniqueId": "s7"}),
        ((student == "s7") & score.is_not_null(), {"studentUniqueId": "s7"}),
        (score.is_between(0, 90) & (student == "s7"), {"studentUniqueId": "s7"}),
        (
            pl.when(final).then(score > 1).otherwise(True) & (student == "s7"),
            {"studentUniqueId": "s7"},
        ),
    ]:
        ods.requests.clear()
        assert_frame_equal(lf.filter(predicate).collect(), everything.filter(predicate))
        assert server.sent() == [sent]


def test_a_filter_that_no_record_fits_asks_for_none(make_ods: MakeOds) -> None:
    ods = make_ods(records(60))
    server = Filtering(ods)
    lf = edfi.scan(ENDPOINT, client=client_of(ods))
    everything = lf.collect()
    ods.requests.clear()
    for predicate in (
        student.is_in([]),
        student.is_in([None]),
        (student == "s7") & student.is_in([]),
    ):
        assert_frame_equal(lf.filter(predicate).collect(), everything.filter(predicate))
        assert server.sent() == []


def test_explain_shows_what_is_sent(make_ods: MakeOds) -> None:
    ods = make_ods(records(6))
    Filtering(ods)
    text = edfi.scan(ENDPOINT, client=client_of(ods)).filter(student == "s7").explain()
    assert 'SELECTION: col("studentReference.studentUniqueId") == "s7"' in text


@pytest.mark.parametrize("engine", ENGINES)
def test_a_filter_on_the_key_leaves_districts_out(make_ods: MakeOds, engine: Engine) -> None:
    servers = {name: make_ods(records(20, seed)) for seed, name in enumerate("abc")}
    for ods in servers.values():
        Filtering(ods)
    df = pl.DataFrame({"k": list(servers), "targetUrl": [ods.url for ods in servers.values()]})
    df = df.with_columns(pl.lit("token").alias("EdFi Token"))
    client = edfi.EdFiClient(api_version="v3", max_retries=0)
    lf = edfi.scan_all(df, ENDPOINT, key_col="k", client=client)
    everything = lf.collect()
    key = pl.col("k")
    for predicate, visited in [
        (key == "b", "b"),
        (key.is_in(["c", "a", "z"]), "ac"),
        ((key != "b") & (student == "s3"), "ac"),
        (key.str.contains("[bc]"), "bc"),
        ((key == "a") & (key == "b"), ""),
        ((key == "a") | (student == "s3"), "abc"),
    ]:
        for ods in servers.values():
            ods.requests.clear()
        out = lf.filter(predicate).collect(engine=engine)
        assert_frame_equal(out, everything.filter(predicate))
        assert "".join(name for name, ods in servers.items() if ods.paths()) == visited


CONJUNCTS: list[Callable[[random.Random], pl.Expr]] = [
    lambda r: student == f"s{r.randrange(45)}",
    lambda r: student.is_in([f"s{r.randrange(45)}" for _ in range(r.randrange(1, 6))]),
    lambda r: pl.col("schoolYear") == 2018 + r.randrange(9),
    lambda r: pl.col("schoolYear").is_in([2018 + r.randrange(9), None]),
    lambda r: pl.col("administrationDate") == date(2024, 5, 1 + r.randrange(28)),
    lambda _: pl.col("isFinal"),
    lambda _: ~pl.col("isFinal"),
    lambda r: pl.col("platformTypeDescriptor") == f"uri://ed-fi.org/P#{r.choice('aAbc')} & +1",
    lambda r: pl.col("score") > r.randrange(100),
    lambda r: (pl.col("score") == r.randrange(100)) | (student == "s1"),
    lambda _: student.is_not_null(),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(6))
def test_random_filters_give_the_rows_of_the_collected_frame(
    make_ods: MakeOds, engine: Engine, seed: int
) -> None:
    rng = random.Random(seed)
    ods = make_ods(records(rng.choice([0, 7, 300, 900]), seed))
    known = set(rng.sample(sorted(FIELDS), rng.randrange(len(FIELDS) + 1)))
    server = Filtering(ods, knows=known)
    lf = edfi.scan(
        ENDPOINT, client=client_of(ods), limit=rng.choice([7, 50]), workers=rng.choice([1, 4])
    )
    everything = lf.collect()
    for _ in range(12):
        conjuncts = [make(rng) for make in rng.sample(CONJUNCTS, rng.randrange(1, 4))]

        def query(lf: pl.LazyFrame, conjuncts: list[pl.Expr] = conjuncts) -> pl.LazyFrame:
            for conjunct in conjuncts:
                lf = lf.filter(conjunct)
            return lf.select("id", "score")

        expected = query(everything.lazy()).collect()
        got = query(lf).collect(engine=engine)
        assert_frame_equal(got.sort("id"), expected.sort("id"))
    if everything.height > 100:
        assert any(server.sent())
