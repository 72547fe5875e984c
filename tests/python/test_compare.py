"""Payloads compared with what an ODS has, and sends that leave out what is the same."""

from __future__ import annotations

import json
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer
from test_validate import SEX, Ods, frame, student

import polars_edfi as edfi

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ScriptedOds

COLUMNS = {
    "endpoint": pl.String,
    "row_index": pl.get_index_type(),
    "row_id": pl.String,
    "id": pl.String,
    "status": pl.String,
    "changes": pl.List(pl.Struct({"path": pl.String, "ours": pl.String, "theirs": pl.String})),
}


class Store(Ods):
    """The ODS of `test_validate`, which also has students."""

    def __init__(self, ods: ScriptedOds) -> None:
        super().__init__(ods)
        self.students: list[dict[str, Any]] = []

    def answer(self, request: Any) -> Any:
        if request.method == "GET" and request.path.endswith("/students"):
            kept = self.schools
            wanted = request.query.get("studentUniqueId")
            self.schools = [
                one
                for one in self.students
                if wanted is None or self.ignores or one["studentUniqueId"] == wanted
            ]
            request.path = request.path.replace("students", "schools")
            try:
                return super().answer(request)
            finally:
                self.schools = kept
                request.path = request.path.replace("schools", "students")
        return super().answer(request)


@pytest.fixture
def server(ods: ScriptedOds) -> Store:
    return Store(ods)


