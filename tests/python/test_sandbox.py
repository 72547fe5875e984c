"""The sandbox as Python has it: how it moves, what it does wrong, what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import polars_edfi as edfi
from polars_edfi.sandbox import main

if TYPE_CHECKING:
    from collections.abc import Callable

DISTRICT = "255901"
STUDENTS = "ed-fi/students"


def client_of(ods: edfi.Sandbox, endpoint: str = STUDENTS) -> edfi.EdFiClient:
    _, url, key, secret = ods.districts().row(0)
    return edfi.Resource(
        endpoint, base_url=url, client_id=key, client_secret=secret, api_version="v3", max_retries=0
    )


def ids(client: edfi.EdFiClient, **options: Any) -> list[str]:
    out = client.get_all(key="a", **options)
    assert out["status"] is None, out["message"]
    records = out["data"]
    assert records is not None
    return records["id"].to_list()


def student(number: str) -> dict[str, str]:
    return {
        "studentUniqueId": number,
        "firstName": "A",
        "lastSurname": "B",
        "birthDate": "2015-02-03",
    }


def test_a_collection_changes_now() -> None:
    with edfi.Sandbox([DISTRICT], 40) as ods:
        client = client_of(ods)
        before = ids(client)
        version = client.available_change_versions()["newest"]
        ods.mutate(DISTRICT, STUDENTS, "insert", 2)
        ods.mutate(DISTRICT, STUDENTS, "delete", 0)
        ods.mutate(DISTRICT, STUDENTS, "edit", 0)
        ods.mutate(DISTRICT, STUDENTS, "rekey", 1)
        ods.mutate(DISTRICT, STUDENTS, "recreate", 2)
        after = ids(client)
        changes = client.changes(STUDENTS, since=version + 1, overlap=0)
    assert set(before) - set(after) == {before[0], before[3]}
    assert len(after) == len(before) + 1
    # The delete of what was made again is hidden.
    assert changes.deletes["id"].to_list() == [before[0]]
    assert changes.key_changes["id"].to_list() == [before[2]]
    assert set(changes.records["id"]) == {*before[1:3], *(set(after) - set(before))}


def test_a_late_commit_is_counted_before_it_is_seen() -> None:
    with edfi.Sandbox([DISTRICT], 40) as ods:
        client = client_of(ods)
        newest = client.available_change_versions()["newest"]
        ods.mutate(DISTRICT, STUDENTS, "insert", 1, late=2)
        assert client.available_change_versions()["newest"] == newest + 1
        assert client.count(STUDENTS) == 10
        assert client.count(STUDENTS) == 11
        assert client.available_change_versions()["newest"] == newest + 1


def test_a_collection_moves_while_it_is_read() -> None:
    with edfi.Sandbox([DISTRICT], 80, release="7.1") as ods:
        client = client_of(ods)
        before = ids(client)
        ods.set_schedule(
            DISTRICT, STUDENTS, before={2: [("insert", 3)]}, after={1: [("delete", 2)]}
        )
        found = ids(client, limit=5, workers=1)
        assert set(before) - set(found) <= {before[2]}
        ods.set_schedule(DISTRICT, STUDENTS, seed=7, per_request=2.0, until=5, shuffle=7)
        client.get_all(key="a", limit=5)
        ods.set_schedule(DISTRICT, STUDENTS)
        quiet = ids(client)
        assert quiet != found
        assert ids(client) == quiet


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ({}, 20),
        ({"miscount": ("high", 5)}, 25),
        ({"miscount": ("low", 5)}, 15),
        ({"miscount": ("at most", 7)}, 7),
    ],
)
def test_counts_can_be_wrong(faults: dict[str, Any], told: int) -> None:
    with edfi.Sandbox([DISTRICT], 80) as ods:
        ods.set_faults(DISTRICT, **faults)
        assert client_of(ods).count(STUDENTS) == told


def test_pages_can_be_short_and_statuses_wrong() -> None:
    with edfi.Sandbox([DISTRICT], 80) as ods:
        client = client_of(ods)
        before = ids(client)
        ods.set_faults(DISTRICT, page_cap=3, short_pages=[0, 1], no_total_count=True)
        assert ids(client, paging="offset") == before
        ods.set_faults(DISTRICT, statuses=[503])
        assert client.get_all(key="a")["http_status"] == 503
        assert ids(client) == before


def test_it_is_strict_unless_told_otherwise() -> None:
    enrolment = {
        "entryDate": "2024-08-15",
        "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#First grade",
        "schoolReference": {"schoolId": 255901001},
        "studentReference": {"studentUniqueId": "1"},
    }
    wrong = enrolment | {"entryGradeLevelDescriptor": "Kindergarten"}
    with edfi.Sandbox([DISTRICT], 4) as ods:
        students = client_of(ods)
        enrolments = client_of(ods, "ed-fi/studentSchoolAssociations")

        def post(client: edfi.EdFiClient, payload: dict[str, Any]) -> int | None:
            return client.post_payload(payload, key="a", commit=True)["http_status"]

        assert post(enrolments, enrolment) == 409
        assert post(students, student("1")) == 201
        assert post(students, student("1")) == 403
        assert post(enrolments, wrong) == 400
        assert post(enrolments, enrolment) == 201
        assert post(students, student("1")) == 200
        assert client_of(ods, "ed-fi/sections").get_all(key="a")["http_status"] == 404
        listed = students.resources()["endpoint"]
        assert {STUDENTS, "ed-fi/studentSchoolAssociations"} <= set(listed)
    with edfi.Sandbox([DISTRICT], 4, strict=False) as ods:
        students = client_of(ods)
        assert [post(students, student("1")) for _ in range(2)] == [201, 200]


def test_limits() -> None:
    with edfi.Sandbox([DISTRICT], 4, token_limit=1) as ods:
        client = client_of(ods)
        assert client.fetch_token()["status"] is None
        assert "429" in str(client.fetch_token()["message"])
    with edfi.Sandbox([DISTRICT], 4, request_limit=(6, 3600.0)) as ods:
        client = client_of(ods)
        read = [client.get_all(key="a", schema="infer") for _ in range(6)]
        assert read[0]["status"] is None
        assert read[-1]["http_status"] == 429


def test_nothing_is_in_an_empty_one() -> None:
    with edfi.Sandbox([DISTRICT], 0) as ods:
        client = client_of(ods)
        assert client.count(STUDENTS) == 0
        assert client.count("ed-fi/schools") == 0
        assert client.count("ed-fi/gradeLevelDescriptors") > 0


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: edfi.Sandbox("12"), "districts"),
        (lambda: edfi.Sandbox(records=-1), "records"),
        (lambda: edfi.Sandbox(port=99_999), "port"),
        (lambda: edfi.Sandbox(release="8.0"), "8.0"),
        (lambda: edfi.Sandbox(latency=-1.0), "latency"),
    ],
)
def test_wrong_arguments(wrong: Callable[[], object], text: str) -> None:
    with pytest.raises(edfi.EdFiError, match=text):
        wrong()


@pytest.mark.parametrize(
    "wrong", [["--port", "99999"], ["--release", "4.1"], ["--records", "-1"]], ids=" ".join
)
def test_a_wrong_command_is_told_in_a_line(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(wrong)
    assert left.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m polars_edfi.sandbox: error: ")


def test_wrong_steps() -> None:
    with edfi.Sandbox([DISTRICT], 4) as ods:
        for call in (
            lambda: ods.mutate(DISTRICT, STUDENTS, "vanish", 1),  # type: ignore[arg-type]
            lambda: ods.mutate("nowhere", STUDENTS, "edit", 1),
            lambda: ods.set_faults(DISTRICT, miscount=("odd", 1)),  # type: ignore[arg-type]
            lambda: ods.set_schedule(DISTRICT, STUDENTS, before={1: [("go", 1)]}),  # type: ignore[list-item]
        ):
            with pytest.raises(edfi.EdFiError):
                call()
        assert isinstance(ods.districts(), pl.DataFrame)
