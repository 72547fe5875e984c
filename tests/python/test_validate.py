"""Payloads checked before they are sent, on a scripted ODS with a small document of its own."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

COLUMNS = {
    "endpoint": pl.String,
    "row_index": pl.get_index_type(),
    "row_id": pl.String,
    "severity": pl.String,
    "rule": pl.String,
    "path": pl.String,
    "detail": pl.String,
}


def text(most: int, **flags: object) -> dict[str, Any]:
    return {"type": "string", "maxLength": most, **flags}


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def resource(name: str, schema: str, *keys: str) -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": reference(schema)}}}
    items = {"type": "array", "items": reference(schema)}
    parameters = [{"name": key, "in": "query", "x-Ed-Fi-isIdentity": True} for key in keys]
    get = {"parameters": parameters, "responses": {"200": {"content": {"application/json": {}}}}}
    get["responses"]["200"]["content"]["application/json"]["schema"] = items  # type: ignore[index]
    return {f"/ed-fi/{name}": {"get": get, "post": {"requestBody": body}}}


KEY = {"x-Ed-Fi-isIdentity": True}
SCHEMAS: dict[str, Any] = {
    "edFi_school": {
        "required": ["schoolId", "nameOfInstitution"],
        "properties": {"schoolId": {"type": "integer", **KEY}, "nameOfInstitution": text(75)},
    },
    "edFi_student": {
        "required": ["studentUniqueId"],
        "properties": {
            "studentUniqueId": text(32, minLength=1, **KEY),
            "sexDescriptor": text(306),
            "homeDistrictReference": reference("edFi_educationOrganizationReference"),
            "schoolReference": reference("edFi_schoolReference"),
            "code": {"type": "string", "pattern": "^[A-Z]+$"},
            "rank": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9},
            "names": {"type": "array", "items": reference("edFi_studentName")},
        },
    },
    "edFi_studentName": {
        "required": ["nameTypeDescriptor"],
        "properties": {"nameTypeDescriptor": text(306, **KEY), "first": text(75)},
    },
    "edFi_schoolReference": {
        "required": ["schoolId"],
        "properties": {"schoolId": {"type": "integer"}, "link": {"type": "object"}},
    },
    "edFi_educationOrganizationReference": {
        "required": ["educationOrganizationId"],
        "properties": {"educationOrganizationId": {"type": "integer"}},
    },
    "edFi_sexDescriptor": {
        "required": ["namespace", "codeValue"],
        "properties": {"namespace": text(255), "codeValue": text(50)},
    },
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.1",
    "paths": resource("schools", "edFi_school", "schoolId")
    | resource("students", "edFi_student", "studentUniqueId")
    | resource("sexDescriptors", "edFi_sexDescriptor"),
    "components": {"schemas": SCHEMAS},
}
SEX = "uri://ed-fi.org/SexDescriptor"


def client_of(ods: ScriptedOds) -> edfi.EdFiClient:
    return edfi.Resource(
        "ed-fi/students",
        base_url=ods.url,
        client_id="key",
        client_secret="secret",
        max_retries=0,
    )


class Ods:
    """An ODS with a document, three schools and a descriptor."""

    def __init__(self, ods: ScriptedOds) -> None:
        self.ods, self.ignores, self.statuses = ods, False, {"": 0}
        self.schools: list[dict[str, Any]] = [
            {"schoolId": number, "nameOfInstitution": "A"} for number in range(1, 2001)
        ]
        self.sexes = [{"namespace": SEX, "codeValue": "Female"}]
        ods.script, ods.serves_metadata = self.answer, True

    def client(self) -> edfi.EdFiClient:
        return client_of(self.ods)

    def answer(self, request: Request) -> Answer | None:
        if request.path == "/" or request.path.endswith("dependencies"):
            return Answer(404)
        if request.path.startswith("/metadata"):
            return Answer(200, DOCUMENT)
        name = request.path.rpartition("/")[2]
        if request.method != "GET" or name not in ("schools", "sexDescriptors"):
            return None
        if name in self.statuses:
            return Answer(self.statuses[name], {"detail": "No."})
        records = self.schools if name == "schools" else self.sexes
        wanted = request.query.get("schoolId")
        if wanted is not None and not self.ignores:
            records = [one for one in records if str(one["schoolId"]) == wanted]
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        total = {"Total-Count": str(len(records))}
        page = [{"id": f"{n:032x}", **one} for n, one in enumerate(records)]
        return Answer(200, page[offset : offset + limit], total)

    def asked(self, name: str) -> list[dict[str, str]]:
        found = [one.query for one in self.ods.paths() if one.path.endswith(f"/{name}")]
        self.ods.requests.clear()
        return found


@pytest.fixture
def server(ods: ScriptedOds) -> Ods:
    return Ods(ods)


def student(number: int = 1, **more: object) -> str:
    return json.dumps({"studentUniqueId": str(number), **more})


def frame(*payloads: str | None) -> pl.DataFrame:
    return pl.DataFrame({"payload": payloads, "k": range(len(payloads))})


def told(findings: pl.DataFrame) -> list[tuple[Any, ...]]:
    return findings.select("row_index", "severity", "rule", "path").rows()


def test_nothing_is_found_where_all_is_well(server: Ods) -> None:
    school = {"schoolId": 1, "link": {"rel": "School", "href": "/x"}}
    good = student(sexDescriptor=f"{SEX}#Female", schoolReference=school, rank=9, code="AB")
    findings = server.client().validate(frame(good, student(2)))
    assert (findings.schema, findings.height) == (COLUMNS, 0)
    assert server.ods.items == {}


@pytest.mark.parametrize(
    ("payload", "finding", "detail"),
    [
        ("{", ("error", "schema", "$"), "invalid JSON"),
        ("[]", ("error", "schema", "$"), "must be an object"),
        (None, ("error", "schema", "$"), "missing 'payload'"),
        ("{}", ("error", "schema", "$.studentUniqueId"), "is required"),
        (student(code="ab"), ("error", "schema", "$.code"), "pattern"),
        (student(rank=10), ("error", "schema", "$.rank"), "at most 9"),
        (student(rank="1"), ("error", "schema", "$.rank"), "an integer, not a string"),
        (student(Rank=1), ("warning", "schema", "$.Rank"), "it is written 'rank'"),
        (student(ranks=1), ("warning", "schema", "$.ranks"), "nearest is 'rank'"),
        (student(zzzzzz=1), ("warning", "schema", "$.zzzzzz"), "drop what they do not know"),
        (student(names=[{}]), ("error", "schema", "$.names[0].nameTypeDescriptor"), "required"),
        (student(names={}), ("error", "schema", "$.names"), "an array, not an object"),
        (student(id="1"), ("error", "schema", "$.id"), "gives ids"),
        (student(schoolReference={}), ("error", "schema", "$.schoolReference.schoolId"), "requi"),
        (
            student(schoolReference={"schoolId": 0}),
            ("error", "references", "$.schoolReference"),
            "0",
        ),
        (
            student(homeDistrictReference={"educationOrganizationId": 0}),
            ("error", "references", "$.homeDistrictReference"),
            "ed-fi/schools",
        ),
        (student(sexDescriptor="Female"), ("error", "descriptors", "$.sexDescriptor"), "codeValue"),
        (
            student(sexDescriptor=f"{SEX}#Other"),
            ("error", "descriptors", "$.sexDescriptor"),
            "does not exist",
        ),
        (
            student(sexDescriptor=f"{SEX}#FEMALE"),
            ("warning", "descriptors", "$.sexDescriptor"),
            "differs in case only",
        ),
        (
            student(names=[{"nameTypeDescriptor": "a#b"}, {"nameTypeDescriptor": "A#B"}]),
            ("error", "keys", "$.names[1]"),
            "element 0",
        ),
    ],
)
def test_what_is_found(
    server: Ods, payload: str | None, finding: tuple[str, str, str], detail: str
) -> None:
    findings = server.client().validate(frame(student(7), payload))
    assert told(findings) == [(1, *finding)]
    assert detail in findings["detail"].item()


def test_frames_by_name_lazy_and_struct(server: Ods) -> None:
    schools = pl.DataFrame({"payload": [{"schoolId": 5000, "nameOfInstitution": "B"}]})
    lost = student(2, schoolReference={"schoolId": 5001})
    students = frame(student(schoolReference={"schoolId": 5000}), lost).lazy()
    client = server.client()
    findings = client.validate(
        {"ed-fi/students": students, "/ed-fi/schools/": schools}, rules=["references"]
    )
    assert findings["endpoint"].to_list() == ["ed-fi/students"]
    assert told(findings) == [(1, "error", "references", "$.schoolReference")]
    with pytest.raises(edfi.EdFiError, match="single frame"):
        client.validate({"ed-fi/students": students}, endpoint="ed-fi/students")
    with pytest.raises(edfi.EdFiError, match=r"rules must be .*'schema'"):
        client.validate(frame(student()), rules=["shape"])  # type: ignore[list-item]
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="payload_col"):
        client.validate(frame(student()), payload_col="p")


def test_few_keys_are_asked_for_many_are_read_once(server: Ods) -> None:
    def rows(*ids: int) -> pl.DataFrame:
        links = [
            {"schoolReference": {"schoolId": one}, "homeDistrictReference": edorg}
            for one in ids
            for edorg in [{"educationOrganizationId": one}]
        ]
        return frame(*(student(n, **link) for n, link in enumerate(links)))

    client = server.client()
    assert client.validate(rows(7)).height == 0
    asked = server.asked("schools")
    assert [query.get("schoolId") for query in asked] == ["7"]
    assert client.validate(rows(*range(1, 1501))).height == 0
    asked = server.asked("schools")
    assert all("schoolId" not in query for query in asked)
    offsets = [query["offset"] for query in asked if query["limit"] != "0"]
    assert len(offsets) == len(set(offsets)) <= 6
    # A server that ignores the parameters says nothing of one school.
    server.ignores = True
    assert client.validate(rows(1999)).height == 0
    findings = client.validate(rows(2001))
    assert [path for _, _, _, path in told(findings)] == [
        "$.schoolReference",
        "$.homeDistrictReference",
    ]


def test_what_cannot_be_read_is_no_error_of_a_row(server: Ods) -> None:
    server.statuses = {"schools": 403, "sexDescriptors": 404}
    payload = student(schoolReference={"schoolId": 1}, sexDescriptor=f"{SEX}#Female")
    findings = server.client().validate(frame(payload))
    assert sorted(told(findings)) == [
        (None, "warning", "descriptors", None),
        (None, "warning", "references", None),
    ]
    assert "HTTP 403" in " ".join(findings["detail"])


def test_the_same_key_in_several_rows(server: Ods) -> None:
    same, other = student(rank=1), '{"rank": 1,  "studentUniqueId": "1"}'
    client = server.client()
    assert client.validate(frame(same, other)).height == 0
    findings = client.validate(frame(same, student(2), student(rank=2)), row_id_col="k")
    assert told(findings) == [(0, "warning", "keys", "$")]
    assert findings["row_id"].to_list() == [0]
    assert "row 2" in findings["detail"].item()


def test_rows_with_errors_are_not_sent(server: Ods) -> None:
    rows = frame(student(1), student(2, rank=0, code="a"), student(3, Rank=1), "{")
    client = server.client()
    sent = client.batch_post_payload(
        rows, payload_col="payload", key_col="k", validate=True, commit=True
    )
    assert sent["status"].to_list() == [None, "error", None, "error"]
    assert sent["message"][1] == "invalid: $.rank: must be at least 1 (and 1 more)"
    assert sent["message"][3].startswith("invalid JSON")
    assert sent["attempts"].to_list() == [1, 0, 1, 0]
    assert len(server.ods.items) == 2
    dry = client.batch_post_payload(rows, payload_col="payload", key_col="k", validate=True)
    assert dry["status"].to_list() == ["dry_run", "error", "dry_run", "error"]
    assert len(server.ods.items) == 2


def test_without_a_document_only_json_is_checked(ods: ScriptedOds) -> None:
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3")
    findings = client.validate(frame("{", student()), endpoint="ed-fi/students")
    assert told(findings) == [
        (None, "warning", "schema", None),
        (0, "error", "schema", "$"),
    ]


@pytest.mark.parametrize("commit", [False, True])
def test_what_is_wrong_without_an_ods_is_said_as_ever(server: Ods, commit: bool) -> None:
    payloads = [None, "{", student(rank=0), student()]
    df = frame(*payloads).with_columns(
        pl.Series("targetUrl", [server.ods.url, server.ods.url, server.ods.url, None]),
        pl.lit("token").alias("EdFi Token"),
    )
    options = {"commit": commit, "validate": True, "key_col": "k"}
    client = edfi.EdFiClient(max_retries=0)
    sent = client.send({"ed-fi/students": df}, order=["ed-fi/students"], **options)
    posted = client.batch_post_payload(
        df, endpoint="ed-fi/students", payload_col="payload", **options
    )
    assert sent["message"].to_list() == posted["message"].to_list()
    assert posted["message"].to_list() == [
        "missing 'payload'",
        "invalid JSON: EOF while parsing an object at line 1 column 1",
        "invalid: $.rank: must be at least 1",
        "missing 'targetUrl'",
    ]


def test_what_replaces_an_item_may_hold_its_id(server: Ods) -> None:
    df = frame(student(id="5a"), student(id="5a", rank=0)).with_columns(id=pl.lit("5a"))
    client, options = server.client(), {"payload_col": "payload", "key_col": "k", "validate": True}
    put = client.batch_put_payload(df, id_col="id", **options)
    assert put["message"].to_list() == [None, "invalid: $.rank: must be at least 1"]
    posted = client.batch_post_payload(df, **options)
    refused = "invalid: $.id: the server gives ids; a payload with one is refused"
    assert posted["message"].to_list() == [refused, f"{refused} (and 1 more)"]


def composing(ods: ScriptedOds, schemas: dict[str, Any]) -> edfi.EdFiClient:
    """Give the client of an ODS whose students are made of these schemas."""
    document = DOCUMENT | {
        "paths": resource("students", "edFi_student", "studentUniqueId"),
        "components": {"schemas": schemas},
    }

    def answer(request: Request) -> Answer | None:
        if request.path == "/" or request.path.endswith("dependencies"):
            return Answer(404)
        return Answer(200, document) if request.path.startswith("/metadata") else None

    ods.script, ods.serves_metadata = answer, True
    return client_of(ods)


def test_a_property_that_two_parts_of_a_composition_have(ods: ScriptedOds) -> None:
    schemas = {
        "base": {"properties": {"studentUniqueId": text(32), "code": text(2)}},
        "edFi_student": {
            "allOf": [reference("base")],
            "properties": {"code": text(2), "rank": {"type": "integer"}, "studentUniqueId": {}},
        },
    }
    client = composing(ods, schemas)
    findings = client.validate(frame(student(code="ab", rank=1), student(2, code="abc")))
    assert told(findings) == [(1, "error", "schema", "$.code")]


@pytest.mark.parametrize("word", ["allOf", "anyOf"])
def test_a_document_that_leads_back_to_its_beginning(ods: ScriptedOds, word: str) -> None:
    twice = [reference("b"), reference("c"), reference("b")]
    schemas = {
        "edFi_student": {word: twice},
        "b": reference("edFi_student"),
        "c": {"allOf": [{"anyOf": twice}, reference("edFi_student"), {"anyOf": twice}]},
    }
    client = composing(ods, schemas)
    assert client.validate(frame(student(), "{}")).filter(severity="error").is_empty()
    circle = {"edFi_student": reference("b"), "b": reference("edFi_student")}
    ods.script = None
    client = composing(ods, circle)
    assert client.validate(frame(student())).filter(severity="error").is_empty()


def test_a_small_document_that_says_too_much(ods: ScriptedOds) -> None:
    doubled = {f"s{n}": {"allOf": [reference(f"s{n + 1}")] * 2} for n in range(60)}
    client = composing(
        ods, {"edFi_student": reference("s0"), "s60": {"properties": {"a": text(1)}}, **doubled}
    )
    assert "a" in client.schema("ed-fi/students")
    names = "abcdefghij"
    tenfold: dict[str, Any] = {
        f"s{n}": {"properties": {name: reference(f"s{n + 1}") for name in names}} for n in range(12)
    }
    client = composing(
        ods, {"edFi_student": reference("s0"), "s12": {"properties": {"a": text(1)}}, **tenfold}
    )
    assert len(client.schema("ed-fi/students")) < 60_000
