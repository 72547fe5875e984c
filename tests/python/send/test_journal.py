"""A journal under `send`: a killed run goes on, and the second night sends nothing."""

import json
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from send.support import (
    KEYS,
    LEVELS,
    SCHOOLS,
    STUDENTS,
    Json,
    Strict,
    frame,
    school,
    send,
    serve,
    seven_schools,
    strict,
    student,
    writes,
)


def test_the_second_night_sends_nothing(ods: ScriptedOds, tmp_path: Path) -> None:
    server = strict()
    serve(ods, LEVELS, server.post, keys=KEYS)
    frames = {name: frame(some) for name, some in seven_schools().items()}
    options = {"journal": tmp_path / "run.edfi", "workers": 1}
    first = send(ods, frames, **options)
    assert first["status"].null_count() == first.height
    assert first["round"].max() == 4
    count = len(writes(ods))
    second = send(ods, frames, **options)
    assert len(writes(ods)) == count
    assert set(second["attempts"]) == {0}
    same = ["endpoint", "key", "status", "http_status", "resource_id", "row_index"]
    assert second.select(same).equals(first.select(same))
    # One row changes, and goes alone.
    frames[SCHOOLS] = frame([*seven_schools()[SCHOOLS][:-1], school(6) | {"n": "new"}])
    third = send(ods, frames, **options)
    assert len(writes(ods)) == count + 1
    assert third["attempts"].sum() == 1
    assert server.items[SCHOOLS][6,]["n"] == "new"
    # And back.
    frames[SCHOOLS] = frame(seven_schools()[SCHOOLS])
    assert send(ods, frames, **options)["attempts"].sum() == 1


def test_a_dry_run_leaves_the_journal_alone(ods: ScriptedOds, tmp_path: Path) -> None:
    serve(ods, LEVELS, Strict(KEYS).post, keys=KEYS)
    send(ods, {STUDENTS: frame([student("a")])}, journal=tmp_path / "run.edfi", commit=False)
    assert not (tmp_path / "run.edfi").exists()


def test_what_was_removed_is_sent_again(ods: ScriptedOds, tmp_path: Path) -> None:
    server = Strict(KEYS)

    def write(request: Request) -> Answer:
        if request.method == "DELETE":
            server.items[STUDENTS].clear()
            return Answer(204)
        return server.post(request)

    serve(ods, LEVELS, write, keys=KEYS)
    frames = {STUDENTS: frame([student("a")])}
    journal = tmp_path / "run.edfi"
    sent = send(ods, frames, journal=journal)
    ids = {STUDENTS: sent.select(pl.col("resource_id").alias("id"), k=pl.col("key"))}
    runner = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3")
    gone = runner.remove(ids, key_col="k", commit=True, journal=journal)
    assert gone["status"].to_list() == ["deleted"]
    again = send(ods, frames, journal=journal)
    assert again.select("http_status", "attempts").row(0) == (201, 1)


def test_without_documents_keys_must_tell_rows_apart(ods: ScriptedOds, tmp_path: Path) -> None:
    server = Strict(KEYS)
    serve(ods, LEVELS, server.post)
    same = frame([student("a"), student("b")]).with_columns(k=pl.lit(1))
    sent = send(ods, {STUDENTS: same}, journal=tmp_path / "run.edfi")
    assert sent["status"].to_list() == ["error", "error"]
    assert "must be unique" in sent["message"][0]
    assert sent["attempts"].sum() == 0
    assert server.log == []


@pytest.mark.parametrize("has_document", [True, False])
def test_rows_in_an_order_of_their_own(
    ods: ScriptedOds, tmp_path: Path, has_document: bool
) -> None:
    server = Strict(KEYS)
    serve(ods, LEVELS, server.post, keys=KEYS if has_document else None)
    # Two rows each of twenty students, whom an order has go with others.
    some = [student(f"{n}") | {"n": n} for n in range(20)] * 2
    df = frame(some).with_columns(o=pl.Series(range(40)) % 7, k=pl.Series(range(40)) % 20)
    options = {"journal": tmp_path / "run.edfi", "order_by_col": "o", "workers": 16}
    sent = send(ods, {STUDENTS: df}, **options)
    assert sent["status"].null_count() == sent["resource_id"].count() == 40
    assert len(server.log) == 20
    again = send(ods, {STUDENTS: df}, **options)
    assert again["attempts"].sum() == 0
    assert again["resource_id"].equals(sent["resource_id"])
    assert len(server.log) == 20


