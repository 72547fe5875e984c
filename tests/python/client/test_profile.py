"""A profile's media types: on what is read and written, and on nothing else."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district, rows

import polars_edfi as edfi

JSON = "application/json"
STUDENT = "application/vnd.ed-fi.student.grades-only"


@pytest.fixture
def runner() -> edfi.Resource:
    return edfi.Resource(
        "ed-fi/students", api_version="v3", max_retries=0, timeout=10, profile="Grades-Only"
    )


def test_media_types(ods: ScriptedOds, runner: edfi.Resource) -> None:
    assert runner.batch_get_all(district(ods), key_col="District BK")["status"][0] is None
    df = rows(ods, pl.Series("payload", ['{"a": 1}']), id="x")
    runner.batch_get_by_id(df, id_col="id")
    names: dict[str, Any] = {"payload_col": "payload", "key_col": "key", "commit": True}
    runner.batch_post_payload(df, **names)
    runner.batch_put_payload(df, id_col="id", **names)
    runner.batch_delete_by_id(df, id_col="id", key_col="key", commit=True)
    for request in ods.paths("/data"):
        accept, content = request.headers.get("accept"), request.headers.get("content-type")
        match request.method:
            case "GET":
                assert accept == f"{STUDENT}.readable+json"
            case "POST" | "PUT":
                assert content == f"{STUDENT}.writable+json"
            case "DELETE":
                assert accept in {None, "*/*", JSON}
    assert {request.method for request in ods.paths("/data")} == {"GET", "POST", "PUT", "DELETE"}


def test_changes_are_plain_json(ods: ScriptedOds) -> None:
    client = edfi.EdFiClient(
        base_url=ods.url, bearer_token="token", api_version="v3", profile="Grades-Only"
    )
    ods.records = []
    client.deletes("ed-fi/students")
    client.key_changes("ed-fi/students")
    paths = ods.paths("/data")
    assert {request.path.rpartition("/")[2] for request in paths} == {"deletes", "keyChanges"}
    assert {request.headers["accept"] for request in paths} == {JSON}


@pytest.mark.parametrize("status", [405, 406, 415])
def test_refused_media_types_are_told_with_their_profile(
    ods: ScriptedOds, runner: edfi.Resource, status: int
) -> None:
    def refuse(request: Request) -> Answer | None:
        detail = {"detail": "The media type is not supported."}
        return Answer(status, detail) if request.path.startswith("/data") else None

    ods.script = refuse
    out = runner.batch_get_all(district(ods), key_col="District BK", schema="infer")
    assert "The media type is not supported." in out["message"][0]
    assert 'profile="Grades-Only"' in out["message"][0]
    df = rows(ods, pl.Series("payload", ['{"a": 1}']))
    out = runner.batch_post_payload(df, payload_col="payload", key_col="key", commit=True)
    assert (out["status"][0], out["http_status"][0]) == ("error", status)
    assert "Data Management Service" in out["message"][0]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a;q=1"])
def test_names_that_no_media_type_can_hold(name: str) -> None:
    with pytest.raises(edfi.EdFiError, match="profile"):
        edfi.EdFiClient(profile=name)
