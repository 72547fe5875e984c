"""Frames of payloads, and how the tests of writes post them."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
from conftest import Request, ScriptedOds, rows

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]


def frame(ods: ScriptedOds, payloads: Any, **columns: object) -> pl.DataFrame:
    """One row per payload, all for one district."""
    return rows(ods, pl.Series("payload", payloads), **columns)


def post(
    runner: edfi.EdFiClient, df: pl.DataFrame, *, commit: bool = True, **arguments: Any
) -> pl.DataFrame:
    """Post with the columns' usual names."""
    names = {"payload_col": "payload", "key_col": "key"}
    return runner.batch_post_payload(df, **(names | {"commit": commit} | arguments))


def bodies(ods: ScriptedOds) -> list[bytes]:
    return [request.body for request in ods.paths() if request.method == "POST"]


def numbered(count: int) -> list[str]:
    return [f'{{"n": {n}}}' for n in range(count)]


def number(request: Request) -> int:
    return int(json.loads(request.body)["n"])