def test_an_old_odses_descriptor_that_is_there_is_confirmed(
    ods: ScriptedOds, tmp_path: Path
) -> None:
    posts = iter([Answer(409, {"message": "Exists."}), Answer(500, {"message": "No more."})])
    serve(ods, {"ed-fi/sexDescriptors": 1}, lambda _request: next(posts))
    frames = {"ed-fi/sexDescriptors": frame([{"namespace": "uri://x", "codeValue": "x"}])}
    journal = tmp_path / "run.edfi"
    first = send(ods, frames, journal=journal)
    assert first.select("status", "http_status", "attempts").row(0) == (None, 409, 1)
    assert edfi.read_journal(journal)["state"].to_list() == ["confirmed"]
    second = send(ods, frames, journal=journal)
    assert second.drop("attempts").equals(first.drop("attempts"))
    assert second["attempts"].to_list() == [0]


def test_keys_of_all_kinds_tell_items_apart(ods: ScriptedOds, tmp_path: Path) -> None:
    server = strict()
    serve(ods, LEVELS, server.post, keys=KEYS)
    names = ["a#b", "a&b", "a b", "a%20b", "Ä ö", "a/b", "a+b", "学生", "a,b", 'a"b', "a\\b"]
    frames = {STUDENTS: frame([student(name) for name in names])}
    journal = tmp_path / "run.edfi"
    first = send(ods, frames, journal=journal)
    assert first["status"].null_count() == len(server.items[STUDENTS]) == len(names)
    second = send(ods, frames, journal=journal)
    assert second["attempts"].sum() == 0
    assert len(server.log) == len(names)
    by_name = frames[STUDENTS].with_columns(k=pl.Series(names))
    send(ods, {STUDENTS: by_name}, journal=tmp_path / "named.edfi")
    assert sorted(edfi.read_journal(tmp_path / "named.edfi")["key"]) == sorted(names)


def test_a_journal_that_is_none_is_said_before_anything_is_sent(
    ods: ScriptedOds, tmp_path: Path
) -> None:
    serve(ods, LEVELS, strict().post, keys=KEYS)
    text = tmp_path / "text"
    text.write_text("key,status\n")
    frames = {STUDENTS: frame([student("a")])}
    for path, what in [
        (text, "is no journal"),
        (text / "run.edfi", "cannot be opened"),
        (tmp_path / "nowhere" / "run.edfi", "cannot be opened"),
        (tmp_path, "cannot be opened: is a folder"),
    ]:
        with pytest.raises(edfi.EdFiError, match=f"journal {path}: {what}"):
            send(ods, frames, journal=path)
    assert ods.requests == []


