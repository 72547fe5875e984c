"""What a journal does not know for sure: rows in doubt, and items that it cannot tell apart."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, rows
from send.support import LEVELS, SCHOOLS, STUDENTS, serve, strict

import polars_edfi as edfi

if TYPE_CHECKING:
    from pathlib import Path

A, B = '{"n": "a"}', '{"n": "b"}'


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.edfi"


def post(
    ods: ScriptedOds, runner: edfi.EdFiClient, journal: Path | str, *payloads: str, **options: Any
) -> pl.DataFrame:
    df = rows(ods, pl.Series("payload", payloads, dtype=pl.String))
    given: dict[str, Any] = {"payload_col": "payload", "key_col": "key"} | options
    return runner.batch_post_payload(df, commit=True, journal=journal, **given)


def posted(ods: ScriptedOds) -> list[tuple[str, str]]:
    """Take the writes that the server has seen since."""
    seen = [(one.path, one.body.decode()) for one in ods.requests if one.method != "GET"]
    ods.requests.clear()
    return sorted(seen)


def test_another_school_year_is_another_ods(
    ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path
) -> None:
    ods.script = lambda request: (
        Answer(201, headers={"location": "/x/i"}) if request.method == "POST" else None
    )
    years = ["v3/2025", "v3/2026", None, "v3"]
    df = pl.concat(
        rows(ods, pl.Series("payload", [A])).with_columns(year=pl.lit(year, pl.String))
        for year in years
    )
    given: dict[str, Any] = {
        "payload_col": "payload",
        "key_col": "key",
        "commit": True,
        "journal": journal,
    }
    paths = [f"/data/{year}/ed-fi/studentAssessments" for year in ("v3/2025", "v3/2026", "v3")]
    result = runner.batch_post_payload(df, api_version_col="year", **given)
    assert result["status"].null_count() == 4
    assert posted(ods) == sorted((path, A) for path in paths)
    again = runner.batch_post_payload(df, api_version_col="year", **given)
    assert again["attempts"].sum() == 0
    # The same said by the client.
    for year, attempts in (("v3/2026", 0), ("v3/2027", 1)):
        of_year = edfi.StudentAssessment(api_version=year)
        told = of_year.batch_post_payload(df.head(1), **given)
        assert told["attempts"].to_list() == [attempts]
    assert edfi.read_journal(journal).height == 4


def test_what_a_caller_calls_deleted_was_not_posted(
    ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path
) -> None:
    ods.script = lambda request: Answer(409) if request.method == "POST" else None
    allowed = {"allow_statuses": {409: "deleted"}}
    assert post(ods, runner, journal, A, **allowed)["status"].to_list() == ["deleted"]
    assert edfi.read_journal(journal)["state"].to_list() == ["failed"]
    assert post(ods, runner, journal, A, **allowed)["attempts"].to_list() == [1]


@pytest.mark.parametrize("lost", [Answer(close=True), Answer(504), Answer(500)])
def test_a_delete_that_is_sent_again_and_finds_nothing_has_been_done(
    ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path, lost: Answer
) -> None:
    resource_id = post(ods, runner, journal, A)["resource_id"].item()

    def delete(**options: Any) -> pl.DataFrame:
        df = rows(ods, pl.Series("id", [resource_id]))
        given: dict[str, Any] = {"id_col": "id", "key_col": "key", "journal": journal} | options
        return runner.batch_delete_by_id(df, commit=True, **given)

    def applied(request: Request) -> Answer | None:
        if request.method != "DELETE":
            return None
        ods.items.pop(resource_id, None)
        return lost

    ods.script = applied
    assert delete()["status"].to_list() == ["error"]
    # Another process, that goes on.
    ods.script = None
    again = delete(details=True)
    assert again.select("status", "message", "http_status", "problem").row(0) == (
        "deleted", None, 404, None,
    )  # fmt: skip
    assert edfi.read_journal(journal)["state"].to_list() == ["confirmed", "confirmed"]
    assert delete()["status"].to_list() == ["deleted"]
    # Nobody has tried this one before.
    assert delete(journal=journal.with_name("other"))["status"].to_list() == ["error"]


def test_a_stale_etag_of_a_row_in_doubt_may_be_its_own_doing(
    ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path
) -> None:
    df = rows(ods, pl.Series("payload", [A]), id="i", etag="7")
    answers = [Answer(close=True), Answer(close=True), Answer(412, {"detail": "Changed."})]
    ods.script = lambda request: answers.pop(0) if request.method == "PUT" else None

    def put() -> dict[str, Any]:
        return runner.batch_put_payload(
            df, payload_col="payload", id_col="id", key_col="key", etag_col="etag", commit=True,
            journal=journal,
        ).row(0, named=True)  # fmt: skip

    assert put()["http_status"] is None
    told = put()
    assert told["http_status"] == 412
    assert told["message"].endswith("Changed.; it may have been applied")


def test_a_refusal_after_a_lost_answer_does_not_say_that_the_item_is_as_it_was(
    ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path
) -> None:
    post(ods, runner, journal, A)
    answers = [Answer(close=True), Answer(400)]
    ods.script = lambda request: answers.pop(0) if request.body == B.encode() else None
    refused = post(ods, runner, journal, B, retry_broken=True)
    assert refused.select("http_status", "attempts").row(0) == (400, 2)
    # The ODS may have B: A is sent again.
    assert post(ods, runner, journal, A)["attempts"].to_list() == [1]


@pytest.mark.parametrize("status", [101, 206, 302, 304, 500, 503, 600, 999])
def test_a_server_that_failed_may_have_applied_it(
    ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path, status: int
) -> None:
    post(ods, runner, journal, A)
    ods.script = lambda request: Answer(status) if request.body == B.encode() else None
    told = post(ods, runner, journal, B)
    assert told["http_status"].to_list() == [status]
    if not 300 <= status < 600:
        assert told["message"].item().endswith("; it may have been applied")
    assert post(ods, runner, journal, A)["attempts"].to_list() == [1]


def test_payloads_whose_item_nobody_can_tell_are_not_left_out(
    ods: ScriptedOds, tmp_path: Path
) -> None:
    # An ODS takes names in any case; its document has them in one.
    one, two = ('{"StudentUniqueId": "1", "v": 1}', '{"StudentUniqueId": "1", "v": 2}')
    serve(ods, LEVELS, lambda _request: Answer(200), keys={STUDENTS: ("studentUniqueId",)})
    runner = edfi.Resource(STUDENTS, api_version="v3")
    for payload in (one, two, one):
        told = post(ods, runner, tmp_path / "j", payload)
        assert told.select("status", "attempts").row(0) == (None, 1)
        assert [body for _, body in posted(ods)] == [payload]
    same = rows(ods, pl.Series("payload", [two, two])).with_columns(key=pl.lit("x"))
    told = runner.batch_post_payload(
        same, payload_col="payload", key_col="key", commit=True, journal=tmp_path / "j"
    )
    assert told.select("status", "attempts").rows() == [(None, 1), (None, 0)]
    # Nor are those that nobody knows about sent again without leave.
    serve(ods, LEVELS, lambda _request: Answer(close=True), keys={STUDENTS: ("studentUniqueId",)})
    other = one.replace("1", "7")
    assert post(ods, runner, tmp_path / "j", other)["attempts"].to_list() == [1]
    again = post(ods, runner, tmp_path / "j", other)
    assert again["attempts"].to_list() == [0]
    assert "may have been applied" in again["message"][0]


@pytest.mark.parametrize("first", [None, "wrong"])
def test_a_row_with_a_wrong_token_does_not_cost_its_district(
    ods: ScriptedOds, journal: Path, first: str | None
) -> None:
    of_strict = strict()
    serve(ods, LEVELS, of_strict.post, keys={SCHOOLS: ("schoolId",)})
    script = ods.script
    assert script

    def secluded(request: Request) -> Answer | None:
        if request.token != "token":
            return Answer(401)
        if request.method == "GET" and request.path.startswith("/data"):
            number = int(request.query["schoolId"])
            return Answer(200, [{"id": f"id-{number}", "schoolId": number}])
        return script(request)

    ods.script = secluded
    payloads = [json.dumps({"schoolId": number}) for number in range(3)]
    df = rows(ods, pl.Series("payload", payloads)).with_columns(
        pl.Series("EdFi Token", [first, "token", "token"], pl.String)
    )
    message = "auth error: HTTP 401" if first else "missing 'EdFi Token'"
    client = edfi.EdFiClient(api_version="v3")
    for sent in (
        client.send({SCHOOLS: df}, commit=True),
        edfi.Resource(SCHOOLS, api_version="v3").batch_post_payload(
            df, payload_col="payload", key_col="key", commit=True, journal=journal
        ),
        client.batch_find_ids(df, payload_col="payload", endpoint=SCHOOLS),
    ):
        assert sent["status"].to_list() == ["error", None, None]
        assert sent["message"][0] == message


def test_a_pipe_is_no_journal(
    ods: ScriptedOds, runner: edfi.StudentAssessment, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(edfi.EdFiError, match="cannot be opened: is no regular file"):
            post(ods, runner, path, A)
    assert ods.requests == []
