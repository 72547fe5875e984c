"""Ids found by natural key: nothing but the right id, whatever a server answers."""

from __future__ import annotations

import json
import random
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, rows
from polars.exceptions import ColumnNotFoundError, SchemaError

import polars_edfi as edfi
from items.support import ANSWER, PLACE, MakeOds

ENDPOINT = "ed-fi/visits"
FOUND = {"id": pl.String} | ANSWER | PLACE
NAME, SCHOOL, SESSION = "name", "schoolReference.schoolId", "sessionReference.schoolId"


def document(*, flags: bool = True) -> dict[str, Any]:
    """A resource whose key is a name, a descriptor and a school that two references have."""

    def parameter(name: str) -> dict[str, Any]:
        key = flags and name in {"name", "schoolId", "kindDescriptor"}
        return {"name": name, "in": "query", "x-Ed-Fi-isIdentity": key}

    reference = {"properties": {"schoolId": {"type": "integer", "format": "int64"}}}
    record = {
        "required": ["name", "kindDescriptor", "schoolReference"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "note": {"type": "string"},
            "kindDescriptor": {"type": "string"},
            "schoolReference": {"$ref": "#/components/schemas/edFi_schoolReference"},
            "sessionReference": {"$ref": "#/components/schemas/edFi_sessionReference"},
        },
    }
    answer = {"content": {"application/json": {"schema": {"type": "array", "items": record}}}}
    names = ["name", "note", "kindDescriptor", "schoolId"]
    get = {"parameters": [parameter(name) for name in names], "responses": {"200": answer}}
    references = {"edFi_schoolReference": reference, "edFi_sessionReference": reference}
    paths = {f"/{ENDPOINT}": {"get": get}}
    return {"openapi": "3.0.1", "paths": paths, "components": {"schemas": references}}


def visit(number: int, **changed: Any) -> dict[str, Any]:
    record = {
        "id": f"{number:032x}",
        "name": f"visit {number}",
        "kindDescriptor": "uri://x/Kind#A",
        "schoolReference": {"schoolId": 255901},
    }
    return record | changed


class Visits:
    """A server with a key look-up, or one that does not know any parameter."""

    def __init__(self, ods: ScriptedOds, *, known: bool = True, metadata: bool = True) -> None:
        self.ods, self.known, self.metadata = ods, known, metadata
        self.document = document()
        ods.script, ods.serves_metadata = self.answer, True
        ods.records = [visit(number) for number in range(20)]

    def answer(self, request: Request) -> Answer | None:
        if request.path.startswith("/metadata"):
            return Answer(200, self.document) if self.metadata else Answer(404)
        if request.path != f"/data/v3/{ENDPOINT}" or not self.known:
            return None
        if request.token not in self.ods.tokens:
            return None
        query = dict(request.query)
        offset, limit = int(query.pop("offset")), int(query.pop("limit"))
        count = query.pop("totalCount", None)
        found = [record for record in self.ods.records if self.matches(record, query)]
        headers = {"Total-Count": str(len(found))} if count else {}
        return Answer(200, found[offset : offset + limit], headers)

    def matches(self, record: dict[str, Any], query: dict[str, str]) -> bool:
        own = {"name": record["name"], "schoolId": str(record["schoolReference"]["schoolId"])}
        kind = query.get("kindDescriptor", record["kindDescriptor"])
        return kind.lower() == record["kindDescriptor"].lower() and all(
            own[name] == value for name, value in query.items() if name in own
        )

    def asked(self) -> list[Request]:
        return self.ods.paths("/data")


def key(ods: ScriptedOds, names: list[Any], **columns: Any) -> pl.DataFrame:
    cells = {"kindDescriptor": "uri://x/Kind#A", SCHOOL: 255901} | columns
    return rows(ods, pl.Series(NAME, names), **cells)


@pytest.fixture
def visits(ods: ScriptedOds) -> Visits:
    return Visits(ods)


@pytest.fixture
def runner() -> edfi.Resource:
    return edfi.Resource(ENDPOINT, api_version="v3", max_retries=0, timeout=10)


HOWS = pytest.mark.parametrize("how", ["auto", "lookup", "scan"])