def test_a_key_must_not_come_again_in_a_later_piece(
    ods: ScriptedOds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polars_edfi._sends.BATCH", 2)
    server = Strict(KEYS)
    serve(ods, LEVELS, server.post)
    keys = pl.Series("k", [1, 2, 3, 1, 2, 2])
    pieces = frame([student(name) for name in "abcabd"]).with_columns(keys)
    for _ in range(2):
        sent = send(ods, {STUDENTS: pieces.lazy()}, journal=tmp_path / "run.edfi", workers=1)
        assert sent["status"].to_list() == [None] * 4 + ["error"] * 2
        assert "must be unique" in sent["message"][5]
    students = [student(name) for name in "abc"]
    assert server.sent(STUDENTS) == students


def test_a_key_must_not_come_again_in_another_piece(
    ods: ScriptedOds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polars_edfi._sends.BATCH", 2)
    server = Strict(KEYS)
    serve(ods, LEVELS, server.post)
    pieces = frame([student(name) for name in "abca"])
    pieces = pieces.with_columns(k=pl.Series([1, 2, 3, 2]))
    for _ in range(2):
        sent = send(ods, {STUDENTS: pieces.lazy()}, journal=tmp_path / "run.edfi", workers=1)
        assert sent["status"].to_list() == [None] * 3 + ["error"]
        assert "an earlier row has the same key_col and another payload" in sent["message"][3]
    assert server.sent(STUDENTS) == [student(name) for name in "abc"]


def test_spellings_of_one_key_wait_for_each_other(ods: ScriptedOds, tmp_path: Path) -> None:
    """SQL Server takes texts for one in any case, and without the spaces at their end."""
    items: dict[str, Json] = {}
    under_way: list[str] = []
    lock = threading.Lock()

    def write(request: Request) -> Answer:
        body = json.loads(request.body)
        name = body["studentUniqueId"].rstrip(" ").upper()
        with lock:
            assert name not in under_way
            under_way.append(name)
        time.sleep(0.02)
        with lock:
            under_way.remove(name)
            known, items[name] = name in items, body
        location = {"location": f"/x/{name.encode().hex()}"}
        return Answer(200 if known else 201, headers=location)

    serve(ods, LEVELS, write, keys=KEYS)
    spellings = ["ab", "AB", "ab ", "Ab"]
    journal = tmp_path / "run.edfi"
    for wanted in (spellings, spellings[:1], spellings[1:2], spellings[:1], spellings):
        bodies = [student(name) | {"n": name} for name in wanted]
        sent = send(ods, {STUDENTS: frame(bodies)}, journal=journal, workers=8)
        assert sent["status"].to_list() == [None] * len(wanted)
        assert items["AB"]["n"] == wanted[-1]


def test_no_more_rows_are_in_doubt_than_there_are_workers(ods: ScriptedOds, tmp_path: Path) -> None:
    """Rows that wait for the end of a pause would all be, if the process ended now."""
    names = [f"ed-fi/things{number}" for number in range(6)]
    keys = dict.fromkeys(names, ("id",))
    journal, noted = tmp_path / "run.edfi", []

    def write(_request: Request) -> Answer:
        states = edfi.read_journal(journal)["state"]
        noted.append(states.to_list().count("sent"))
        if len(noted) == 1:
            return Answer(429, headers={"retry-after": "1"})
        return Answer(201, headers={"location": f"/x/{len(noted):032x}"})

    serve(ods, dict.fromkeys(names, 1), write, keys=keys)
    frames = {name: frame({"id": str(number)} for number in range(8)) for name in names}
    sent = send(ods, frames, journal=journal, workers=2)
    assert sent["status"].null_count() == sent.height == 48
    assert max(noted) <= 2


def test_one_resource_in_two_spellings(ods: ScriptedOds, tmp_path: Path) -> None:
    server = Strict(KEYS)

    def write(request: Request) -> Answer:
        request.path = request.path.replace("Students", "students")
        return server.post(request)

    serve(ods, LEVELS, write, keys=KEYS)
    journal = tmp_path / "run.edfi"
    for endpoint, n in [(STUDENTS, 1), ("ed-fi/Students", 2), (STUDENTS, 1)]:
        send(ods, {endpoint: frame([student("a") | {"n": n}])}, journal=journal)
        assert server.items[STUDENTS]["a",]["n"] == n


def test_another_profile_writes_other_parts(ods: ScriptedOds, tmp_path: Path) -> None:
    server = Strict(KEYS)
    serve(ods, LEVELS, server.post, keys=KEYS)
    frames = {STUDENTS: frame([student("a")])}
    attempts = []
    for profile in (None, "Small", "small", "Large", None, None):
        client = edfi.EdFiClient(
            base_url=ods.url, bearer_token="token", api_version="v3", profile=profile
        )
        sent = client.send(frames, commit=True, journal=tmp_path / "run.edfi")
        attempts.append(sent["attempts"].item())
    assert attempts == [1, 1, 0, 1, 1, 0]
