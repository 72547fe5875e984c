"""What an ODS says of itself: documents found, kept, checked, and turned into columns."""

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from zlib import crc32

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district
from polars.testing import assert_frame_equal

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
Json = dict[str, Any]
UTC_MICROS = pl.Datetime("us", "UTC")
RESULT = ["District BK", "status", "message", "http_status", "correlation_id"]
RESULTS = "ed-fi/studentAssessments"


def document(properties: Json, *, endpoint: str = RESULTS, **more: Any) -> Json:
    """An OpenAPI 3 document of one resource, whose schema is called like nothing at all."""
    parameters = [
        {"$ref": "#/components/parameters/offset"},
        *({"name": name, "in": "query"} for name in more.pop("filters", [])),
    ]
    answer = {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/x"}}}
    schemas = {"x": {"type": "object", "properties": properties}} | more.pop("schemas", {})
    return {
        "openapi": "3.0.1",
        "paths": {
            f"/{endpoint}": {
                "get": {
                    "tags": ["t"],
                    "parameters": parameters,
                    "responses": {"200": {"content": {"application/json": answer}}},
                },
            },
            f"/{endpoint}/{{id}}": {"get": {}},
            **more.pop("paths", {}),
        },
        "components": {
            "schemas": schemas,
            "parameters": {"offset": {"name": "offset", "in": "query"}},
        },
        "tags": [{"name": "t", "description": "Tests."}],
    }


class Documents:
    """Documents of an ODS by section; each answer has an ETag that is its text's own."""

    def __init__(self, ods: ScriptedOds, **documents: Json) -> None:
        self.ods = ods
        self.documents = documents
        self.elsewhere = "https://elsewhere.example.org"
        self.asked: list[tuple[str, int]] = []
        self.etags = True
        ods.script, ods.serves_metadata = self.answer, True

    def answer(self, request: Request) -> Answer | None:
        if request.path == "/":
            urls = {"openApiMetadata": f"{self.elsewhere}/metadata/2025"}
            return Answer(200, {"urls": urls})
        if request.path == "/metadata/2025":
            listed = [
                {"name": name, "endpointUri": f"{self.elsewhere}/metadata/{name}.json?a=b"}
                for name in [*self.documents, "Change-Queries"]
            ]
            return self.tagged(request, [{**entry, "prefix": ""} for entry in listed])
        name = request.path.removeprefix("/metadata/").removesuffix(".json")
        if name in self.documents:
            assert request.query == {"a": "b"}
            return self.tagged(request, self.documents[name])
        return None

    def tagged(self, request: Request, body: Any) -> Answer:
        assert request.token is None
        text = json.dumps(body)
        etag = f'"{crc32(text.encode())}"'
        known = self.etags and request.headers.get("if-none-match") == etag
        self.asked.append((request.path.rpartition("/")[2], 304 if known else 200))
        headers = {"etag": etag} if self.etags else {}
        return Answer(304, b"", headers) if known else Answer(200, text, headers)


def own(ods: ScriptedOds) -> edfi.EdFiClient:
    return edfi.StudentAssessment(base_url=ods.url, bearer_token="token", max_retries=0)


def read(*servers: ScriptedOds, **arguments: Any) -> pl.DataFrame:
    df = pl.concat([district(ods, str(n)) for n, ods in enumerate(servers)])
    runner = edfi.StudentAssessment(max_retries=0, timeout=10)
    return runner.batch_get_all(df, key_col="District BK", **arguments)


TEXT = {"type": "string"}
DATE = {"type": "string", "format": "date"}
MOMENT = {"type": "string", "format": "date-time"}
INT32 = {"type": "integer", "format": "int32"}
INT64 = {"type": "integer", "format": "int64"}


def test_every_kind_of_property(ods: ScriptedOds) -> None:
    properties = {
        "text": TEXT,
        "born": DATE | {"x-nullable": True},
        "at": MOMENT,
        "clock": {"type": "string", "format": "time"},
        "small": INT32,
        "large": INT64,
        "plain": {"type": ["integer", "null"]},
        "number": {"type": "number", "format": "double"},
        "flag": {"type": "boolean"},
        "words": {"type": "array", "items": TEXT},
        "scores": {"type": "array", "items": {"$ref": "#/components/schemas/score"}},
        "schoolReference": {"allOf": [{"$ref": "#/components/schemas/ref"}], "nullable": True},
        "either": {"anyOf": [{"$ref": "#/components/schemas/score"}, {"type": "null"}]},
        "free": {"type": "object"},
        "frees": {"type": "array", "items": {"type": "object"}},
        "a.b": TEXT,
        "_ext": {"properties": {"tx": {"properties": {"extra": TEXT}}}},
    }
    schemas = {
        "score": {"properties": {"result": INT32}},
        "ref": {"properties": {"schoolId": INT64, "link": {"properties": {"href": TEXT}}}},
    }
    Documents(ods, Resources=document(properties, schemas=schemas))
    expected = {
        "id": pl.String,
        "text": pl.String,
        "born": pl.Date,
        "at": UTC_MICROS,
        "clock": pl.String,
        "small": pl.Int32,
        "large": pl.Int64,
        "plain": pl.Int64,
        "number": pl.Float64,
        "flag": pl.Boolean,
        "words": pl.List(pl.String),
        "scores": pl.List(pl.Struct({"result": pl.Int32})),
        "schoolReference.schoolId": pl.Int64,
        "schoolReference.link.href": pl.String,
        "either.result": pl.Int32,
        "a.b": pl.String,
        "_ext.tx.extra": pl.String,
        "_etag": pl.String,
        "_lastModifiedDate": UTC_MICROS,
    }
    client = own(ods)
    schema = client.schema(RESULTS)
    assert isinstance(schema, pl.Schema)
    assert list(schema.items()) == list(expected.items())
    without = client.schema("/ed-fi/STUDENTassessments/", separator="/", links=False)
    assert "schoolReference/link/href" not in without
    assert "schoolReference/schoolId" in without

    ods.records = [
        {
            "id": "1",
            "born": "2011-02-03",
            "at": "2024-03-29T18:23:57.2882379-05:00",
            "small": 7,
            "schoolReference": {"schoolId": 1, "link": {"href": "/x"}},
            "a.b": "both",
            "scores": [{"result": 3}],
            "free": {},
        },
    ]
    with pytest.warns(UserWarning, match=r"1 record holds .* \(free\)"):
        out = read(ods)
    assert list(out.schema.items())[5:] == [*expected.items(), ("_unknown", pl.String)]
    row = out.row(0, named=True)
    assert row["born"] == date(2011, 2, 3)
    # .NET writes seven decimals; a column of microseconds holds six.
    assert row["at"] == datetime(2024, 3, 29, 23, 23, 57, 288237, tzinfo=UTC)
    assert (row["small"], row["a.b"], row["scores"]) == (7, "both", [{"result": 3}])
    assert row["_unknown"] == '{"free":{}}'


def test_what_does_not_fit_is_counted_and_kept(ods: ScriptedOds) -> None:
    Documents(ods, Resources=document({"n": INT32, "ref": {"properties": {"name": TEXT}}}))
    ods.records[1] |= {"n": "many", "more": 1}
    ods.records[2] |= {"n": 2**40}
    with pytest.warns(UserWarning, match=r"2 records .*\(n, more\)"):
        out = read(ods)
    assert out["n"].to_list() == [0, None, None]
    assert out["_unknown"].to_list() == [None, '{"n":"many","more":1}', f'{{"n":{2**40}}}']


@pytest.mark.parametrize("schema", ["auto", "openapi"])
def test_nothing_has_all_columns(make_ods: MakeOds, schema: str) -> None:
    ods = make_ods([])
    Documents(ods, Resources=document({"n": INT32}))
    out = read(ods, schema=schema)
    assert out.height == 0
    assert out.columns == [*RESULT, "id", "n", "_etag", "_lastModifiedDate", "_unknown"]
    single = own(ods).get_all(key=1, schema=schema)["data"]
    assert single is not None
    assert list(single.schema.items()) == list(out.schema.items())[5:]


def test_the_process_keeps_what_it_has_read(make_ods: MakeOds) -> None:
    ods = make_ods([{"id": str(n), "n": n} for n in range(3)])
    documents = Documents(ods, Resources=document({"n": INT32}), Descriptors=document({}))
    client = own(ods)
    read(ods, schema="openapi", params={"q": "x"})
    # Only what was needed: no descriptors, no change queries.
    assert documents.asked == [("2025", 200), ("Resources.json", 200)]
    documents.asked.clear()
    for _ in range(2):
        client.get_all(key=1, params={"id": "x"})
        assert client.count(RESULTS, params={"id": "x"}) == 3
    # Another client asks whether the document is still the same.
    assert documents.asked == [("Resources.json", 304)]

    documents.asked.clear()
    assert client.schema(RESULTS)["n"] == pl.Int32
    assert documents.asked == [("2025", 304), ("Resources.json", 304)]
    documents.documents["Resources"] = document({"n": INT64})
    assert client.schema(RESULTS)["n"] == pl.Int64
    assert documents.asked[2:] == [("2025", 304), ("Resources.json", 200)]
    data = client.get_all(key=1)["data"]
    assert data is not None
    assert data["n"].dtype == pl.Int64
    assert len(documents.asked) == 4


def test_a_server_without_etags_is_asked_once_by_each_client(ods: ScriptedOds) -> None:
    documents = Documents(ods, Resources=document({"n": INT32}))
    documents.etags = False
    once = [("2025", 200), ("Resources.json", 200)]
    client = own(ods)
    for _ in range(5):
        assert client.schema(RESULTS)["n"] == pl.Int32
    assert client.resources().height == 1
    assert documents.asked == once
    documents.documents["Resources"] = document({"n": INT64})
    assert own(ods).schema(RESULTS)["n"] == pl.Int64
    assert documents.asked == once * 2


def test_documents_that_differ_are_widened(make_ods: MakeOds) -> None:
    one = make_ods([{"id": "1", "n": 1, "when": "2020-01-02", "o": {"a": 1}, "l": [1]}])
    two = make_ods([{"id": "2", "n": 2**40, "when": "soon", "o": "none", "l": ["x"], "new": 1}])
    Documents(
        one,
        Resources=document(
            {
                "n": INT32,
                "when": DATE,
                "o": {"properties": {"a": INT32}},
                "l": {"type": "array", "items": INT32},
            }
        ),
    )
    Documents(
        two,
        Resources=document(
            {
                "n": INT64,
                "when": TEXT,
                "o": TEXT,
                "l": {"type": "array", "items": TEXT},
                "new": INT32,
            }
        ),
    )
    out = read(one, two)
    assert out.schema["n"] == pl.Int64
    assert out.select("n", "when", "o", "l", "new", "_unknown").rows() == [
        (1, "2020-01-02", '{"a":1}', ["1"], None, None),
        (2**40, "soon", "none", ["x"], 1, None),
    ]
    wanted = ["id", "n", "when", "o", "l", "_etag", "_lastModifiedDate", "new", "_unknown"]
    assert out.columns[5:] == wanted


def test_districts_without_a_document(make_ods: MakeOds) -> None:
    one, bare = make_ods(1), make_ods(2)
    Documents(one, Resources=document({"n": INT32}))
    with pytest.warns(UserWarning, match=r"3 records .* \(ref\)"):
        out = read(bare, one)
    assert out["n"].to_list() == [0, 1, 0]
    assert out["_unknown"].null_count() == 0
    with pytest.warns(UserWarning, match="1 record holds"):
        out = read(bare, one, schema="openapi")
    assert out["status"].to_list() == ["error", None]
    assert "serves no OpenAPI metadata" in out["message"][0]
    assert read(bare)["n"].dtype == pl.Int64
    assert "_unknown" not in read(bare).columns
    assert own(bare).get_all(key=1, schema="openapi")["status"] == "error"
    for call in [own(bare).resources, lambda: own(bare).schema(RESULTS)]:
        with pytest.raises(edfi.HttpError, match="no OpenAPI metadata"):
            call()


def test_a_column_for_the_rest_is_there_without_any_document(make_ods: MakeOds) -> None:
    bare = make_ods(2)
    nobody = district(bare).clear()
    runner = edfi.StudentAssessment()
    for out in [
        read(bare, schema="openapi"),
        runner.batch_get_all(nobody, key_col="District BK", schema="openapi"),
    ]:
        assert out.columns[-1] == "_unknown"
        assert out["_unknown"].dtype == pl.String
        assert out.filter(pl.col("status").is_null()).is_empty()


def test_an_endpoint_that_no_document_knows(ods: ScriptedOds) -> None:
    Documents(ods, Resources=document({"n": INT32}, endpoint="ed-fi/others"))
    assert read(ods)["n"].dtype == pl.Int64
    out = read(ods, schema="openapi")
    assert "does not describe ed-fi/studentAssessments" in out["message"][0]
    with pytest.raises(edfi.EdFiError, match="do not describe"):
        own(ods).schema(RESULTS)


@pytest.mark.parametrize("place", ["/metadata/2025", "/metadata/Resources.json"])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(500, {"message": "Oh."}), "HTTP 500 Internal Server Error: Oh."),
        (Answer(403), "HTTP 403 Forbidden"),
        (Answer(200, '{"paths": '), "HTTP 200 OK: not JSON"),
        (Answer(302, headers={"location": "http://127.0.0.1:9/"}), "HTTP 302 Found"),
        (Answer(401), "auth error: HTTP 401"),
        (Answer(close=True), "connection broken"),
    ],
)
def test_metadata_that_fails_is_the_districts_error(
    make_ods: MakeOds, place: str, answer: Answer, message: str
) -> None:
    ods, good = make_ods(), make_ods(1)
    documents = Documents(ods, Resources=document({"n": INT32}))
    ods.script = lambda r: answer if r.path == place else documents.answer(r)
    out = read(ods, good)
    assert out["status"].to_list() == ["error", None]
    named = message if answer.status == 401 else f"metadata: {message}"
    assert out["message"][0].startswith(named)
    assert out["http_status"].to_list() == [401 if answer.status == 401 else None, 200]
    assert ods.paths() == []
    if message.startswith("HTTP"):
        assert place in out["message"][0]
    for schema in ["infer", {"n": pl.Int8}]:
        # The names of parameters are checked where they can be.
        out = read(ods, schema=schema, params={"anything": 1})
        assert out["n"].to_list() == [0, 1, 2]
    # It is not remembered.
    Documents(ods, Resources=document({"n": INT32, "ref": {"properties": {"name": TEXT}}}))
    assert read(ods)["n"].dtype == pl.Int32