def record(number: int = 1, **more: object) -> dict[str, Any]:
    return {"studentUniqueId": str(number), **more, "_etag": "1", "_lastModifiedDate": "2026-01-01"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"rank": None}, {"names": []}),
        ({"rank": 2}, {"rank": 2.0}),
        ({"sexDescriptor": f"{SEX}#FEMALE"}, {"sexDescriptor": f"{SEX}#Female"}),
        ({"Rank": 3, "other": 1}, {}),
        (
            {"schoolReference": {"schoolId": 1}},
            {"schoolReference": {"schoolId": 1, "link": {"rel": "School", "href": "/x"}}},
        ),
        (
            {"names": [{"nameTypeDescriptor": "a#1"}, {"nameTypeDescriptor": "a#2", "first": "x"}]},
            {"names": [{"first": "x", "nameTypeDescriptor": "A#2"}, {"nameTypeDescriptor": "a#1"}]},
        ),
    ],
)
def test_what_is_the_same(server: Store, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    server.students = [record(1, **theirs)]
    compared = server.client().compare(frame(student(1, **ours)))
    assert compared.schema == COLUMNS
    assert compared.rows() == [("ed-fi/students", 0, None, f"{0:032x}", "same", [])]


@pytest.mark.parametrize(
    ("ours", "theirs", "changes"),
    [
        ({"rank": 2}, {"rank": 3}, [("$.rank", "2", "3")]),
        ({"rank": 2}, {}, [("$.rank", "2", None)]),
        ({}, {"code": "A"}, [("$.code", None, '"A"')]),
        (
            {"schoolReference": {"schoolId": 1}},
            {"schoolReference": {"schoolId": 2}},
            [("$.schoolReference.schoolId", "1", "2")],
        ),
        (
            {"names": [{"nameTypeDescriptor": "a#1", "first": "x"}, {"nameTypeDescriptor": "a#2"}]},
            {"names": [{"nameTypeDescriptor": "a#3"}, {"nameTypeDescriptor": "a#1", "first": "y"}]},
            [
                ("$.names[0].first", '"x"', '"y"'),
                ("$.names[1]", '{"nameTypeDescriptor":"a#2"}', None),
                ("$.names[0]", None, '{"nameTypeDescriptor":"a#3"}'),
            ],
        ),
    ],
)
def test_what_a_post_would_change(
    server: Store, ours: dict[str, Any], theirs: dict[str, Any], changes: list[Any]
) -> None:
    server.students = [record(1, **theirs)]
    compared = server.client().compare(frame(student(1, **ours)))
    assert compared["status"].to_list() == ["changed"]
    assert [tuple(one.values()) for one in compared["changes"].item()] == changes


def test_a_record_with_half_a_character_is_compared(server: Store) -> None:
    name = {"nameTypeDescriptor": "a#1"}
    server.students = [record(1, names=[name | {"first": "\ud800"}]), record(2, names=[name])]
    rows = frame(student(1, names=[name | {"first": "x"}]), student(2, names=[name]))
    compared = server.client().compare(rows)
    assert compared["status"].to_list() == ["changed", "same"]
    assert compared["changes"].list.len().to_list() == [1, 0]


def test_new_wrong_and_extra(server: Store) -> None:
    server.students = [record(1), record(2), record(3)]
    rows = frame(student(3), student(4), "{", "{}")
    client = server.client()
    compared = client.compare(rows, row_id_col="k", extra=True)
    assert compared["row_index"].to_list() == [0, 1, 2, 3, None, None]
    assert compared["row_id"].to_list() == [0, 1, 2, 3, None, None]
    assert compared["status"].to_list() == ["same", "new", "error", "error", "extra", "extra"]
    assert compared["id"].to_list()[4:] == [f"{0:032x}", f"{1:032x}"]
    why = compared["changes"].list.first().struct.field("path").to_list()
    assert "invalid JSON" in why[2]
    assert "$.studentUniqueId" in why[3]
    server.ods.requests.clear()
    assert client.compare(frame(student(2)))["status"].item() == "same"


def test_few_keys_are_asked_for_in_a_large_collection(server: Store) -> None:
    server.students = [record(number) for number in range(3000)]
    client = server.client()
    rows = frame(student(2999, rank=1), student(5000))
    assert client.compare(rows)["status"].to_list() == ["changed", "new"]
    queries = server.asked("students")
    assert {one.get("studentUniqueId") for one in queries} == {None, "2999", "5000"}
    assert len(queries) == 3
    server.ignores = True
    assert client.compare(rows)["status"].to_list() == ["changed", "new"]
    many = frame(*(student(number) for number in range(3000)))
    server.asked("students")
    assert client.compare(many)["status"].unique().to_list() == ["same"]
    assert all("studentUniqueId" not in query for query in server.asked("students"))


def test_a_collection_that_cannot_be_read_is_an_error_of_its_rows(server: Store) -> None:
    server.statuses = {"schools": 403}
    compared = server.client().compare(frame(student(1)))
    assert compared["status"].to_list() == ["error"]
    assert "HTTP 403" in compared["changes"].item()[0]["path"]


def test_key_columns(ods: ScriptedOds) -> None:
    ods.records = [{"id": "a", "code": "x", "n": 1}, {"id": "b", "code": "y", "n": 2}]
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3")
    rows = pl.DataFrame({"payload": ['{"code":"y","n":2}', '{"code":"z"}'], "BK": ["y", "z"]})
    compared = client.compare(rows, endpoint="ed-fi/things", key_cols={"code": "BK"})
    assert compared["status"].to_list() == ["same", "new"]
    assert compared["id"].to_list() == ["b", None]
    compared = client.compare(rows, endpoint="ed-fi/things")
    assert compared["status"].to_list() == ["error", "error"]
    assert "key_cols" in compared["changes"][0][0]["path"]


def random_student(number: int, rng: random.Random) -> dict[str, Any]:
    names = [
        {"nameTypeDescriptor": f"uri://x/NameTypeDescriptor#{n}", "first": rng.choice("äbç")}
        for n in rng.sample(range(9), rng.randrange(4))
    ]
    body = {
        "studentUniqueId": str(number),
        "rank": rng.choice([None, 1, 9]),
        "code": rng.choice(["A", "\u2028", 'quote"', None]),
        "names": rng.choice([names, None, []]),
        "schoolReference": rng.choice([None, {"schoolId": rng.randrange(1, 9)}]),
    }
    return {name: value for name, value in body.items() if value is not None or rng.random() < 0.5}


def test_what_was_read_is_the_same(server: Store) -> None:
    rng = random.Random(20260831)
    server.students = [random_student(number, rng) for number in range(700)]
    payloads = []
    for body in server.students:
        members = list(body.items())
        rng.shuffle(members)
        payloads.append(json.dumps(dict(members), ensure_ascii=rng.random() < 0.5))
    client = server.client()
    compared = client.compare(frame(*payloads))
    assert compared["status"].unique().to_list() == ["same"]
    flat = client.get_all(key=1)["data"]
    assert flat is not None
    again = client.compare(edfi.unflatten(flat.drop("_unknown")))
    assert again["status"].unique().to_list() == ["same"]


def test_a_send_leaves_out_what_is_the_same(server: Store) -> None:
    server.students = [record(1, rank=1), record(2, rank=1)]
    rows = frame(
        student(1, rank=1), student(2, rank=2), student(3), student(2, rank=1), student(4, rank=0)
    )
    client = server.client()
    sent = client.send(
        {"ed-fi/students": rows.lazy()},
        key_col="k",
        order=["ed-fi/students"],
        skip_same=True,
        validate=True,
        commit=True,
    )
    assert sent["message"].to_list() == [
        "same",
        None,
        None,
        # The last of two rows of one item stays, so that both are sent.
        None,
        "invalid: $.rank: must be at least 1",
    ]
    assert sent["status"].to_list() == [None, None, None, None, "error"]
    assert sent["attempts"].to_list() == [0, 1, 1, 1, 0]
    assert sent["resource_id"][0] == f"{0:032x}"
    assert len(server.ods.items) == 3


@pytest.mark.parametrize("has_journal", [False, True])
def test_rows_that_an_ods_may_take_for_one_item_are_sent_together(
    server: Store, tmp_path: Path, has_journal: bool
) -> None:
    """SQL Server takes texts for one in any case, and without the spaces at their end."""
    rows = [("K1", 1), ("k1", 2), ("k1 ", 3), ("k2", 1), ("k2", 1)]
    frames = frame(*(student(0, studentUniqueId=name, rank=rank) for name, rank in rows))
    server.ods.script = lambda request: (
        Answer(200, headers={"location": f"/x/{0:032x}"})
        if request.method == "POST" and request.path.startswith("/data")
        else server.answer(request)
    )

    def sent() -> list[tuple[str, int]]:
        server.ods.requests.clear()
        out = server.client().send(
            {"ed-fi/students": frames},
            order=["ed-fi/students"],
            skip_same=True,
            journal=tmp_path / "night.edfi" if has_journal else None,
            commit=True,
        )
        assert out["status"].to_list() == [None] * 5
        assert out["message"].to_list()[3:] == ["same"] * 2
        posts = [one for one in server.ods.requests if one.method == "POST"]
        bodies = [json.loads(one.body) for one in posts if one.path.endswith("/students")]
        return [(body["studentUniqueId"], body["rank"]) for body in bodies]

    other = record(0, studentUniqueId="k2", rank=1)
    for name, rank in rows[:3]:
        server.students = [record(0, studentUniqueId=name, rank=rank), other]
        assert sent() == rows[:3]
    # Where they are three items, and all as they should be, they stay.
    server.students = [record(0, studentUniqueId=name, rank=rank) for name, rank in rows[:4]]
    assert sent() == []


def test_metadata_that_fails_is_no_lack_of_a_key(server: Store) -> None:
    server.ods.script = lambda request: (
        Answer(500, {"detail": "Down."})
        if request.path.startswith("/metadata")
        else server.answer(request)
    )
    out = server.client().compare(frame(student()), endpoint="ed-fi/students")
    [change] = out["changes"].item()
    assert "metadata: HTTP 500 Internal Server Error: Down." in change["path"]


def test_what_an_ods_has_otherwise_is_sent_whatever_a_journal_knows(
    server: Store, tmp_path: Path
) -> None:
    def send(**options: Any) -> list[int]:
        sent = server.client().send(
            {"ed-fi/students": frame(student(1, rank=1), student(2, rank=1), student(2, rank=1))},
            order=["ed-fi/students"],
            journal=tmp_path / "night.edfi",
            commit=True,
            **options,
        )
        assert sent["status"].to_list() == [None] * 3
        attempts: list[int] = sent["attempts"].to_list()
        return attempts

    assert send(skip_same=True) == [1, 1, 0]
    server.students = [record(1, rank=1), record(2, rank=2)]
    assert send() == [0, 0, 0]
    assert send(skip_same=True) == [0, 1, 0]


def test_a_journal_hears_what_an_ods_has_already(server: Store, tmp_path: Path) -> None:
    journal = tmp_path / "night.edfi"

    def send(rank: int, **options: Any) -> tuple[Any, ...]:
        sent = server.client().send(
            {"ed-fi/students": frame(student(rank=rank), student(rank=rank))},
            order=["ed-fi/students"],
            **{"journal": journal, "commit": True, **options},
        )
        if options.get("commit", True):
            assert sent["status"].to_list() == [None, None]
        return sent.select("message", "http_status", "resource_id", "attempts").row(0)

    item = f"{0:032x}"
    assert send(1)[3] == 1
    # Somebody else changes it.
    server.students = [record(rank=2)]
    assert send(2, skip_same=True, commit=False) == ("same", None, item, 0)
    assert send(1)[3] == 0
    assert send(2, skip_same=True) == ("same", None, item, 0)
    assert edfi.read_journal(journal)["state"].to_list() == ["confirmed"] * 2
    assert send(2) == ("same", None, item, 0)
    assert send(1)[3] == 1
    # And back: both are known, and neither was the last.
    assert send(2, skip_same=True) == ("same", None, item, 0)
    assert send(1)[3] == 1


def test_what_an_ods_has_is_in_doubt_no_more(server: Store, tmp_path: Path) -> None:
    def send(**options: Any) -> tuple[Any, ...]:
        sent = server.client().send(
            {"ed-fi/students": frame(student())},
            order=["ed-fi/students"],
            journal=tmp_path / "night.edfi",
            commit=True,
            **options,
        )
        return sent.select("status", "message", "attempts").row(0)

    server.ods.script = lambda request: (
        Answer(close=True)
        if request.method == "POST" and request.path.startswith("/data")
        else server.answer(request)
    )
    assert send()[0] == "error"
    server.students = [record()]
    assert send()[::2] == ("error", 0)
    for options in ({"skip_same": True}, {}):
        assert send(**options) == (None, "same", 0)


@pytest.mark.parametrize("options", [{"skip_same": True}, {"resend_after": 86400}])
def test_a_clock_that_was_ahead_keeps_nothing_from_an_ods(
    server: Store, tmp_path: Path, options: dict[str, Any]
) -> None:
    journal = tmp_path / "night.edfi"

    def send() -> int:
        sent = server.client().send(
            {"ed-fi/students": frame(student(rank=1))},
            order=["ed-fi/students"],
            journal=journal,
            commit=True,
            **options,
        )
        attempts: int = sent["attempts"].item()
        return attempts

    assert send() == 1
    edfi.read_journal(journal)
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE rows SET at = at + 3600000000")
    server.students = [record(rank=2)]
    assert send() == 1
    server.students = [record(rank=1)]
    assert send() == 0


@pytest.mark.parametrize("by_item", [True, False])
def test_equal_rows_that_an_ods_has_otherwise_are_sent_once(
    server: Store, tmp_path: Path, by_item: bool
) -> None:
    rows = frame(*[student(number, rank=1) for number in range(8)] * 2)
    rows = rows.with_columns(o=pl.int_range(16) % 8 if by_item else pl.int_range(16) % 7)

    def posts() -> int:
        server.client().send(
            {"ed-fi/students": rows},
            order=["ed-fi/students"],
            order_by_col="o",
            journal=tmp_path / "night.edfi",
            commit=True,
            skip_same=True,
            workers=16,
        )
        posted = [one for one in server.ods.requests if one.method == "POST"]
        server.ods.requests.clear()
        return sum(one.path.endswith("/students") for one in posted)

    assert posts() == 8
    server.students = [record(number, rank=2) for number in range(8)]
    assert posts() == 8


def test_what_an_ods_does_not_have_is_in_doubt_no_more(server: Store, tmp_path: Path) -> None:
    def send(**options: Any) -> dict[str, Any]:
        sent = server.client().send(
            {"ed-fi/students": frame(student())},
            order=["ed-fi/students"],
            journal=tmp_path / "night.edfi",
            commit=True,
            **options,
        )
        return sent.row(0, named=True)

    server.ods.script = lambda request: (
        Answer(close=True)
        if request.method == "POST" and request.path.startswith("/data")
        else server.answer(request)
    )
    assert "may have been applied" in send()["message"]
    server.ods.script = server.answer
    assert send()["status"] == "error"
    assert send(skip_same=True)["http_status"] == 201
