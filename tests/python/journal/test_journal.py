"""Journals: what was confirmed is not sent again, and nothing else is left out."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, ScriptedOds, rows

import polars_edfi as edfi

if TYPE_CHECKING:
    from pathlib import Path

DELETE = "DELETE"
A, B, C = ('{"n": "a"}', '{"n": "b"}', '{"n": "c"}')


class Caller:
    """One runner, one journal, one server."""

    def __init__(self, ods: ScriptedOds, runner: edfi.StudentAssessment, journal: Path) -> None:
        self.ods = ods
        self.runner = runner
        self.journal = journal

    def post(self, *payloads: str, **options: Any) -> pl.DataFrame:
        """Post one item for each payload, with its place as its key."""
        df = rows(self.ods, pl.Series("payload", payloads, dtype=pl.String))
        return self.post_rows(df, **options)

    def post_rows(self, df: pl.DataFrame, **options: Any) -> pl.DataFrame:
        return self.runner.batch_post_payload(
            df,
            **{
                "payload_col": "payload",
                "key_col": "key",
                "commit": True,
                "journal": self.journal,
            }
            | options,
        )

    def delete(self, *ids: str, **options: Any) -> pl.DataFrame:
        return self.runner.batch_delete_by_id(
            rows(self.ods, pl.Series("id", ids)),
            **{"id_col": "id", "key_col": "key", "commit": True, "journal": self.journal} | options,
        )

    def sent(self) -> list[str]:
        """Take what the server has seen since."""
        seen = [one.body.decode() or one.method for one in self.ods.paths()]
        self.ods.requests.clear()
        return sorted(seen)

    def states(self) -> list[str]:
        return edfi.read_journal(self.journal)["state"].to_list()


@pytest.fixture
def caller(ods: ScriptedOds, runner: edfi.StudentAssessment, tmp_path: Path) -> Caller:
    return Caller(ods, runner, tmp_path / "run.edfi")


def test_what_was_confirmed_comes_back_and_is_not_sent_again(caller: Caller) -> None:
    first = caller.post(A, B, C)
    assert caller.sent() == [A, B, C]
    assert first["attempts"].to_list() == [1, 1, 1]
    second = caller.post(A, B, C)
    assert caller.sent() == []
    assert second["attempts"].to_list() == [0, 0, 0]
    assert second.drop("attempts").equals(first.drop("attempts"))
    assert second["resource_id"].null_count() == 0


def test_the_file_is_its_owners_alone_and_holds_no_payload_or_token(caller: Caller) -> None:
    caller.post('{"n": "a payload to look for"}')
    assert stat.S_IMODE(caller.journal.stat().st_mode) == 0o600
    assert [path.name for path in caller.journal.parent.iterdir()] == ["run.edfi"]
    content = caller.journal.read_bytes()
    assert b"studentAssessments" in content
    assert b"to look for" not in content
    assert b"token" not in content


def test_what_read_journal_tells(caller: Caller) -> None:
    caller.ods.script = lambda request: (
        Answer(400, {"detail": "Not so.", "correlationId": "c-1"})
        if request.body == b'{"n": "b"}'
        else None
    )
    caller.post(A, B)
    caller.delete("0a13ceb8")
    told = edfi.read_journal(str(caller.journal)).sort("method", "key")
    assert dict(told.schema) == {
        "endpoint": pl.String,
        "method": pl.String,
        "key": pl.String,
        "digest": pl.String,
        "state": pl.String,
        "http_status": pl.Int32,
        "message": pl.String,
        "correlation_id": pl.String,
        "resource_id": pl.String,
        "attempts": pl.UInt32,
        "at": pl.Datetime("us", "UTC"),
    }
    assert told.drop("digest", "at", "resource_id").rows() == [
        ("ed-fi/studentAssessments", "DELETE", "0", "failed", 404,
         "HTTP 404 Not Found: No such item.", "c-404", 1),
        ("ed-fi/studentAssessments", "POST", "0", "confirmed", 201, None, None, 1),
        ("ed-fi/studentAssessments", "POST", "1", "failed", 400,
         "HTTP 400 Bad Request: Not so.", "c-1", 1),
    ]  # fmt: skip
    assert told["resource_id"][0] == "0a13ceb8"
    assert told["digest"].str.len_chars().unique().to_list() == [32]


def test_what_failed_is_sent_again_whatever_it_is_called(caller: Caller) -> None:
    caller.ods.script = lambda _: Answer(409)
    allowed = {"allow_statuses": {409: None}}
    assert caller.post(A, B, **allowed)["status"].to_list() == [None, None]
    assert caller.states() == ["failed", "failed"]
    caller.sent()
    caller.ods.script = None
    assert caller.post(A, B, **allowed)["attempts"].to_list() == [1, 1]
    assert caller.sent() == [A, B]
    assert caller.post(A, B, **allowed)["attempts"].to_list() == [0, 0]


def test_the_last_payload_counts(caller: Caller) -> None:
    for payload in (A, B, A):
        assert caller.post(payload)["attempts"].to_list() == [1]
        assert caller.post(payload)["attempts"].to_list() == [0]
        assert caller.sent() == [payload]


def test_a_payload_that_was_refused_changes_nothing(caller: Caller) -> None:
    caller.post(A)
    caller.ods.script = lambda request: Answer(400) if request.body == B.encode() else None
    for _ in range(2):
        assert caller.post(B)["status"].to_list() == ["error"]
    caller.sent()
    assert caller.post(A)["attempts"].to_list() == [0]


@pytest.mark.parametrize("answer", [Answer(close=True), Answer(504), Answer(200, "<html>")])
def test_a_payload_that_may_have_been_applied_changes_the_item(
    caller: Caller, answer: Answer
) -> None:
    caller.post(A)
    caller.ods.script = lambda request: answer if request.body == B.encode() else None
    caller.post(B)
    assert caller.post(A)["attempts"].to_list() == [1]


def test_a_delete_in_between_is_noticed(caller: Caller) -> None:
    resource_id = caller.post(A)["resource_id"].item()
    assert caller.delete(resource_id)["status"].to_list() == ["deleted"]
    assert caller.post(A)["http_status"].to_list() == [201]
    # The server gives the same id again: what was deleted is there.
    assert caller.sent() == [DELETE, A, A]
    assert caller.delete(resource_id)["status"].to_list() == ["deleted"]
    again = caller.delete(resource_id)
    assert caller.sent() == [DELETE]
    assert again["status"].to_list() == ["deleted"]
    assert again["http_status"].to_list() == [204]


def test_a_row_in_doubt_is_sent_again_only_where_that_is_wanted(caller: Caller) -> None:
    caller.ods.script = lambda request: Answer(close=True) if request.method == "POST" else None
    first = caller.post(A)
    assert "may have been applied" in first["message"].item()
    assert caller.states() == ["sent"]
    caller.ods.script = None
    caller.sent()
    second = caller.post(A)
    assert second["status"].to_list() == ["error"]
    assert second["attempts"].to_list() == [0]
    assert second["message"].item() == (
        "it was sent before, and the journal has no answer to it; it may have been applied "
        "(retry_broken=True sends it again)"
    )
    assert caller.sent() == []
    assert caller.post(A, retry_broken=True)["status"].to_list() == [None]
    assert caller.sent() == [A]
    assert caller.post(A)["attempts"].to_list() == [0]


def test_a_delete_in_doubt_is_always_sent_again(caller: Caller) -> None:
    resource_id = caller.post(A)["resource_id"].item()
    caller.ods.script = lambda request: Answer(close=True) if request.method == DELETE else None
    assert caller.delete(resource_id)["status"].to_list() == ["error"]
    assert caller.states() == ["confirmed", "sent"]
    caller.ods.script = None
    assert caller.delete(resource_id)["status"].to_list() == ["deleted"]


def test_equal_rows_are_sent_once(caller: Caller) -> None:
    payloads = [A, B, A, A]
    df = rows(caller.ods, pl.Series("payload", payloads)).with_columns(key=pl.col("payload"))
    result = caller.post_rows(df)
    assert caller.sent() == [A, B]
    assert result["status"].null_count() == 4
    assert result["resource_id"].n_unique() == 2
    assert result["attempts"].sum() == 2
    caller.ods.script = lambda _: Answer(400)
    df = df.with_columns(pl.col("payload").str.replace("n", "m"))
    assert caller.post_rows(df)["http_status"].to_list() == [400] * 4
    assert len(caller.sent()) == 2


def test_a_key_must_be_unique_where_nothing_else_tells_items_apart(caller: Caller) -> None:
    df = rows(caller.ods, pl.Series("payload", [A, B, C])).with_columns(key=pl.lit("x"))
    with pytest.raises(edfi.EdFiError, match="rows 0 and 1 have the same key_col and different"):
        caller.post_rows(df)
    assert caller.sent() == []
    keyless = caller.post_rows(df.with_columns(key=pl.Series([None, "", "x"])))
    assert keyless["status"].to_list() == ["error", "error", None]
    assert "has no key" in keyless["message"][0]
    assert caller.sent() == [C]


def test_what_is_old_is_sent_again(caller: Caller) -> None:
    caller.post(A)
    caller.sent()
    assert caller.post(A, resend_after=timedelta(days=30))["attempts"].to_list() == [0]
    assert caller.post(A, resend_after=timedelta(0))["attempts"].to_list() == [1]
    assert caller.post(A, resend_after=0.0)["attempts"].to_list() == [1]
    for wrong in (timedelta(days=-1), float("nan"), "a month"):
        with pytest.raises(edfi.EdFiError, match="resend_after must be"):
            caller.post(A, resend_after=wrong)


def test_what_was_not_sent_leaves_the_journal_as_it_was(caller: Caller) -> None:
    caller.post(A)
    caller.ods.script = lambda _: Answer(close=True)
    caller.post(B)
    # Nobody listens any more.
    caller.ods.stop()
    result = caller.post(B, retry_broken=True)
    assert result["status"].to_list() == ["error"]
    assert result["attempts"].to_list() == [0]
    assert caller.states() == ["confirmed", "sent"]


def test_other_servers_and_other_resources_are_others(
    caller: Caller, make_ods: Any, runner: edfi.StudentAssessment
) -> None:
    other = make_ods()
    caller.post(A)
    assert Caller(other, runner, caller.journal).post(A)["attempts"].to_list() == [1]
    assert caller.post(A, endpoint="ed-fi/students")["attempts"].to_list() == [1]
    assert caller.post(A)["attempts"].to_list() == [0]


def test_a_dry_run_knows_no_journal(caller: Caller) -> None:
    assert caller.post(A, commit=False)["status"].to_list() == ["dry_run"]
    assert not caller.journal.exists()


def test_sinks_go_on(caller: Caller) -> None:
    df = rows(caller.ods, pl.Series("payload", [json.dumps({"n": n}) for n in range(80)]))
    arguments: dict[str, Any] = {
        "client": caller.runner, "payload_col": "payload", "key_col": "key",
        "commit": True, "journal": caller.journal, "workers": 32,
    }  # fmt: skip
    part = df.head(50).lazy().edfi.sink_post_payload(**arguments)  # type: ignore[attr-defined]
    assert part["attempts"].sum() == 50
    both = df.head(80).lazy().edfi.sink_post_payload(**arguments)  # type: ignore[attr-defined]
    assert both["attempts"].to_list() == [0] * 50 + [1] * 30
    ids = both.select(id="resource_id", key="key").with_columns(
        pl.lit(caller.ods.url).alias("targetUrl"), pl.lit("token").alias("EdFi Token")
    )
    arguments = {"client": caller.runner, "id_col": "id", "key_col": "key", "commit": True,
                 "journal": caller.journal}  # fmt: skip
    for _ in range(2):
        gone = ids.lazy().edfi.sink_delete_by_id(**arguments)  # type: ignore[attr-defined]
        assert gone["status"].to_list() == ["deleted"] * 80
    assert sum(one.method == DELETE for one in caller.ods.requests) == 80
