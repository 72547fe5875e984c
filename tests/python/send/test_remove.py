"""Taking out what was sent: the other way round, descriptors last, what is referred to later."""

import threading
from collections import Counter

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from send.support import ENROLMENTS, SCHOOLS, STUDENTS, client, problem, serve, writes

SEXES = "ed-fi/sexDescriptors"
LEVELS = {SEXES: 1, STUDENTS: (2, 5), SCHOOLS: 3, ENROLMENTS: 4, "x/lateDescriptors": 9}
RESULT = {
    "endpoint": pl.String,
    "key": pl.String,
    "id": pl.String,
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
    "attempts": pl.UInt32,
    "round": pl.UInt32,
    "row_index": pl.get_index_type(),
    "row_id": pl.String,
}
REFERENCED = problem(409, "data-conflict:dependent-item-exists", "It is referenced.")


def ids(*names: object) -> pl.DataFrame:
    return pl.DataFrame({"id": list(names)})


def order_of(ods: ScriptedOds) -> list[str]:
    names = [request.path.removeprefix("/data/v3/") for request in writes(ods)]
    return [name.rpartition("/")[0] for name in names]


def test_the_order_is_reversed_and_descriptors_go_last(ods: ScriptedOds) -> None:
    serve(ods, LEVELS, lambda _request: Answer(204))
    frames = {
        SEXES: ids("a", "b"),
        "x/lateDescriptors": ids("c"),
        STUDENTS: ids("d").lazy(),
        "x/unlisted": ids("e"),
        SCHOOLS: ids("f"),
        ENROLMENTS: ids("g"),
    }
    with pytest.warns(UserWarning, match="x/unlisted .* go before all others"):
        removed = client(ods).remove(frames, commit=True)
    assert removed.schema == RESULT
    assert set(removed["status"]) == {"deleted"}
    assert removed["id"].to_list() == ["a", "b", "c", "d", "e", "f", "g"]
    assert order_of(ods) == [
        "x/unlisted",
        ENROLMENTS,
        SCHOOLS,
        STUDENTS,
        "x/lateDescriptors",
        SEXES,
        SEXES,
    ]
    assert {request.method for request in writes(ods)} == {"DELETE"}


def test_a_dry_run_tells_levels(ods: ScriptedOds) -> None:
    serve(ods, LEVELS, lambda _request: Answer(204))
    frames = {SCHOOLS: ids("a", None, "..")}
    dry = client(ods).remove(frames)
    assert dry["status"].to_list() == ["dry_run", "error", "error"]
    assert dry["message"][0] == "level 3"
    assert dry["message"][1] == "missing 'id'"
    assert set(dry["round"]) == {0}
    assert writes(ods) == []


@pytest.mark.parametrize("old", [False, True])
def test_what_is_referred_to_goes_in_a_later_round(ods: ScriptedOds, old: bool) -> None:
    """A chain of schools, each the main school of the one before."""
    there, lock = {"a", "b", "c"}, threading.Lock()
    needs = {"b": "a", "c": "b"}

    def delete(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        with lock:
            if needs.get(name) in there:
                text = "The resource cannot be deleted because it is a dependency of 'School'."
                return Answer(409, {"message": text}) if old else REFERENCED
            there.discard(name)
        return Answer(204)

    serve(ods, LEVELS, delete)
    removed = client(ods).remove({SCHOOLS: ids("c", "b", "a")}, commit=True, workers=1)
    assert set(removed["status"]) == {"deleted"}
    assert removed["round"].to_list() == removed["attempts"].to_list() == [3, 2, 1]


def test_what_stays_referred_to_is_an_error(ods: ScriptedOds) -> None:
    serve(ods, LEVELS, lambda _request: REFERENCED)
    removed = client(ods).remove({SCHOOLS: ids("a", "b")}, commit=True, details=True)
    assert removed["status"].to_list() == ["error", "error"]
    # Nothing went in the second round.
    assert removed["attempts"].to_list() == [2, 2]
    assert "dependent-item-exists" in removed["problem"][0]


def test_other_refusals_are_final(ods: ScriptedOds) -> None:
    answers = {
        "gone": problem(404, "not-found", "No."),
        "mine": problem(403, "security:authorization:", "No."),
        "same": Answer(204),
    }
    serve(ods, LEVELS, lambda request: answers[request.path.rpartition("/")[2]])
    removed = client(ods).remove({SCHOOLS: ids("gone", "mine", "same", "same")}, commit=True)
    assert removed["http_status"].to_list() == [404, 403, 204, 204]
    assert Counter(order_of(ods)) == {SCHOOLS: 4}


def test_ids_of_different_dtypes_become_texts(ods: ScriptedOds) -> None:
    serve(ods, LEVELS, lambda _request: Answer(204))
    removed = client(ods).remove({SCHOOLS: ids(1), STUDENTS: ids("a")}, commit=True)
    assert removed["id"].to_list() == ["1", "a"]
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="id_col"):
        client(ods).remove({SCHOOLS: ids("a").rename({"id": "b"})}, commit=True)
    with pytest.raises(edfi.EdFiError, match="unknown option"):
        client(ods).remove({SCHOOLS: ids("a")}, retry_statuses=[409])  # type: ignore[call-arg]