@HOWS
def test_each_row_has_its_id_or_is_missing(visits: Visits, runner: edfi.Resource, how: Any) -> None:
    names = ["visit 3", "nobody", " visit 7 ", "visit 3", None, ""]
    out = runner.batch_find_ids(key(visits.ods, names), how=how)
    assert out.schema == FOUND
    assert out["id"].to_list() == [f"{3:032x}", None, f"{7:032x}", f"{3:032x}", None, None]
    assert out["status"].to_list() == [None, "missing", None, None, "error", "error"]
    assert out["message"].to_list() == [None] * 4 + ["missing 'name'"] * 2
    assert out["http_status"].to_list() == [200] * 4 + [None] * 2
    assert out["row_index"].to_list() == list(range(6))
    assert out.equals(runner.rows)
    queries = [request.query for request in visits.asked()]
    if how != "scan":
        assert len(queries) == 4, "equal keys are asked for once, those in spaces also without"


@pytest.mark.parametrize(
    "name", ["a#b", "a&b=c", "a b  c", "a+b", "100%", "Zoë 学校", "a/b?c", '"q"', "a;b,c", "\\"]
)
@HOWS
def test_any_text_can_be_a_key(visits: Visits, runner: edfi.Resource, how: Any, name: str) -> None:
    visits.ods.records = [visit(1), visit(2, name=name)]
    out = runner.batch_find_ids(key(visits.ods, [name]), how=how)
    assert out["id"].to_list() == [f"{2:032x}"]


@pytest.mark.parametrize(
    "case",
    [
        ("date-time", "2025-01-02T03:04:05", "2025-01-01 21:04:05", "America/Chicago"),
        ("date-time", "2025-01-02T03:04:05", "2025-01-02 08:34:05", "Asia/Kolkata"),
        ("date-time", "2025-01-02T03:04:05", "2025-01-02 03:04:05", "UTC"),
        ("date", "2025-01-02", "2025-01-02 00:00:00", "America/Chicago"),
        ("date", "2025-07-02", "2025-07-02 00:00:00", "Asia/Kolkata"),
        ("date", "2025-07-02", "2025-07-02 00:00:00", None),
    ],
)
@HOWS
def test_a_point_in_time_of_any_zone_can_be_a_key(
    visits: Visits, runner: edfi.Resource, how: Any, case: tuple[str, str, str, str | None]
) -> None:
    form, of_item, local, zone = case
    answer = visits.document["paths"][f"/{ENDPOINT}"]["get"]["responses"]["200"]
    record = answer["content"]["application/json"]["schema"]["items"]
    record["properties"]["name"] = {"type": "string", "format": form}
    visits.ods.records = [visit(1, name="2025-01-01"), visit(2, name=of_item)]
    times = pl.Series(NAME, [local]).str.to_datetime().dt.replace_time_zone(zone)
    for unit in ("ms", "us", "ns"):
        df = key(visits.ods, ["x"]).with_columns(times.dt.cast_time_unit(unit))
        assert runner.batch_find_ids(df, how=how)["id"].to_list() == [f"{2:032x}"]
        df = df.with_columns(pl.col(NAME).dt.offset_by("1h"))
        assert runner.batch_find_ids(df, how=how)["id"].to_list() == [None]


def test_what_goes_over_the_wire_is_encoded(visits: Visits, runner: edfi.Resource) -> None:
    seen = []
    script = visits.ods.script
    assert script is not None

    def look(request: Request) -> Answer | None:
        if request.path.startswith("/data"):
            seen.append(request.query)
        return script(request)

    visits.ods.script = look
    df = key(visits.ods, ["a#b & c"], kindDescriptor="uri://x/Kind#b c", **{SCHOOL: "0255901.0"})
    assert runner.batch_find_ids(df, how="lookup")["status"].to_list() == ["missing"]
    assert seen == [
        {"kindDescriptor": "uri://x/Kind#b c", "name": "a#b & c", "schoolId": "255901"}
        | {"offset": "0", "limit": "2"}
    ]


@HOWS
def test_a_server_that_ignores_parameters_never_gives_a_wrong_id(
    visits: Visits, runner: edfi.Resource, how: Any
) -> None:
    visits.known = False
    names = ["visit 0", "visit 3", "nobody"]
    out = runner.batch_find_ids(key(visits.ods, names), how=how)
    if how == "lookup":
        assert out["status"].to_list() == ["error"] * 3
        assert out["id"].null_count() == 3
        assert 'how="scan"' in out["message"][2]
    else:
        assert out["id"].to_list() == [f"{0:032x}", f"{3:032x}", None]
        assert out["status"].to_list() == [None, None, "missing"]


