"""Without ``commit`` nothing is sent."""

import polars as pl
import pytest
from conftest import ScriptedOds

import polars_edfi as edfi
from writes.support import frame, numbered, post


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


@pytest.mark.parametrize(
    ("payload", "columns"),
    [
        ('{"n": 1', {}),
        ("[1]", {}),
        (" ", {}),
        (None, {}),
        ({"n": float("nan")}, {}),
        ({"n": 1.0}, {"targetUrl": None}),
        ({"n": 1.0}, {"targetUrl": "ftp://ods"}),
        ({"n": 1.0}, {"EdFi Token": " "}),
    ],
)
def test_a_row_that_is_wrong_here_already_says_so(
    ods: ScriptedOds, payload: object, columns: dict[str, str | None]
) -> None:
    fine = {"n": 1.0} if isinstance(payload, dict) else "{}"
    df = frame(ods, [fine, payload])
    for name, cell in columns.items():
        last = pl.int_range(pl.len()) == 1
        df = df.with_columns(pl.when(last).then(pl.lit(cell)).otherwise(name).alias(name))
    runner = edfi.StudentAssessment(api_version="v3")
    dry = post(runner, df, commit=False)
    assert dry["status"].to_list() == ["dry_run", "error"]
    assert dry["attempts"].to_list() == [0, 0]
    assert ods.requests == []
    assert dry["message"][1] == post(runner, df)["message"][1]
