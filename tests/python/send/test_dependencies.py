"""The order of resources, as an ODS tells it."""

import json
from pathlib import Path

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

ENTRIES = [
    {"resource": "/ed-fi/students", "order": 9, "operations": ["Update"]},
    {"resource": "/ed-fi/schools", "order": 3, "operations": ["Create", "Update"]},
    {"resource": "/ed-fi/calendars", "order": 3, "operations": ["Create", "Update"]},
    {"resource": "/ed-fi/students", "order": 2, "operations": ["Create"]},
]


def serve(ods: ScriptedOds, place: str, body: object, *, said: str | None = None) -> None:
    """Serve a document at a place, and say in the discovery document where it is."""
    urls = {"dataManagementApi": "https://elsewhere.example.org/data/v3/"}
    if said is not None:
        urls["dependencies"] = f"https://elsewhere.example.org{said}"

    def script(request: Request) -> Answer | None:
        if request.path == "/":
            return Answer(200, {"version": "7.3", "urls": urls})
        if request.path == place:
            return Answer(200, body)  # type: ignore[arg-type]
        return Answer(404) if request.path.startswith("/metadata") else None

    ods.script, ods.serves_metadata = script, True


def test_it_is_sorted_by_us(ods: ScriptedOds) -> None:
    serve(ods, "/metadata/data/v3/dependencies", ENTRIES)
    found = edfi.EdFiClient(base_url=ods.url).dependencies()
    assert found.schema == {
        "endpoint": pl.String,
        "order": pl.Int32,
        "operations": pl.List(pl.String),
    }
    assert found.rows() == [
        ("ed-fi/students", 2, ["Create"]),
        ("ed-fi/calendars", 3, ["Create", "Update"]),
        ("ed-fi/schools", 3, ["Create", "Update"]),
        ("ed-fi/students", 9, ["Update"]),
    ]
    [request] = ods.paths("/metadata")
    assert request.token is None
    assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/a/metadata/2025/dependencies", "/a/metadata/2025/dependencies"),
        ("/metadata/data/v3/dependencies", None),
        ("/metadata/dependencies", None),
        # What is said may be wrong.
        ("/metadata/data/v3/dependencies", "/nowhere"),
        ("/metadata/data/v3/dependencies", "/{tenantIdentifier}/metadata/data/v3/dependencies"),
    ],
)
def test_it_is_where_discovery_says_or_in_the_usual_places(
    ods: ScriptedOds, place: str, said: str | None
) -> None:
    serve(ods, place, ENTRIES, said=said)
    assert edfi.EdFiClient(base_url=ods.url).dependencies().height == 4


def test_a_year_stands_in_the_data_url(ods: ScriptedOds) -> None:
    serve(ods, "/metadata/data/v3/2025/dependencies", ENTRIES)
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3/2025")
    assert client.dependencies().height == 4
    below = edfi.EdFiClient(base_url=f"{ods.url}/data/v3/2025", api_version="")
    assert below.dependencies().height == 4


def test_what_is_switched_off_is_said(ods: ScriptedOds) -> None:
    serve(ods, "/nowhere", ENTRIES)
    with pytest.raises(edfi.HttpError, match=r"404.*switched off"):
        edfi.EdFiClient(base_url=ods.url).dependencies()
    with pytest.raises(edfi.EdFiError, match="no base_url"):
        edfi.EdFiClient().dependencies()


@pytest.mark.parametrize("body", ["<html>", {"a": 1}, [{"resource": "/a/b"}], [1]])
def test_something_else_is_an_error(ods: ScriptedOds, body: object) -> None:
    serve(ods, "/metadata/data/v3/dependencies", body)
    with pytest.raises(edfi.HttpError, match=r"^dependencies: HTTP 200 OK: "):
        edfi.EdFiClient(base_url=ods.url).dependencies()


def test_metadata_for_few_is_asked_for_with_a_token(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer | None:
        if request.path == "/metadata/data/v3/dependencies":
            return Answer(200, ENTRIES) if request.token == "token" else Answer(401)
        return None

    ods.script, ods.serves_metadata = script, True
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    assert client.dependencies().height == 4
    nobody = edfi.EdFiClient(base_url=ods.url, api_version="v3")
    with pytest.raises(edfi.AuthError, match="401"):
        nobody.dependencies()


def test_real_documents(ods: ScriptedOds, data: Path) -> None:
    for name in ["ods7-ds5.2.0", "ods7-ds6.0.0"]:
        body = json.loads((data / "metadata" / f"{name}-dependencies.json").read_text())
        serve(ods, "/metadata/data/v3/dependencies", body)
        found = edfi.EdFiClient(base_url=ods.url).dependencies()
        assert found.height == len(body)
        assert found["order"].is_sorted()
        people = found.filter(pl.col("endpoint").is_in(["ed-fi/students", "ed-fi/staffs"]))
        assert people.height == 4
