"""What may stand in a column of ids."""

from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from items.support import MakeOds, delete, frame, read, single


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("../x", "..%2Fx"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("%2e%2e", "%252e%252e"),
        ("ü", "%C3%BC"),
        ("a\\b", "a%5Cb"),
        ("a\nb", "a%0Ab"),
        ("a;b=c&d:e@f", "a%3Bb%3Dc%26d%3Ae%40f"),
        ("...", "..."),
        ("A-z_0.9~", "A-z_0.9~"),
        (604822, "604822"),
    ],
)
def test_an_id_is_one_path_segment(
    ods: ScriptedOds, runner: edfi.StudentAssessment, name: Any, segment: str
) -> None:
    seen: list[str] = []

    def script(request: Request) -> Answer:
        seen.append(request.path)
        return Answer(200, {"id": "x"}) if request.method == "GET" else Answer(204)

    ods.script = script
    df = frame(ods, [name])
    assert read(runner, df)["status"].to_list() == [None]
    assert delete(runner, df)["status"].to_list() == ["deleted"]
    assert single(ods).get_by_id(name)["status"] is None
    assert single(ods).delete_by_id(name, key=1, commit=True)["status"] == "deleted"
    assert seen == [f"/data/v3/ed-fi/studentAssessments/{segment}"] * 4


@pytest.mark.parametrize("name", [".", "..", " .. "])
def test_dots_are_no_id(ods: ScriptedOds, runner: edfi.StudentAssessment, name: str) -> None:
    df = frame(ods, [name])
    for out in (read(runner, df), delete(runner, df)):
        assert out["status"].to_list() == ["error"]
        assert repr(name.strip()).strip("'") in out["message"].item()
    assert single(ods).get_by_id(name)["status"] == "error"
    assert single(ods).delete_by_id(name, key=1, commit=True)["status"] == "error"
    assert ods.requests == []


@pytest.mark.parametrize("name", [None, "", " ", "\t\n"])
def test_blank_ids_ask_for_nothing(
    ods: ScriptedOds, runner: edfi.StudentAssessment, name: str | None
) -> None:
    """``DELETE /ed-fi/studentAssessments/`` would be quite another request."""
    df = frame(ods, pl.Series([name], dtype=pl.String))
    for out in (read(runner, df), delete(runner, df)):
        assert out["status"].to_list() == ["error"]
        assert out["message"].to_list() == ["missing 'id'"]
    for result in (
        single(ods).get_by_id(name),  # type: ignore[arg-type]
        single(ods).delete_by_id(name, key=1, commit=True),  # type: ignore[arg-type]
    ):
        assert (result["status"], result["message"]) == ("error", "missing 'id'")
    assert ods.requests == []


def test_cells_that_are_missing(make_ods: MakeOds) -> None:
    own, other = make_ods(), make_ods()
    runner = edfi.StudentAssessment(base_url=own.url, bearer_token="own", api_version="v3")
    df = pl.DataFrame(
        {
            "key": range(5),
            "id": ["x"] * 5,
            "targetUrl": [None, " ", other.url, other.url, other.url],
            "EdFi Token": ["token", "token", None, "", "token"],
        }
    )
    for out in (read(runner, df), delete(runner, df)):
        assert out["message"].to_list() == [
            "missing 'targetUrl'",
            "missing 'targetUrl'",
            "missing 'EdFi Token'",
            "missing 'EdFi Token'",
            "HTTP 404 Not Found: No such item.",
        ]
    assert own.requests == []
    assert [request.method for request in other.requests] == ["GET", "DELETE"]
