"""What a plan knows before it runs: symbols and types."""

import ctypes
import datetime as dt
from typing import Any

import polars as pl
import pytest
from conftest import ScriptedOds, district

import polars_edfi as edfi
from expressions.support import ENGINES
from polars_edfi import _native

WRITE = {
    "status": pl.String,
    "message": pl.String,
    "http_status": pl.Int32,
    "correlation_id": pl.String,
    "resource_id": pl.String,
}
READ = {name: dtype for name, dtype in WRITE.items() if name != "resource_id"}


def test_every_function_has_its_symbols() -> None:
    library = ctypes.CDLL(_native.__file__)
    for name in ["post_payload", "get_by_id", "get_all", "delete_by_id", "fetch_token"]:
        assert callable(getattr(edfi, name))
        assert getattr(library, f"_polars_plugin_{name}")
        assert getattr(library, f"_polars_plugin_field_{name}")


def test_types_are_known_before_any_request(ods: ScriptedOds) -> None:
    item = {"n": pl.Int64, "ref": pl.Struct({"name": pl.String}), "when": pl.Date}
    lf = district(ods).lazy().with_columns(id=pl.lit("x"), payload=pl.lit("{}"))
    where: dict[str, Any] = {"url": "targetUrl", "token": "EdFi Token"}
    planned = lf.select(
        post=edfi.post_payload("payload", **where),
        delete=edfi.delete_by_id("id", **where),
        item=edfi.get_by_id("id", **where),
        typed_item=edfi.get_by_id("id", schema=item, **where),
        all=edfi.get_all(**where),
        typed_all=edfi.get_all(schema=pl.Schema(item), **where),
        struct_all=edfi.get_all(schema=pl.Struct(item), **where),
        token=edfi.fetch_token("targetUrl", client_id="id", client_secret="payload"),
    ).collect_schema()
    assert planned == pl.Schema(
        {
            "post": pl.Struct(WRITE),
            "delete": pl.Struct(WRITE),
            "item": pl.Struct(READ | {"data": pl.String}),
            "typed_item": pl.Struct(READ | {"data": pl.Struct(item)}),
            "all": pl.Struct(READ | {"data": pl.String}),
            "typed_all": pl.Struct(READ | {"data": pl.List(pl.Struct(item))}),
            "struct_all": pl.Struct(READ | {"data": pl.List(pl.Struct(item))}),
            "token": pl.Struct(
                {
                    "token": pl.String,
                    "expires_at": pl.Datetime("us", "UTC"),
                    "status": pl.String,
                    "message": pl.String,
                }
            ),
        }
    )
    assert ods.requests == []


@pytest.mark.parametrize("engine", ENGINES)
def test_results_have_the_planned_types(ods: ScriptedOds, engine: Any) -> None:
    ods.items["x"] = (
        b'{"n": 1, "s": "text", "ref": {"name": "a", "extra": 2}, "when": "2024-02-29"}'
    )
    item = {
        "n": pl.Int32,
        "ref": pl.Struct({"name": pl.String}),
        "when": pl.Date,
        "s": pl.Categorical,
        "_unknown": pl.String,
        "none": pl.List(pl.Struct({"a": pl.Decimal(10, 2)})),
    }
    where: dict[str, Any] = {"url": "targetUrl", "token": "EdFi Token", "schema": item}
    for frame in [district(ods), district(ods).clear()]:
        lf = frame.lazy().with_columns(id=pl.lit("x"))
        lf = lf.select(
            item=edfi.get_by_id("id", **where),
            all=edfi.get_all(**where),
            text=edfi.get_by_id("id", url="targetUrl", token="EdFi Token"),
        )
        assert lf.collect(engine=engine).schema == lf.collect_schema()
    result = district(ods).with_columns(id=pl.lit("x")).select(edfi.get_by_id("id", **where))
    assert result.item()["data"] == {
        "n": 1,
        "ref": {"name": "a"},
        "when": dt.date(2024, 2, 29),
        "s": "text",
        "_unknown": '{"ref":{"extra":2}}',
        "none": None,
    }
