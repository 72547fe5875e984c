"""Journals of replacements: what was put last counts, and a stale etag is no end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, rows

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Put = Callable[..., pl.DataFrame]

A, B = '{"n": "a"}', '{"n": "b"}'


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.edfi"


def applied(request: Request) -> Answer | None:
    if request.method == "POST":
        return Answer(201, headers={"location": "/x/i0"})
    return Answer(204) if request.method in {"PUT", "DELETE"} else None


@pytest.fixture
def put(ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path) -> Put:
    """Put payloads in the place of the items i0, i1, ..."""
    ods.script = applied

    def put(*payloads: str, **options: Any) -> pl.DataFrame:
        ids = [f"i{n}" for n in range(len(payloads))]
        df = rows(ods, pl.Series("payload", payloads), id=ids, etag="7")
        names = {"payload_col": "payload", "id_col": "id", "key_col": "key"}
        return runner.batch_put_payload(df, commit=True, journal=journal, **names, **options)

    return put


def sent(ods: ScriptedOds) -> list[tuple[str, str]]:
    """Take what the server has seen since."""
    seen = [(one.method, one.body.decode()) for one in ods.paths("/data")]
    ods.requests.clear()
    return sorted(seen)


def test_what_was_put_last_is_not_put_again(ods: ScriptedOds, put: Put, journal: Path) -> None:
    first = put(A, B)
    assert sent(ods) == [("PUT", A), ("PUT", B)]
    second = put(A, B)
    assert sent(ods) == []
    assert second["attempts"].to_list() == [0, 0]
    assert second.drop("attempts").equals(first.drop("attempts"))
    assert put(B, B)["attempts"].to_list() == [1, 0]
    assert put(A, B)["attempts"].to_list() == [1, 0]
    noted = edfi.read_journal(journal)
    assert noted["method"].unique().to_list() == ["PUT"]
    assert noted["state"].unique().to_list() == ["confirmed"]


def test_a_put_in_doubt_is_put_again(ods: ScriptedOds, put: Put, journal: Path) -> None:
    ods.script = lambda request: Answer(close=True) if request.method == "PUT" else None
    assert put(A)["status"].to_list() == ["error"]
    assert edfi.read_journal(journal)["state"].to_list() == ["sent"]
    ods.script = applied
    assert put(A)["status"].to_list() == [None]
    assert put(A)["attempts"].to_list() == [0]


def test_a_stale_etag_is_refused_and_tried_again(ods: ScriptedOds, put: Put, journal: Path) -> None:
    ods.script = lambda request: (
        Answer(412, {"detail": "Changed."})
        if request.headers.get("if-match") == '"7"'
        else applied(request)
    )
    for _ in range(2):
        refused = put(A, etag_col="etag")
        assert refused.select("status", "http_status", "attempts").row(0) == ("error", 412, 1)
        assert edfi.read_journal(journal)["state"].to_list() == ["failed"]
    assert put(A)["status"].to_list() == [None]


@pytest.mark.parametrize("how", ["PUT", "DELETE"])
def test_what_was_posted_is_posted_again_after_another_write(
    ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path, how: str
) -> None:
    ods.script = applied
    df = rows(ods, pl.Series("payload", [A]), id="i0")
    shared: dict[str, Any] = {"key_col": "key", "commit": True, "journal": journal}

    def post() -> int:
        out = runner.batch_post_payload(df, payload_col="payload", **shared)
        return out["attempts"].item()  # type: ignore[no-any-return]

    assert [post(), post()] == [1, 0]
    if how == "PUT":
        other = df.with_columns(payload=pl.lit(B))
        runner.batch_put_payload(other, payload_col="payload", id_col="id", **shared)
    else:
        runner.batch_delete_by_id(df, id_col="id", **shared)
    assert [post(), post()] == [1, 0]
