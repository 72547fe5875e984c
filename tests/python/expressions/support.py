"""Frames and expressions for the tests of the plugin."""

import json
from typing import Any

import polars as pl
from conftest import ScriptedOds

import polars_edfi as edfi

ENGINES = ["in-memory", "streaming"]


def payloads(ods: ScriptedOds, rows: int = 200) -> pl.DataFrame:
    """Rows that bring everything."""
    return pl.DataFrame(
        {
            "n": range(rows),
            "payload": [json.dumps({"n": n}) for n in range(rows)],
            "targetUrl": ods.url,
            "EdFi Token": "token",
        }
    )


def post(**more: Any) -> pl.Expr:
    call = edfi.post_payload("payload", url="targetUrl", token="EdFi Token", commit=True, **more)
    return call.alias("result")


def get(**more: Any) -> pl.Expr:
    return edfi.get_by_id("id", url="targetUrl", token="EdFi Token", **more).alias("result")


def sent(ods: ScriptedOds) -> list[int]:
    """Which rows were posted."""
    posted = [request for request in ods.requests if request.method == "POST"]
    return sorted(json.loads(request.body)["n"] for request in posted)


def ids(ods: ScriptedOds, rows: int = 200) -> pl.DataFrame:
    """Rows whose items are there."""
    for n in range(rows):
        ods.items[f"{n:032x}"] = json.dumps(
            {"id": f"{n:032x}", "n": n, "ref": {"name": f"r{n}", "deep": {"x": [n]}}}
        ).encode()
    return pl.DataFrame(
        {
            "n": range(rows),
            "id": [f"{n:032x}" for n in range(rows)],
            "targetUrl": ods.url,
            "EdFi Token": "token",
        }
    )


def chunked(df: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([df[i : i + 10] for i in range(0, df.height, 10)], rechunk=False)