@HOWS
def test_two_items_of_one_key_are_an_error(visits: Visits, runner: edfi.Resource, how: Any) -> None:
    visits.ods.records.append(visit(99, name="visit 3"))
    out = runner.batch_find_ids(key(visits.ods, ["visit 3", "visit 4"]), how=how)
    assert out["status"].to_list() == ["error", None]
    assert out["message"][0] == "more than one item has this key"


@HOWS
def test_another_case_is_the_same_for_descriptors_alone(
    visits: Visits, runner: edfi.Resource, how: Any
) -> None:
    df = key(visits.ods, ["visit 3"], kindDescriptor="URI://x/kind#a")
    assert runner.batch_find_ids(df, how=how)["id"].to_list() == [f"{3:032x}"]
    visits.ods.records = [visit(3, name="Visit 3")]
    folded = visits.matches
    visits.matches = lambda record, query: folded(  # type: ignore[method-assign]
        record | {"name": record["name"].lower()}, query
    )
    out = runner.batch_find_ids(key(visits.ods, ["visit 3"]), how=how)
    assert (out["status"][0], out["id"][0]) == ("error", None)
    assert "another case" in out["message"][0]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({SCHOOL: 255901}, None),
        ({SESSION: 255901}, None),
        ({"schoolId": "255901"}, None),
        ({SCHOOL: 255901, SESSION: 255901.0}, None),
        ({SCHOOL: None, SESSION: 255901}, None),
        ({SCHOOL: 255901, SESSION: 5}, "no natural key: the columns of schoolId do not agree"),
        ({SCHOOL: None, SESSION: None}, f"missing '{SCHOOL}'"),
    ],
)
def test_merged_keys(
    visits: Visits, runner: edfi.Resource, columns: dict[str, Any], expected: str | None
) -> None:
    df = key(visits.ods, ["visit 3"]).drop(SCHOOL)
    df = df.with_columns(**{name: pl.lit(value) for name, value in columns.items()})
    out = runner.batch_find_ids(df)
    assert out["message"].to_list() == [expected]
    assert out["id"].to_list() == [None if expected else f"{3:032x}"]


def test_columns_of_other_names(visits: Visits, runner: edfi.Resource) -> None:
    df = key(visits.ods, ["visit 3"]).rename({SCHOOL: "School", NAME: "Visit"})
    df = df.with_columns(name=pl.lit("visit 5"))
    for cols in [{NAME: "Visit", SCHOOL: "School"}, {"NAME": "Visit", "schoolId": "School"}]:
        out = runner.batch_find_ids(df, key_cols=cols)
        assert out["id"].to_list() == [f"{3:032x}"]


@pytest.mark.parametrize("kind", ["text", "struct"])
def test_the_key_in_a_payload(visits: Visits, runner: edfi.Resource, kind: str) -> None:
    bodies: list[Any] = [visit(3), visit(4, schoolReference={}), {"name": 1}, None]
    if kind == "text":
        column = pl.Series("payload", [body and json.dumps(body) for body in bodies])
    else:
        bodies[2]["name"] = "1"
        column = pl.Series("payload", bodies)
    out = runner.batch_find_ids(rows(visits.ods, column), payload_col="payload")
    assert out["id"].to_list() == [f"{3:032x}", None, None, None]
    nothing = f"no natural key: no value at {SCHOOL} or {SESSION}"
    assert out["message"].to_list()[:2] == [None, nothing]
    assert "no natural key: no value at kindDescriptor" in out["message"][2]
    assert out["message"][3] == "missing 'payload'"


def test_a_payload_that_is_no_json_is_its_rows_error(visits: Visits, runner: edfi.Resource) -> None:
    texts = pl.Series("payload", ["{", json.dumps(visit(3)), "[]"])
    out = runner.batch_find_ids(rows(visits.ods, texts), payload_col="payload")
    assert out["status"].to_list() == ["error", None, "error"]
    assert out["message"][0].startswith("invalid JSON: ")


def test_where_no_document_tells_the_key(visits: Visits, runner: edfi.Resource) -> None:
    visits.metadata = False
    df = key(visits.ods, ["visit 3", "nobody"])
    out = runner.batch_find_ids(df)
    assert out["status"].to_list() == ["error"] * 2
    assert "key_cols" in out["message"][0]
    assert visits.asked() == []
    out = runner.batch_find_ids(df, key_cols=[NAME, "kindDescriptor", SCHOOL])
    assert out["id"].to_list() == [f"{3:032x}", None]
    assert out["status"].to_list() == [None, "missing"]
    column = pl.Series("payload", [json.dumps(visit(3))])
    out = runner.batch_find_ids(
        rows(visits.ods, column), payload_col="payload", key_cols=[NAME, "kindDescriptor", SCHOOL]
    )
    assert out["id"].to_list() == [f"{3:032x}"]