@pytest.mark.parametrize("status", [404, 410])
def test_a_document_that_the_list_promises_and_that_is_not_there(
    ods: ScriptedOds, status: int
) -> None:
    descriptors = "ed-fi/gradeLevelDescriptors"
    documents = Documents(
        ods,
        Resources=document({"n": INT32, "ref": {"properties": {"name": TEXT}}}),
        Descriptors=document({"n": INT32}, endpoint=descriptors),
        TPDM=document({"n": INT32}, endpoint="tpdm/candidates"),
    )
    gone = {"Descriptors", "TPDM"}

    def answer(request: Request) -> Answer | None:
        name = request.path.rpartition("/")[2].removesuffix(".json")
        return Answer(status) if name in gone else documents.answer(request)

    ods.script = answer
    # What is not asked for is not missed.
    assert read(ods)["status"].to_list() == [None] * 3
    client = own(ods)
    with pytest.raises(edfi.EdFiError, match=f"metadata: HTTP {status}.*/metadata/Descriptors"):
        client.resources()
    payloads = pl.DataFrame({"payload": ['{"n": 1}']})
    findings = client.validate(payloads, endpoint=RESULTS)
    assert findings["severity"].to_list() == ["error"]
    assert "metadata: HTTP" in findings["detail"].item()
    # An extension's own document beside them may be listed and not be there.
    gone.discard("Descriptors")
    assert client.resources()["endpoint"].to_list() == [RESULTS, descriptors]


