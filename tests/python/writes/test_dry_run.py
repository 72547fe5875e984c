"""Without ``commit`` nothing is sent."""

from conftest import ScriptedOds

import polars_edfi as edfi
from writes.support import frame, numbered


def test_a_dry_run_sends_nothing(ods: ScriptedOds) -> None:
    df = frame(ods, numbered(3))
    for runner in (
        edfi.StudentAssessment(),
        edfi.StudentAssessment(base_url=ods.url, client_id="key", client_secret="secret"),
    ):
        for columns in (df.columns, ["key", "payload"]):
            out = runner.batch_post_payload(
                df.select(columns), payload_col="payload", key_col="key"
            )
            assert out["status"].to_list() == ["dry_run"] * 3
            assert out["attempts"].to_list() == [0] * 3
            assert (
                out.drop("key", "status", "attempts", "row_index").null_count().row(0) == (3,) * 5
            )
            assert runner.rows is out
    assert ods.requests == []