def test_flags_on_scalars_alone_tell_no_key(visits: Visits, runner: edfi.Resource) -> None:
    visits.document = document(flags=False)
    out = runner.batch_find_ids(key(visits.ods, ["visit 3"]))
    assert "key_cols" in out["message"][0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"key_cols": ["nope"]}, ColumnNotFoundError, "nope"),
        ({"key_cols": {NAME: "nope"}}, ColumnNotFoundError, "nope"),
        ({"key_cols": {"nope": NAME}}, edfi.EdFiError, "no part of the key"),
        ({"payload_col": "nope"}, ColumnNotFoundError, "nope"),
        ({"payload_col": SCHOOL}, SchemaError, "payload_col"),
        ({"payload_col": NAME, "key_cols": {NAME: "other"}}, edfi.EdFiError, "list of paths"),
        ({"how": "guess"}, edfi.EdFiError, "'auto', 'lookup', 'scan'"),
        ({"key_cols": 5}, edfi.EdFiError, "key_cols must be"),
        ({"workers": 0}, edfi.EdFiError, "workers"),
        ({"row_id_col": "nope"}, ColumnNotFoundError, "nope"),
    ],
)
def test_wrong_calls_send_nothing(
    visits: Visits, runner: edfi.Resource, arguments: dict[str, Any], error: Any, text: str
) -> None:
    with pytest.raises(error, match=text):
        runner.batch_find_ids(key(visits.ods, ["visit 3"]), **arguments)
    assert visits.asked() == []


def test_a_part_without_a_column_is_a_wrong_call(visits: Visits, runner: edfi.Resource) -> None:
    with pytest.raises(ColumnNotFoundError, match=r"the key of ed-fi/visits is .*sessionRef"):
        runner.batch_find_ids(key(visits.ods, ["visit 3"]).drop(SCHOOL))
    assert visits.asked() == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"name": "visit 3"}, "HTTP 200 OK"),
        ("<html>", "HTTP 200 OK"),
        ([1], "HTTP 200 OK"),
        ([{"id": None} | {k: v for k, v in visit(3).items() if k != "id"}], "no id"),
        ([{"id": "x"}], "does not filter"),
        ([visit(3, schoolReference={"schoolId": 5})], "does not filter"),
    ],
)
def test_answers_that_prove_nothing(
    visits: Visits, runner: edfi.Resource, body: Any, text: str
) -> None:
    whole = visits.ods.script
    assert whole is not None

    def lie(request: Request) -> Answer | None:
        return Answer(200, body) if request.path.startswith("/data") else whole(request)

    visits.ods.script = lie
    out = runner.batch_find_ids(key(visits.ods, ["visit 3"]), how="lookup")
    assert (out["status"][0], out["id"][0]) == ("error", None)
    assert text in out["message"][0]


@pytest.mark.parametrize("how", ["lookup", "scan"])
def test_refusals_are_rows(visits: Visits, runner: edfi.Resource, how: Any) -> None:
    whole = visits.ods.script
    assert whole is not None

    def refuse(request: Request) -> Answer | None:
        if request.path.startswith("/data"):
            return Answer(403, {"detail": "No.", "correlationId": "c-1"})
        return whole(request)

    visits.ods.script = refuse
    out = runner.batch_find_ids(key(visits.ods, ["visit 3"]), how=how)
    assert out.row(0)[:5] == (None, "error", "HTTP 403 Forbidden: No.", 403, "c-1")


def test_records_without_a_key_leave_what_is_missing_open(
    visits: Visits, runner: edfi.Resource
) -> None:
    visits.ods.records.append({"id": "x", "name": "hidden"})
    visits.matches = lambda *_: True  # type: ignore[method-assign]
    out = runner.batch_find_ids(key(visits.ods, ["visit 3", "nobody"]), how="scan")
    assert out["status"].to_list() == [None, "error"]
    assert "1 do not show theirs" in out["message"][1]


