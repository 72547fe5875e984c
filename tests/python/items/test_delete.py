"""Items deleted by id."""

import socket

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds
from polars.testing import assert_frame_equal

import polars_edfi as edfi
from items.support import DELETED, delete, frame, hold, single


def test_items_are_deleted(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    hold(ods, {"id": "a"}, {"id": "b"}, {"id": "c"})

    def script(request: Request) -> Answer | None:
        if request.path.endswith("b"):
            return Answer(409, {"detail": "It is needed.", "correlationId": "c-b"})
        return None

    ods.script = script
    df = frame(ods, ["a", "b", "nobody", None, ".."], own=list("vwxyz"))
    dry = delete(runner, df, commit=False)
    assert dry["status"].to_list() == ["dry_run"] * 3 + ["error"] * 2
    assert ods.requests == []
    out = delete(runner, df, row_id_col="own")
    expected = pl.DataFrame(
        {
            "id": ["a", "b", "nobody", None, ".."],
            "key": range(5),
            "status": ["deleted", "error", "error", "error", "error"],
            "message": [
                None,
                "HTTP 409 Conflict: It is needed.",
                "HTTP 404 Not Found: No such item.",
                "missing 'id'",
                out["message"][4],
            ],
            "http_status": [204, 409, 404, None, None],
            "correlation_id": [None, "c-b", "c-404", None, None],
            "row_index": range(5),
            "row_id": list("vwxyz"),
        },
        schema=DELETED,
    )
    assert_frame_equal(out, expected)
    assert dry["message"][3:].equals(out["message"][3:])
    assert runner.rows is out
    assert set(ods.items) == {"b", "c"}


@pytest.mark.parametrize("answer", [Answer(200), Answer(200, '{"ok": true}'), Answer(204)], ids=str)
def test_what_is_deleted(ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer) -> None:
    ods.script = lambda _: answer
    out = delete(runner, frame(ods, ["a"]))
    assert out.select("status", "http_status").row(0) == ("deleted", answer.status)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>"),
        Answer(202),
        Answer(302, headers={"location": "/data/v3/ed-fi/studentAssessments/b"}),
        Answer(405, {"detail": "No."}),
        Answer(401),
    ],
    ids=str,
)
def test_what_is_not_deleted(
    ods: ScriptedOds, runner: edfi.StudentAssessment, answer: Answer
) -> None:
    ods.script = lambda _: answer
    out = delete(runner, frame(ods, ["a"]))
    assert out.select("status", "http_status").row(0) == ("error", answer.status)
    assert len(ods.requests) == 1


def test_a_delete_after_a_broken_connection_finds_nothing(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    """The first try has done it."""
    hold(ods, {"id": "a"}, {"id": "b"})
    broken = {"a"}

    def script(request: Request) -> Answer | None:
        name = request.path[-1]
        if name not in broken:
            return None
        broken.remove(name)
        assert ods.items.pop(name)
        return Answer(close=True)

    ods.script = script
    out = delete(runner, frame(ods, ["a", "b", "c"]))
    assert out["status"].to_list() == ["deleted", "deleted", "error"]
    assert out["message"].to_list()[:2] == [None, None]
    assert ods.items == {}
    hold(ods, {"id": "a"})
    broken.add("a")
    assert single(ods).delete_by_id("a", key="k", commit=True)["status"] == "deleted"


def test_a_delete_that_was_not_broken_finds_nothing(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    answers = iter([Answer(503, headers={"retry-after": "0"}), Answer(404, {"detail": "None."})])
    ods.script = lambda _: next(answers)
    out = delete(runner, frame(ods, ["a"]))
    assert out.select("status", "http_status").row(0) == ("error", 404)


def test_a_delete_that_could_not_connect_first_finds_nothing(
    runner: edfi.StudentAssessment, ods: ScriptedOds
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    out = delete(runner, frame(ods, ["a"], targetUrl=url))
    assert out["status"].to_list() == ["error"]
    assert out["message"].item().startswith("could not connect")


def test_deletes_try_again(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    for status in (408, 429, 500, 502, 503, 504):
        answers = [Answer(204), Answer(status, headers={"retry-after": "0"})]
        ods.script = lambda _, answers=answers: answers.pop()
        assert delete(runner, frame(ods, ["a"]))["status"].to_list() == ["deleted"], status
        assert answers == []


def test_single_deletes(ods: ScriptedOds) -> None:
    hold(ods, {"id": "a"})
    runner = single(ods)
    dry = runner.delete_by_id("a", key=("k", 1))
    assert dry == {
        "id": "a",
        "key": ("k", 1),
        "status": "dry_run",
        "message": None,
        "http_status": None,
        "correlation_id": None,
    }
    assert edfi.StudentAssessment().delete_by_id("a", key=1)["status"] == "dry_run"
    assert ods.requests == []
    done = runner.delete_by_id("a", key=("k", 1), commit=True)
    assert done == dry | {"status": "deleted", "http_status": 204}
    gone = runner.delete_by_id("a", key=None, commit=True)
    assert gone == dry | {
        "key": None,
        "status": "error",
        "message": "HTTP 404 Not Found: No such item.",
        "http_status": 404,
        "correlation_id": "c-404",
    }
    with pytest.raises(edfi.EdFiError, match="endpoint"):
        runner.delete_by_id("a", key=1, endpoint="..", commit=True)
