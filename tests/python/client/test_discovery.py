"""Where an ODS is: what is learnt from its discovery document, and from accidents."""

import json
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

RESULTS = "ed-fi/studentAssessments"


def discovering(ods: ScriptedOds, **settings: Any) -> edfi.StudentAssessment:
    few: dict[str, Any] = {"base_url": ods.url, "bearer_token": "token", "max_retries": 1}
    return edfi.StudentAssessment(**(few | settings))


def document(path: str) -> dict[str, object]:
    return {"version": "8.0", "urls": {"dataManagementApi": f"https://elsewhere.example{path}"}}


@pytest.mark.parametrize("accident", [Answer(200, "<html>"), Answer(404), Answer(200, "[]")])
def test_accidents_are_not_remembered(ods: ScriptedOds, accident: Answer) -> None:
    answers = [accident]

    def v8(request: Request) -> Answer | None:
        if request.path == "/":
            return answers.pop() if answers else Answer(200, document("/data"))
        if request.path == f"/data/{RESULTS}/a":
            return Answer(200, {"id": "a"})
        return Answer(404)

    ods.script, ods.serves_metadata = v8, True
    runner = discovering(ods)
    assert runner.get_by_id("a")["http_status"] == 404
    assert [runner.get_by_id("a")["data"] for _ in range(3)] == [{"id": "a"}] * 3
    assert [request.path for request in ods.requests].count("/") == 2


def test_one_failure_serves_all_that_wait(ods: ScriptedOds) -> None:
    ods.script, ods.serves_metadata = lambda _: Answer(503), True
    ods.one_at_a_time = False
    runner = discovering(ods)
    df = pl.DataFrame({"id": [str(n) for n in range(24)]})
    out = runner.batch_get_by_id(df, id_col="id", workers=8)
    assert out["message"].unique().to_list() == ["discovery: HTTP 503 Service Unavailable"]
    assert out["http_status"].null_count() == 24
    assert [request.path for request in ods.requests] == ["/", "/"]


def test_a_base_url_without_its_tenant_is_told_what_it_lacks(ods: ScriptedOds) -> None:
    url = document("/api/{tenantIdentifier}/{schoolYearFromRoute}/data/v3/")
    ods.script = lambda request: Answer(200, url) if request.path == "/" else Answer(404)
    ods.serves_metadata = True
    out = discovering(ods).get_by_id("a")
    assert out["message"] == (
        "discovery: the base URL lacks {tenantIdentifier} and {schoolYearFromRoute}; one that "
        f"would do is {ods.url}/api/tenantIdentifier/schoolYearFromRoute, with the ODS's own "
        "values in place of these names"
    )
    assert out["http_status"] is None
    read = discovering(ods, api_version="v3").get_all(key="x")
    assert "the base URL lacks {tenantIdentifier}" in str(read["message"])


def test_a_base_url_whose_version_is_given_is_told_what_it_lacks(ods: ScriptedOds) -> None:
    url = document("/{tenantIdentifier}/data/v3/")
    ods.script = lambda request: Answer(200, url) if request.path == "/" else Answer(404)
    ods.serves_metadata = True
    runner = discovering(ods, api_version="v3")
    payloads = pl.DataFrame({"key": ["a", "b"], "payload": ["{}", "{}"]})
    out = runner.batch_post_payload(payloads, payload_col="payload", key_col="key", commit=True)
    for message in (*out["message"], runner.get_all(key="a", schema="infer")["message"]):
        assert str(message).startswith("HTTP 404 Not Found; the base URL lacks {tenantIdentifier};")
    assert out["http_status"].to_list() == [404, 404]


