"""How a client shows itself, what an exception carries, which resource a call without one means."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "http://127.0.0.1:1/api"
STUDENTS = "ed-fi/students"
IDS = pl.DataFrame({"id": ["a"], "payload": ['{"a": 1}']})


def test_repr_is_pythons() -> None:
    secret = "hush-hush"
    client = edfi.EdFiClient(base_url=f"{URL}/", client_id="key", client_secret=secret)
    assert repr(client) == f"EdFiClient(base_url='{URL}', auth='client credentials')"
    bearer = edfi.Resource(STUDENTS, base_url=URL, api_version="v3", bearer_token=secret)
    shown = f"base_url='{URL}', api_version='v3', auth='bearer token'"
    assert repr(bearer) == f"Resource('ed-fi/students', {shown})"
    assert repr(edfi.StudentAssessment()) == "StudentAssessment(auth='none')"


def test_changes_are_one_line() -> None:
    empty = pl.DataFrame()
    changes = edfi.Changes(pl.DataFrame({"id": ["a", "b"]}), empty, empty, 12)
    assert repr(changes) == "Changes(records=2, deletes=0, key_changes=0, next_version=12)"


def client_of(ods: ScriptedOds) -> edfi.EdFiClient:
    return edfi.EdFiClient(
        base_url=ods.url, api_version="v3", bearer_token="token", max_retries=0, timeout=10
    )


def test_exceptions_carry_what_the_server_said(ods: ScriptedOds) -> None:
    def refuse(request: Request) -> Answer:
        code = 401 if request.path.endswith("students") else 403
        return Answer(code, {"detail": "No.", "correlationId": "c-1"})

    ods.script = refuse
    with pytest.raises(edfi.HttpError) as caught:
        client_of(ods).count("ed-fi/schools")
    assert (caught.value.http_status, caught.value.correlation_id) == (403, "c-1")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.http_status) == (str(caught.value), 403)
    with pytest.raises(edfi.AuthError) as refused:
        client_of(ods).count(STUDENTS)
    assert refused.value.http_status == 401
    scan = edfi.scan("ed-fi/schools", client=client_of(ods), schema={"id": pl.String})
    with pytest.raises(edfi.HttpError, match="403") as scanned:
        scan.collect()
    assert (scanned.value.http_status, scanned.value.correlation_id) == (403, "c-1")
    ods.stop()
    with pytest.raises(edfi.HttpError) as silent:
        client_of(ods).count("ed-fi/schools")
    assert silent.value.http_status is None
    with pytest.raises(edfi.EdFiError) as wrong:
        edfi.EdFiClient(timeout=0)
    assert (wrong.value.http_status, wrong.value.correlation_id) == (None, None)


@pytest.mark.parametrize(
    "call",
    [
        lambda c, _: c.get_all(key=1),
        lambda c, _: c.post_payload({}, key=1),
        lambda c, _: c.delete_by_id("a", key=1),
        lambda c, _: c.get_by_id("a"),
        lambda c, df: c.batch_get_all(df, key_col="District BK"),
        lambda c, _: c.batch_post_payload(IDS, payload_col="payload", key_col="id"),
        lambda c, _: c.batch_get_by_id(IDS, id_col="id"),
        lambda c, _: c.batch_delete_by_id(IDS, id_col="id", key_col="id"),
        lambda c, _: IDS.lazy().edfi.sink_delete_by_id(client=c, id_col="id", key_col="id"),
    ],
)
def test_a_plain_client_has_no_endpoint(
    ods: ScriptedOds, call: Callable[[edfi.EdFiClient, pl.DataFrame], Any]
) -> None:
    with pytest.raises(edfi.EdFiError, match=r'endpoint="ed-fi/students"'):
        call(client_of(ods), district(ods))
    assert not ods.requests


def test_runners_and_expressions_have_one(ods: ScriptedOds) -> None:
    auth: dict[str, Any] = {"base_url": ods.url, "api_version": "v3", "bearer_token": "token"}
    assert edfi.StudentAssessment(**auth).get_all(key=1)["status"] is None
    assert edfi.Resource(STUDENTS, **auth).get_all(key=1)["status"] is None
    IDS.select(edfi.get_by_id("id", client=edfi.EdFiClient(**auth)))
    paths = [request.path.removeprefix("/data/v3/") for request in ods.paths()]
    assert paths == [edfi.endpoints.STUDENT_ASSESSMENTS, STUDENTS, "ed-fi/studentAssessments/a"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[pl.DataFrame]:
    with edfi.Sandbox(districts=["255901"], records=20) as ods:
        yield ods.districts()


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.get_all(key=1, endpoint="ed-fi/studnets")["message"],
        lambda c: c.get_all(key=1, endpoint="ed-fi/studnets", schema="openapi")["message"],
        lambda c: c.get_by_id("a", endpoint="ed-fi/studnets")["message"],
        lambda c: c.post_payload({}, key=1, endpoint="tpdm/students", commit=True)["message"],
        lambda c: c.delete_by_id("a", key=1, endpoint="ed-fi/student", commit=True)["message"],
        lambda c: c.batch_post_payload(
            IDS, payload_col="payload", key_col="id", endpoint="ed-fi/studnets", commit=True
        )["message"].item(),
        lambda c: c.batch_get_by_id(IDS, id_col="id", endpoint="students")["message"].item(),
        lambda c: c.schema("ed-fi/studnets"),
        lambda c: c.count("ed-fi/studnets"),
        lambda c: c.deletes("ed-fi/studnets"),
        lambda c: c.changes("ed-fi/studnets"),
        lambda c: edfi.scan("ed-fi/studnets", client=c).collect(),
    ],
)
def test_an_unknown_resource_names_the_nearest(
    sandbox: pl.DataFrame, call: Callable[[edfi.EdFiClient], object]
) -> None:
    _, url, key, secret = sandbox.row(0)
    client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    client.resources()
    try:
        text = str(call(client))
    except (edfi.EdFiError, pl.exceptions.ComputeError) as error:
        text = str(error)
    assert "did you mean ed-fi/students?" in text


@pytest.mark.parametrize("name", ["count", "deletes", "key_changes"])
def test_a_fresh_client_names_it_as_well(name: str) -> None:
    with edfi.Sandbox(districts=["1"], records=1) as ods:
        _, url, key, secret = ods.districts().row(0)
        client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        with pytest.raises(edfi.HttpError, match=r"did you mean ed-fi/students\?"):
            getattr(client, name)("ed-fi/studnets")


def test_a_missing_item_of_a_known_resource_names_no_other(sandbox: pl.DataFrame) -> None:
    _, url, key, secret = sandbox.row(0)
    client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    client.resources()
    message = client.get_by_id("schools", endpoint=STUDENTS)["message"]
    assert message is not None
    assert message.startswith("HTTP 404")
    assert "did you mean" not in message


def test_row_index_is_what_polars_counts_by(ods: ScriptedOds) -> None:
    runner = edfi.Resource(STUDENTS, base_url=ods.url)
    for out in (
        runner.batch_post_payload(IDS, payload_col="payload", key_col="id"),
        runner.batch_delete_by_id(IDS, id_col="id", key_col="id"),
        IDS.lazy().edfi.sink_delete_by_id(client=runner, id_col="id", key_col="id"),  # type: ignore[attr-defined]
    ):
        assert out.schema["row_index"] == pl.get_index_type()
        joined = IDS.with_row_index("row_index").join(out, on="row_index")
        assert joined.height == IDS.height


@pytest.mark.parametrize("end", ["/data/v3", "/data/v3/", "/api/data/V5"])
def test_a_data_url_is_refused(end: str) -> None:
    root = end.rpartition("/data")[0]
    with pytest.raises(edfi.EdFiError, match=f"https://ods.example.org{root}, without /data/"):
        edfi.EdFiClient(base_url=f"https://ods.example.org{end}")
    edfi.EdFiClient(base_url=f"https://ods.example.org{end}", api_version="")