def test_metadata_that_only_those_see_who_are_known(ods: ScriptedOds) -> None:
    body = document({"n": INT32, "ref": {"properties": {"name": TEXT}}})

    def script(request: Request) -> Answer | None:
        if request.path == "/metadata/":
            return Answer(200, body) if request.token == "token" else Answer(401)
        return None

    ods.script, ods.serves_metadata = script, True
    assert read(ods)["n"].dtype == pl.Int32
    assert [request.token for request in ods.paths("/metadata")] == [None, "token"]


def test_metadata_that_is_nowhere_for_those_who_are_known_either(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer | None:
        if request.path.startswith("/metadata"):
            return Answer(404) if request.token == "token" else Answer(401)
        return None

    ods.script, ods.serves_metadata = script, True
    began = time.monotonic()
    assert read(ods).height
    # What is said of a 404 may wait for documents that others fetch, and must not for its own.
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("list_at", ["/metadata/", "/api/metadata/specifications"])
def test_a_single_document_in_place_of_a_list(ods: ScriptedOds, list_at: str) -> None:
    def script(request: Request) -> Answer | None:
        if request.path == "/" and list_at != "/metadata/":
            return Answer(200, {"urls": {"openApiMetadata": f"http://inside:1{list_at}"}})
        if request.path == list_at:
            return Answer(200, document({"n": INT32, "ref": {"properties": {"name": TEXT}}}))
        return None

    ods.script, ods.serves_metadata = script, True
    assert read(ods)["n"].dtype == pl.Int32
    assert own(ods).resources()["endpoint"].to_list() == [RESULTS]


def test_the_specifications_of_the_data_management_service(ods: ScriptedOds) -> None:
    folder = "/api/metadata/specifications"

    def script(request: Request) -> Answer | None:
        if request.path == "/":
            urls = {
                "openApiMetadata": f"https://inside{folder}",
                "dataManagementApi": "https://inside/api/data",
            }
            return Answer(200, {"version": "8.0", "urls": urls})
        if request.path == f"{folder}/resources-spec.json":
            return Answer(200, document({"n": INT32, "ref": {"properties": {"name": TEXT}}}))
        return ods.page(request) if request.path == f"/api/data/{RESULTS}" else None

    ods.script, ods.serves_metadata = script, True
    assert read(ods)["n"].dtype == pl.Int32
    # The descriptors that are not there are no mistake.
    assert own(ods).resources().height == 1


def test_json_that_is_no_metadata_is_none(ods: ScriptedOds) -> None:
    ods.script = lambda r: None if r.path.startswith("/data") else Answer(200, [{"id": "1"}])
    ods.serves_metadata = True
    assert read(ods)["n"].dtype == pl.Int64


def test_sections_in_the_order_of_need(ods: ScriptedOds) -> None:
    documents = Documents(
        ods,
        Descriptors=document({"codeValue": TEXT}, endpoint="ed-fi/sexDescriptors"),
        TPDM=document({"c": DATE}, endpoint="tpdm/candidates"),
        Homograph=document({"h": DATE}, endpoint="homograph/names"),
        Resources=document({"n": INT32}),
    )
    client = own(ods)
    assert client.schema("tpdm/candidates")["c"] == pl.Date
    assert [name for name, _ in documents.asked[1:]] == ["TPDM.json"]
    documents.asked.clear()
    assert client.schema("ed-fi/sexDescriptors")["codeValue"] == pl.String
    assert [name for name, _ in documents.asked[1:]] == ["Descriptors.json"]
    out = client.resources()
    assert out["endpoint"].to_list() == [
        RESULTS,
        "tpdm/candidates",
        "homograph/names",
        "ed-fi/sexDescriptors",
    ]
    assert out["kind"].to_list() == ["resource"] * 3 + ["descriptor"]
    assert out["namespace"].to_list() == ["ed-fi", "tpdm", "homograph", "ed-fi"]
    assert out["description"].unique().to_list() == ["Tests."]


def test_circles_and_references_that_lead_nowhere(ods: ScriptedOds) -> None:
    ref = "#/components/schemas/"
    schemas = {
        "node": {
            "properties": {
                "name": TEXT,
                "parent": {"$ref": ref + "node"},
                "children": {"type": "array", "items": {"$ref": ref + "node"}},
                "peer": {"$ref": ref + "peer"},
            }
        },
        "peer": {"allOf": [{"properties": {"n": INT32}}, {"$ref": ref + "node"}]},
        "self": {"$ref": ref + "self"},
        # As many ways as no reader could go.
        **{
            f"c{i}": {"properties": {f"c{j}": {"$ref": f"{ref}c{j}"} for j in range(18)}}
            for i in range(18)
        },
    }
    properties = {
        "node": {"$ref": ref + "node"},
        "self": {"$ref": ref + "self"},
        "lost": {"$ref": ref + "lost"},
        "outside": {"$ref": "other.json#/x"},
        "all": {"$ref": ref + "c0"},
        "true": True,
    }
    Documents(ods, Resources=document(properties, schemas=schemas))
    schema = own(ods).schema(RESULTS)
    assert dict(list(schema.items())[:3]) == {
        "id": pl.String,
        "node.name": pl.String,
        "node.peer.n": pl.Int32,
    }
    assert "self" not in schema
    assert "true" not in schema


def test_parameters_that_nobody_knows(make_ods: MakeOds) -> None:
    ods, other, bare = make_ods(), make_ods(), make_ods()
    filters = ["schoolId", "studentUniqueId", "assessmentIdentifier"]
    Documents(ods, Resources=document({"n": INT32}, filters=filters))
    Documents(other, Resources=document({"n": INT32}, filters=["scholId", *filters]))
    wrong = {"scholId": 1}
    calls: list[Callable[[], object]] = [
        lambda: read(ods, bare, params=wrong),
        lambda: read(ods, params=wrong, schema="infer"),
        lambda: read(ods, params=wrong, schema={"n": pl.Int8}),
        lambda: own(ods).get_all(key=1, params=wrong),
        lambda: own(ods).count(RESULTS, params=wrong),
    ]
    for call in calls:
        with pytest.raises(
            edfi.EdFiError, match=r'"scholId" is no .* name is "schoolId"$'
        ) as error:
            call()
        assert RESULTS in str(error.value)
    assert ods.paths() == bare.paths() == []

    out = read(ods, other, params=wrong, schema="infer")
    assert out["status"].to_list() == ["error", None, None, None]
    assert '"schoolId"' in out["message"][0]
    # What an ODS takes everywhere, and in any case.
    params = {"SCHOOLID": 1, "id": "x", "q": "y", "minChangeVersion": 1}
    assert read(ods, params=params, schema="infer").height == 3
    # Where there is no document, nobody knows better.
    assert read(bare, params=wrong).height == 3


def test_descriptors_of_documents_that_list_no_filters(ods: ScriptedOds) -> None:
    endpoint = "ed-fi/sexDescriptors"
    properties = {"codeValue": TEXT, "n": INT32, "ref": {"properties": {"name": TEXT}}}
    Documents(ods, Descriptors=document(properties, endpoint=endpoint))
    assert read(ods, endpoint=endpoint, params={"codeValue": "x"}).height == 3
    with pytest.raises(edfi.EdFiError, match='"codeValue"'):
        read(ods, endpoint=endpoint, params={"codeValu": "x"})


def test_no_metadata_below_a_data_url(ods: ScriptedOds) -> None:
    ods.serves_metadata = True
    ods.script = ods.page
    client = edfi.StudentAssessment(base_url=ods.url, api_version="", bearer_token="token")
    data = client.get_all(key=1, params={"anything": 1})["data"]
    assert data is not None
    assert data.height == 3
    assert [request.path for request in ods.requests] == [f"/{RESULTS}"]


def test_counting(make_ods: MakeOds) -> None:
    ods = make_ods(7)
    client = own(ods)
    assert client.count("/ed-fi/students/") == 7
    assert [request.query["limit"] for request in ods.paths()] == ["0"]
    ods.script = lambda r: Answer(400, {"detail": "limit"}) if r.query["limit"] == "0" else None
    assert client.count("ed-fi/students") == 7
    ods.script, ods.total_count = None, False
    with pytest.raises(edfi.HttpError, match="Total-Count"):
        client.count("ed-fi/students")
    ods.script = lambda _: Answer(403, {"detail": "No."})
    with pytest.raises(edfi.HttpError, match="HTTP 403 Forbidden: No"):
        client.count("ed-fi/students")
    ods.tokens.clear()
    ods.script = None
    with pytest.raises(edfi.AuthError, match="401"):
        client.count("ed-fi/students")
    before = len(ods.requests)
    for wrong in [{"limit": 5}, {"offset": 1}]:
        with pytest.raises(edfi.EdFiError, match="params"):
            client.count("ed-fi/students", params=wrong)
    with pytest.raises(edfi.EdFiError, match="endpoint"):
        client.count("../x")
    with pytest.raises(edfi.EdFiError, match="base_url"):
        edfi.EdFiClient(bearer_token="x").count("ed-fi/students")
    with pytest.raises(edfi.EdFiError, match="base_url"):
        edfi.EdFiClient().resources()
    assert len(ods.requests) == before


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("resources-ds-5.0.json", (143, 0, 0)),
        ("resources-ds-6.0.json", (187, 0, 0)),
        ("descriptor-api-5.0.json", (218, 218, 0)),
        ("swagger2-ods-5.3-resources-ds3.3-tpdm.json", (129, 0, 128)),
    ],
)
def test_real_documents(
    ods: ScriptedOds, data: Path, name: str, counts: tuple[int, int, int]
) -> None:
    body = (data / "openapi" / name).read_bytes()
    served = [Answer(200, body, {"etag": '"1"'}), Answer(304)]

    def script(request: Request) -> Answer | None:
        if request.path != "/metadata/":
            return None
        return served["if-none-match" in request.headers]

    ods.script, ods.serves_metadata = script, True
    client = own(ods)
    out = client.resources()
    found = (out.height, (out["kind"] == "descriptor").sum(), out["has_deletes"].sum())
    assert found == counts
    assert out["endpoint"].n_unique() == out.height
    assert out["description"].null_count() == 0
    assert out["key_fields"].list.len().min() == 1 + name.startswith("descriptor")
    leaves = {pl.String, pl.Boolean, pl.Int32, pl.Int64, pl.Float64, pl.Date, UTC_MICROS}
    for endpoint, keys in out.select("endpoint", "key_fields").iter_rows():
        schema = client.schema(endpoint)
        assert set(keys) <= set(schema), endpoint
        assert schema["id"] == schema["_etag"] == pl.String
        assert schema["_lastModifiedDate"] == UTC_MICROS
        assert all(dtype in leaves or dtype == pl.List for dtype in schema.values()), endpoint
    if name.startswith("descriptor"):
        return
    keys = dict(out.select("endpoint", "key_fields").iter_rows())
    assert keys["ed-fi/students"] == ["studentUniqueId"]
    assert keys[RESULTS] == [
        "studentAssessmentIdentifier",
        "assessmentReference.assessmentIdentifier",
        "assessmentReference.namespace",
        "studentReference.studentUniqueId",
    ]
    schema = client.schema(RESULTS)
    assert schema["schoolYearTypeReference.schoolYear"] == pl.Int32
    assert schema["administrationDate"] == UTC_MICROS
    assert schema["studentReference.link.href"] == pl.String
    assert client.schema("ed-fi/students")["birthDate"] == pl.Date
    if "6.0" not in name:
        assert client.schema("tpdm/candidates")["candidateIdentifier"] == pl.String
        extended = [name for name in client.schema("ed-fi/credentials") if name[:5] == "_ext."]
        assert len(extended) > 5
    assert all("if-none-match" in request.headers for request in ods.paths("/metadata")[1:])