def test_a_failure_on_the_way_is_no_answer_of_the_item(ods: ScriptedOds) -> None:
    ods.script = lambda request: Answer(404) if request.path == "/oauth/token" else None
    runner = edfi.StudentAssessment(
        base_url=ods.url, api_version="v3", client_id="key", client_secret="secret"
    )
    for out in (
        runner.get_by_id("a"),
        runner.delete_by_id("a", key="k", commit=True),
        runner.post_payload("{}", key="k", commit=True),
    ):
        assert out["message"] == "token endpoint: HTTP 404 Not Found"
        assert out["http_status"] is None
    ods.script = None
    ods.secret = "key:another"
    refused = edfi.StudentAssessment(
        base_url=ods.url, api_version="v3", client_id="key", client_secret="wrong"
    ).get_by_id("a")
    assert refused["message"] == "auth error: HTTP 401: invalid_client"
    assert refused["http_status"] == 401


def test_a_section_that_is_missing_is_asked_for_again(ods: ScriptedOds) -> None:
    integer = {"type": "integer", "format": "int32"}
    record = {"type": "object", "properties": {"n": integer}}
    ods.records = [{"id": "a", "n": 1}]
    content = {"application/json": {"schema": {"type": "array", "items": record}}}
    responses = {"200": {"description": "x", "content": content}}
    document = {"openapi": "3.0.1", "paths": {f"/{RESULTS}": {"get": {"responses": responses}}}}
    sections = [{"name": "Resources", "endpointUri": f"{ods.url}/metadata/resources"}]
    answers = [Answer(404)]

    def script(request: Request) -> Answer | None:
        match request.path:
            case "/metadata/":
                return Answer(200, sections)
            case "/metadata/resources":
                return answers.pop() if answers else Answer(200, document)
        return Answer(404) if request.path == "/" else None

    ods.script, ods.serves_metadata = script, True
    dtypes = []
    for _ in range(2):
        read = discovering(ods, api_version="v3").get_all(key="x")
        assert read["data"] is not None
        dtypes.append(read["data"]["n"].dtype)
    assert dtypes == [pl.Int64, pl.Int32]


@pytest.mark.parametrize("status", [401, 403])
def test_metadata_that_is_secluded_is_asked_with_the_token(ods: ScriptedOds, status: int) -> None:
    def script(request: Request) -> Answer | None:
        if request.path.startswith("/metadata"):
            return Answer(200, {"paths": {}}) if request.token == "token" else Answer(status)
        return None

    ods.script, ods.serves_metadata = script, True
    assert discovering(ods, api_version="v3").resources().height == 0


def test_metadata_that_fails_is_named(ods: ScriptedOds) -> None:
    ods.script, ods.serves_metadata = (
        lambda request: Answer(503) if request.path.startswith("/metadata") else None,
        True,
    )
    out = discovering(ods, api_version="v3").get_all(key="x")
    assert str(out["message"]).startswith("metadata: HTTP 503 Service Unavailable")
    assert out["http_status"] is None


def test_a_mark_of_the_byte_order_is_no_part_of_an_answer(ods: ScriptedOds) -> None:
    def v8(request: Request) -> Answer | None:
        answers: dict[str, object] = {
            "/": document("/data"),
            "/oauth/token": {"access_token": "token", "expires_in": 1800},
            f"/data/{RESULTS}/a": {"id": "a"},
            f"/data/{RESULTS}": [{"id": "a"}],
        }
        if request.method == "POST" and request.path.startswith("/data"):
            return Answer(200, b"\xef\xbb\xbf{}")
        if request.path not in answers:
            return Answer(404, b"\xef\xbb\xbf" + json.dumps({"detail": "None."}).encode())
        return Answer(200, b"\xef\xbb\xbf" + json.dumps(answers[request.path]).encode())

    ods.script, ods.serves_metadata = v8, True
    for version in ["8.0", "8", None]:
        runner = edfi.StudentAssessment(
            base_url=ods.url, client_id="k", client_secret="s", api_version=version
        )
        assert runner.get_by_id("a")["data"] == {"id": "a"}
    assert runner.get_by_id("b")["message"] == "HTTP 404 Not Found: None."
    assert runner.post_payload("{}", key="k", commit=True)["status"] is None
    data = runner.get_all(key="k", schema="infer")["data"]
    assert data is not None
    assert data["id"].to_list() == ["a"]
