"""Connections that are kept from call to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import Answer, Request, ScriptedOds, district

if TYPE_CHECKING:
    import polars_edfi as edfi


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_connection_closed_between_calls_is_not_used(
    ods: ScriptedOds, runner: edfi.StudentAssessment, method: str
) -> None:
    def closing(request: Request) -> Answer | None:
        # Without a word in the headers, as a server that is tired of waiting.
        return Answer(204, b"", cut=0) if request.method == method else None

    ods.script = closing
    df = district(ods, payload="{}", id="a")
    for _ in range(50):
        if method == "POST":
            out = runner.batch_post_payload(
                df, payload_col="payload", key_col="District BK", commit=True
            )
        else:
            out = runner.batch_delete_by_id(df, id_col="id", key_col="District BK", commit=True)
        assert out["message"].to_list() == [None]
        assert ods.closed.acquire(timeout=10)
    assert len(ods.requests) == 50


def test_a_connection_serves_call_after_call(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    for _ in range(5):
        runner.batch_get_by_id(district(ods, id="a"), id_col="id")
    assert len({request.port for request in ods.requests}) == 1
