"""Whose metadata it is: another server at the same address, and documents where no list says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds
from test_metadata import DATE, INT32, INT64, RESULTS, TEXT, Documents, document, own, read

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeOds = Callable[..., ScriptedOds]

RECORD = {"id": "1", "n": 1}
REF = {"ref": {"properties": {"name": TEXT}}}


@pytest.fixture
def in_turn() -> Iterator[Callable[[], ScriptedOds]]:
    """Servers at one address, one after another."""
    servers: list[ScriptedOds] = []

    def start() -> ScriptedOds:
        port = 0
        if servers:
            servers[-1].stop()
            port = int(servers[-1].url.rpartition(":")[2])
        servers.append(ScriptedOds(port))
        servers[-1].records = [RECORD]
        return servers[-1]

    yield start
    servers[-1].stop()


def dtype(ods: ScriptedOds, schema: str = "auto") -> pl.DataType:
    return read(ods, schema=schema)["n"].dtype


@pytest.mark.parametrize("etags", [True, False])
def test_another_server_at_the_same_address(
    in_turn: Callable[[], ScriptedOds], *, etags: bool
) -> None:
    first = Documents(in_turn(), Resources=document({"n": INT32}))
    first.etags = etags
    assert dtype(first.ods) == pl.Int32

    bare = in_turn()
    assert dtype(bare) == pl.Int64
    out = read(bare, schema="openapi")
    assert "serves no OpenAPI metadata" in out["message"][0]
    with pytest.raises(edfi.HttpError, match="no OpenAPI metadata"):
        own(bare).schema(RESULTS)

    other = Documents(in_turn(), Resources=document({"n": DATE}))
    other.etags = etags
    with pytest.warns(UserWarning, match=r"1 record .*\(n\)"):
        assert dtype(other.ods) == pl.Date
    # In another place, and said by another list.
    moved = Documents(in_turn(), Moved=document({"n": INT64}))
    moved.etags = etags
    assert dtype(moved.ods, "openapi") == pl.Int64

    of_others = Documents(in_turn(), Moved=document({"n": INT32}, endpoint="ed-fi/others"))
    of_others.etags = etags
    out = read(of_others.ods, schema="openapi")
    assert "does not describe ed-fi/studentAssessments" in out["message"][0]


@pytest.mark.parametrize("answer", [Answer(500), Answer(200, "<html>"), Answer(403)], ids=str)
def test_what_stands_where_another_server_had_its_document(
    in_turn: Callable[[], ScriptedOds], answer: Answer
) -> None:
    assert dtype(Documents(in_turn(), Resources=document({"n": INT32})).ods) == pl.Int32
    moved = Documents(in_turn(), Moved=document({"n": INT64}))
    old = ("/metadata/2025", "/metadata/Resources.json")

    def script(request: Request) -> Answer | None:
        if request.path == "/":
            return Answer(200, {"urls": {"openApiMetadata": f"{moved.ods.url}/metadata/new"}})
        if request.path == "/metadata/new":
            return Answer(200, [{"name": "Moved", "endpointUri": "/metadata/Moved.json?a=b"}])
        return answer if request.path in old else moved.answer(request)

    moved.ods.script = script
    assert dtype(moved.ods, "openapi") == pl.Int64


def test_a_client_asks_once_whether_it_is_still_the_same(ods: ScriptedOds) -> None:
    ods.records = [RECORD]
    documents = Documents(ods, Resources=document({"n": INT32}))
    client = own(ods)

    def asked() -> list[tuple[str, int]]:
        data = client.get_all(key=1)["data"]
        assert data is not None
        assert data["n"].dtype == pl.Int32
        said, documents.asked = documents.asked, []
        return said

    assert asked() == [("2025", 200), ("Resources.json", 200)]
    assert asked() == []
    # Another client wants to know as well; the list says nothing that it needs.
    client = own(ods)
    assert asked() == [("Resources.json", 304)]
    assert asked() == []
    assert client.resources().height == 1
    assert documents.asked == [("2025", 304), ("Resources.json", 304)]


@pytest.fixture
def like_others(make_ods: MakeOds) -> Callable[..., Documents]:
    def make(properties: dict[str, Any], **sections: Any) -> Documents:
        sections = sections or {"Resources": document(properties | REF)}
        documents = Documents(make_ods([RECORD]), **sections)
        documents.elsewhere = documents.ods.url
        return documents

    return make


def test_districts_like_two_others_need_no_list(like_others: Callable[..., Documents]) -> None:
    alike = [like_others({"n": INT32}) for _ in range(5)]
    out = read(*[one.ods for one in alike], workers=1)
    assert out["n"].to_list() == [1] * 5
    assert out["n"].dtype == pl.Int32
    listed, unlisted = [("2025", 200), ("Resources.json", 200)], [("Resources.json", 200)]
    # The third may be asked before the second has answered.
    first, second, third, *others = [one.asked for one in alike]
    assert [first, second] == [listed] * 2
    assert third in (listed, unlisted)
    assert others == [unlisted] * 2
    # What that document does not describe takes the list.
    last = alike[-1]
    last.documents["Descriptors"] = document({"codeValue": TEXT}, endpoint="ed-fi/xDescriptors")
    assert own(last.ods).schema("ed-fi/xDescriptors")["codeValue"] == pl.String
    assert last.asked[1:] == [("2025", 200), ("Descriptors.json", 200)]


def test_each_district_has_its_own_document(like_others: Callable[..., Documents]) -> None:
    alike = [like_others({"n": INT32}) for _ in range(2)]
    larger = like_others({"n": INT64})
    elsewhere = like_others({}, Others=document({"n": INT32, "new": DATE} | REF))
    after = like_others({"n": INT32})
    bare = like_others({"n": INT32})
    bare.ods.serves_metadata = False
    every = [*alike, larger, elsewhere, after, bare]
    out = read(*[one.ods for one in every], workers=1, schema="openapi")
    assert "serves no OpenAPI metadata" in out["message"][-1]
    assert out["status"].to_list() == [None] * 5 + ["error"]
    assert out.schema["n"] == pl.Int64
    assert out.schema["new"] == pl.Date
    # The third was asked for its own document; the fourth had none there, and nobody guessed again.
    assert larger.asked == [("Resources.json", 200)]
    assert elsewhere.ods.paths("/metadata/Resources.json")
    assert elsewhere.asked == [("2025", 200), ("Others.json", 200)]
    assert after.asked == [("2025", 200), ("Resources.json", 200)]


@pytest.mark.parametrize("own_place", ["/2025", "/2026", "/2027"])
def test_years_of_one_host_are_not_taken_for_each_other(ods: ScriptedOds, own_place: str) -> None:
    """Each year has its document below its own base URL, and every other year's as well."""
    asked = []
    dtypes = {"2025": INT32, "2026": INT64, "2027": DATE}

    def script(request: Request) -> Answer | None:
        base, _, rest = request.path[1:].partition("/metadata/")
        if base in dtypes and rest == "":
            entry = {"name": "Resources", "endpointUri": f"/{base}/metadata/{base}.json"}
            return Answer(200, [entry])
        if base in dtypes and rest:
            asked.append((base, rest))
            return Answer(200, document({"n": dtypes[rest[:4]]} | REF))
        return Answer(200, [] if request.query.get("offset", "0") != "0" else "[]")

    ods.script, ods.serves_metadata = script, True
    years = [own_place, *(f"/{year}" for year in dtypes if year != own_place[1:])]
    urls = [f"{ods.url}{year}" for year in years]
    df = pl.DataFrame({"k": years, "targetUrl": urls, "EdFi Token": "token"})
    client = edfi.EdFiClient(api_version="v3", max_retries=0)
    client.batch_get_all(df, key_col="k", endpoint=RESULTS, schema="openapi", workers=1)
    assert sorted(asked) == [(year, f"{year}.json") for year in dtypes]


def test_documents_that_differ_where_the_ods_is_are_one(make_ods: MakeOds) -> None:
    """Their addresses, titles and ways to log in are not what records are made of."""
    for old in (False, True):
        servers = [make_ods([RECORD]) for _ in range(2)]
        for ods in servers:
            body = document({"n": INT32} | REF)
            if old:
                body |= {"host": ods.url.partition("://")[2], "basePath": "/data/v3"}
            else:
                body["servers"] = [{"url": f"{ods.url}/data/v3"}]
                body["components"]["securitySchemes"] = {"oauth": {"tokenUrl": ods.url}}
            text = "\ufeff" + json.dumps(body)
            ods.serves_metadata = True
            ods.script = lambda r, text=text: (  # type: ignore[misc]
                Answer(200, text.encode()) if r.path == "/metadata/" else None
            )
        out = read(*servers, schema="openapi")
        assert out["n"].dtype == pl.Int32
        # Where the data is, each says for itself.
        assert all(not ods.paths("/data/v3/")[1:] for ods in servers)
