"""Frames of ids, and how the tests of items read and delete them."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
from conftest import ScriptedOds, rows

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
ANSWER = {
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
}
PLACE = {"row_index": pl.get_index_type(), "row_id": pl.String}
READ = {"id": pl.String} | ANSWER | PLACE
DELETED = {"id": pl.String, "key": pl.Int64} | ANSWER | PLACE


def frame(ods: ScriptedOds, ids: Any, **columns: object) -> pl.DataFrame:
    """One row per id, all for one district."""
    return rows(ods, pl.Series("id", ids), **columns)


def read(runner: edfi.EdFiClient, df: pl.DataFrame, **arguments: Any) -> pl.DataFrame:
    return runner.batch_get_by_id(df, **({"id_col": "id"} | arguments))


def delete(
    runner: edfi.EdFiClient, df: pl.DataFrame, *, commit: bool = True, **arguments: Any
) -> pl.DataFrame:
    names = {"id_col": "id", "key_col": "key"}
    return runner.batch_delete_by_id(df, **(names | {"commit": commit} | arguments))


def hold(ods: ScriptedOds, *items: dict[str, Any]) -> None:
    ods.items = {item["id"]: json.dumps(item).encode() for item in items}


def single(ods: ScriptedOds) -> edfi.StudentAssessment:
    return edfi.StudentAssessment(
        base_url=ods.url, bearer_token="token", api_version="v3", max_retries=1, timeout=10
    )
