"""Wrong arguments raise before anything is sent."""

import math
from typing import Any

import polars as pl
import pytest
from conftest import ScriptedOds, rows
from polars.exceptions import ColumnNotFoundError, SchemaError

import polars_edfi as edfi
from writes.support import frame, numbered, post


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ColumnNotFoundError, {"payload_col": "nope"}),
        (ColumnNotFoundError, {"key_col": "nope"}),
        (ColumnNotFoundError, {"row_id_col": "nope"}),
        (ColumnNotFoundError, {"order_by_col": "nope"}),
        (ColumnNotFoundError, {"status_col": "nope"}),
        (ColumnNotFoundError, {"url_col": "nope"}),
        (ColumnNotFoundError, {"token_col": "nope"}),
        (ColumnNotFoundError, {"api_version_col": "nope"}),
        (ColumnNotFoundError, {"auth_key_col": "nope"}),
        (ColumnNotFoundError, {"auth_secret_col": "nope"}),
        (ColumnNotFoundError, {"expires_col": "nope"}),
        (SchemaError, {"payload_col": "key"}),
        (SchemaError, {"payload_col": "list"}),
        (SchemaError, {"key_col": "list"}),
        (SchemaError, {"order_by_col": "list"}),
        (SchemaError, {"status_col": "key"}),
        (SchemaError, {"url_col": "key"}),
        (SchemaError, {"token_col": "key"}),
        (SchemaError, {"expires_col": "list"}),
        (edfi.EdFiError, {"retry_statuses": {401}}),
        (edfi.EdFiError, {"retry_statuses": [500, 401]}),
        (edfi.EdFiError, {"retry_statuses": 500}),
        (edfi.EdFiError, {"retry_statuses": [-1]}),
        (edfi.EdFiError, {"retry_statuses": ["500"]}),
        (edfi.EdFiError, {"retry_messages": [1]}),
        (edfi.EdFiError, {"max_retries": -1}),
        (edfi.EdFiError, {"max_retries": 1.5}),
        (edfi.EdFiError, {"max_retries": math.nan}),
        (edfi.EdFiError, {"retry_backoff": -0.1}),
        (edfi.EdFiError, {"retry_backoff": math.nan}),
        (edfi.EdFiError, {"retry_backoff": "1"}),
        (edfi.EdFiError, {"refresh_cooldown": -1}),
        (edfi.EdFiError, {"refresh_cooldown": math.nan}),
        (edfi.EdFiError, {"allow_statuses": [409]}),
        (edfi.EdFiError, {"allow_statuses": {409: 1}}),
        (edfi.EdFiError, {"workers": 0}),
        (edfi.EdFiError, {"workers": -3}),
        (edfi.EdFiError, {"endpoint": ""}),
        (edfi.EdFiError, {"endpoint": "ed-fi/../x"}),
        (edfi.EdFiError, {"endpoint": "ed-fi/students?x=1"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)
def test_wrong_arguments_raise_before_anything_is_sent(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    error: type[Exception],
    arguments: dict[str, Any],
    commit: bool,
) -> None:
    df = frame(ods, numbered(3)).with_columns(list=pl.lit([1]), payload_2="payload")
    with pytest.raises(error):
        post(runner, df, commit=commit, **arguments)
    assert ods.requests == []
    assert runner.rows is None


@pytest.mark.parametrize(
    "not_a_frame",
    [None, [{"payload": "{}"}], pl.LazyFrame({"payload": [1]}), pl.Series("payload", ["{}"])],
)
def test_what_is_not_a_frame(runner: edfi.StudentAssessment, not_a_frame: Any) -> None:
    with pytest.raises(TypeError, match="DataFrame"):
        post(runner, not_a_frame)


def test_a_batch_without_url_or_credentials(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    for name in ("targetUrl", "EdFi Token"):
        with pytest.raises(ColumnNotFoundError, match=name):
            post(runner, frame(ods, ["{}"]).drop(name))
    assert ods.requests == []


@pytest.mark.parametrize(
    "arguments",
    [{"workers": 2**61}, {"refresh_cooldown": 1e19}, {"max_retries": 2**32 - 1}],
    ids=str,
)
def test_no_argument_sizes_anything(ods: ScriptedOds, arguments: dict[str, Any]) -> None:
    runner = edfi.StudentAssessment(api_version="v3", timeout=1e19, connect_timeout=1e19)
    out = post(runner, frame(ods, numbered(3)), **arguments)
    assert out["status"].null_count() == 3


def test_a_key_that_is_no_text_is_a_schema_error(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    df = rows(ods, pl.Series("payload", ["{}"])).with_columns(key=pl.duration(days=1))
    with pytest.raises(SchemaError, match=r"key.* holds duration.*; a key is a text"):
        runner.batch_post_payload(df, payload_col="payload", key_col="key", commit=True)
    assert ods.requests == []