@pytest.mark.parametrize("section", ["resources", "descriptors"])
def test_the_sandbox_in_the_older_format_is_the_same(ods: ScriptedOds, section: str) -> None:
    with edfi.Sandbox(["1"], 1) as sandbox:
        url = sandbox.districts()["targetUrl"][0]
        with urlopen(f"{url}/metadata/data/v3/{section}/swagger.json?version=2") as answer:
            older = json.load(answer)
        assert older["swagger"] == "2.0"
        assert "components" not in json.dumps(older)
        ods.serves_metadata = True
        ods.script = lambda r: Answer(200, older) if r.path == "/metadata/" else None
        new = edfi.EdFiClient(base_url=url)
        resources = own(ods).resources()
        endpoints = resources["endpoint"].to_list()
        assert_frame_equal(resources, new.resources().filter(pl.col("endpoint").is_in(endpoints)))
        for endpoint in endpoints:
            assert own(ods).schema(endpoint) == new.schema(endpoint)


def test_the_sandbox_is_as_its_document_says() -> None:
    with edfi.Sandbox(["1"], 60) as ods:
        url, key, secret = ods.districts().row(0)[1:]
        client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        resources = client.resources()
        assert {"resource", "descriptor"} == set(resources["kind"])
        assert resources["has_deletes"].all()
        for endpoint in resources["endpoint"]:
            for links in [True, False]:
                # A warning would be an error: nothing may stand in _unknown.
                data = client.get_all(key=1, endpoint=endpoint, schema="openapi", links=links)
                assert data["status"] is None
                frame = data["data"]
                assert frame is not None
                schema = client.schema(endpoint, links=links)
                assert frame.schema == pl.Schema({**schema, "_unknown": pl.String})
                assert frame["_unknown"].null_count() == frame.height == client.count(endpoint)
        assert frame.height > 0
        student = client.get_all(key=1, endpoint="ed-fi/students")["data"]
        assert student is not None
        found = client.count("ed-fi/students", params={"studentUniqueId": student[0, 1]})
        assert found == 1