def test_rows_have_credentials_of_their_own(make_ods: MakeOds, runner: edfi.Resource) -> None:
    one, two = Visits(make_ods()), Visits(make_ods())
    two.ods.records = [visit(100 + number, name=f"visit {number}") for number in range(5)]
    both = pl.concat([key(one.ods, ["visit 1", "visit 9"]), key(two.ods, ["visit 1", "visit 9"])])
    both = both.with_columns(pl.Series("EdFi Token", ["token", "token", "token", "wrong"]))
    out = runner.batch_find_ids(both, row_id_col="key")
    assert out["id"].to_list() == [f"{1:032x}", f"{9:032x}", f"{101:032x}", None]
    assert out["message"].to_list() == [None] * 3 + ["auth error: HTTP 401"]
    assert out["row_id"].to_list() == [0, 1, 0, 1]
    assert {request.token for request in one.asked()} == {"token"}


def test_auto_takes_fewer_requests(visits: Visits, runner: edfi.Resource) -> None:
    visits.ods.records = [visit(number) for number in range(5_000)]
    names = [f"visit {number}" for number in range(0, 5_000, 5)]
    out = runner.batch_find_ids(key(visits.ods, names), workers=4)
    assert out["id"].to_list() == [f"{number:032x}" for number in range(0, 5_000, 5)]
    assert len(visits.asked()) <= 13
    before = len(visits.asked())
    assert runner.batch_find_ids(key(visits.ods, names[:8]))["status"].null_count() == 8
    assert len(visits.asked()) - before == 8 + 1


@pytest.mark.parametrize("seed", range(8))
def test_random_keys_on_random_servers(make_ods: MakeOds, seed: int) -> None:
    rng = random.Random(seed)
    server = Visits(make_ods(), known=rng.random() < 0.6)
    kinds = ["uri://x/Kind#A", "URI://X/Kind#a", "uri://x/Kind#B"]
    all_keys = [(f"n {rng.randrange(6)}", rng.choice(kinds), rng.randrange(4)) for _ in range(60)]
    items: dict[tuple[str, str, int], dict[str, Any]] = {}
    for number, (name, kind, school) in enumerate(all_keys[:30]):
        items.setdefault(
            (name, kind.lower(), school),
            visit(number, name=name, kindDescriptor=kind, schoolReference={"schoolId": school}),
        )
    server.ods.records = list(items.values())
    frame = key(
        server.ods,
        [name for name, *_ in all_keys],
        kindDescriptor=[kind for _, kind, _ in all_keys],
        **{SCHOOL: [school for *_, school in all_keys]},
    )
    runner = edfi.Resource(ENDPOINT, api_version="v3", max_retries=0, timeout=10)
    out = runner.batch_find_ids(frame, how="auto" if rng.random() < 0.5 else "scan", workers=3)
    expected = [items.get((name, kind.lower(), school)) for name, kind, school in all_keys]
    assert out["id"].to_list() == [item and item["id"] for item in expected]
    assert out["status"].to_list() == [None if item else "missing" for item in expected]


@pytest.mark.parametrize("how", ["lookup", "scan", "auto"])
@pytest.mark.parametrize("blank", [" ", "\u00a0", "\t"])
def test_spaces_around_a_key_belong_to_it_where_an_item_has_them(
    ods: ScriptedOds, runner: edfi.StudentAssessment, how: Any, blank: str
) -> None:
    Visits(ods)
    names = ["visit 3", f"{blank}visit 3", f"visit 4{blank}", blank]
    ods.records.append(visit(30, name=names[1]))
    cells = {"name": names, "kindDescriptor": "uri://x/Kind#A", SCHOOL: 255901}
    df = rows(ods, pl.Series("name", names), **{n: v for n, v in cells.items() if n != "name"})
    found = runner.batch_find_ids(df, endpoint=ENDPOINT, how=how)
    assert found["status"].to_list() == [None, None, None, "error"]
    assert found["id"].to_list() == [f"{3:032x}", f"{30:032x}", f"{4:032x}", None]
    assert found["message"][3] == "missing 'name'"
    payload = json.dumps(visit(0, name=f"{blank}visit 4"))
    found = runner.batch_find_ids(
        rows(ods, pl.Series("payload", [payload])),
        endpoint=ENDPOINT,
        how=how,
        payload_col="payload",
    )
    assert found["status"].to_list() == ["missing"], "a payload's key is what it says"


def test_another_case_is_no_missing_key_where_that_is_asked_for_too(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    Visits(ods)
    names = ["visit 3", "VISIT 3", "visit 3 x"]
    cells = {"kindDescriptor": "uri://x/Kind#A", SCHOOL: 255901}
    found = runner.batch_find_ids(
        rows(ods, pl.Series("name", names), **cells), endpoint=ENDPOINT, how="scan"
    )
    assert found["status"].to_list() == [None, "error", "missing"]
    assert "in another case" in found["message"][1]
