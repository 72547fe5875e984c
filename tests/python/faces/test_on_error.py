"""Scans of many districts in which a failed district is a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi
from polars_edfi import stubs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLIENT = edfi.EdFiClient(api_version="v3", max_retries=0, timeout=10)
SCHEMA = {"id": pl.String, "n": pl.Int64, "status": pl.String}
ABOUT = ["status", "message", "http_status", "correlation_id"]


def down_from(offset: int) -> Callable[[Request], Answer | None]:
    def script(request: Request) -> Answer | None:
        if request.path.startswith("/data") and int(request.query["offset"]) >= offset:
            return Answer(500, {"detail": "Down.", "correlationId": "c-500"})
        return None

    return script


@pytest.fixture
def districts(make_ods: Callable[..., ScriptedOds]) -> pl.DataFrame:
    good, late, down, last = make_ods(12), make_ods(40), make_ods(3), make_ods(7)
    late.script, down.script = down_from(6), down_from(0)
    return pl.concat(
        [
            district(good, "no url", targetUrl=" "),
            district(good, "good"),
            district(late, "late"),
            district(down, "down"),
            district(good, "elsewhere", targetUrl="http://127.0.0.1:1"),
            district(last, "last"),
            district(good, "last"),
        ]
    )


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("schema", [SCHEMA, "infer", "auto"])
def test_a_failed_district_is_one_row_more(
    districts: pl.DataFrame, schema: Any, workers: int
) -> None:
    lf = edfi.scan_all(
        districts, "ed-fi/students", key_col="District BK", client=CLIENT, on_error="row",
        schema=schema, limit=3, workers=workers,
    )  # fmt: skip
    assert lf.collect_schema().names()[:5] == ["District BK", *ABOUT]
    out = lf.collect()
    told = out.group_by("District BK", "status", "http_status", maintain_order=True).agg(
        pl.col("n").count()
    )
    assert told.rows() == [
        ("no url", "error", None, 0),
        ("good", None, 200, 12),
        ("late", None, 200, 7),
        ("late", "error", 500, 0),
        ("down", "error", 500, 0),
        ("elsewhere", "error", None, 0),
        ("last", None, 200, 7),
        ("last", "error", None, 0),
    ]
    failed = out.filter(status="error", http_status=500)
    assert failed["correlation_id"].to_list() == ["c-500"] * 2
    assert set(failed["message"]) == {"HTTP 500 Internal Server Error: Down."}
    assert lf.select("n").collect().equals(out.select("n"))
    where = pl.col("status") == "error"
    assert lf.filter(where).select("message").collect().equals(out.filter(where).select("message"))
    summary = edfi.summary(districts, out, key_col="District BK")
    assert summary["records"].to_list() == [0, 12, 7, 0, 0, 7]


def test_a_sink_keeps_what_the_others_gave(districts: pl.DataFrame, tmp_path: Path) -> None:
    lf = edfi.scan_all(
        districts, "ed-fi/students", key_col="District BK", client=CLIENT, on_error="row",
        schema=SCHEMA, limit=3,
    )  # fmt: skip
    lf.sink_parquet(tmp_path / "all.parquet")
    kept = pl.read_parquet(tmp_path / "all.parquet")
    assert kept["n"].count() == 26
    assert "status_record" in kept.columns


def test_a_property_keeps_beside_the_columns_of_the_call(ods: ScriptedOds) -> None:
    ods.records = [{"id": "a", "status": "mine", "message": "own"}]
    out = edfi.scan_all(
        district(ods), "ed-fi/students", key_col="District BK", client=CLIENT, on_error="row"
    ).collect()
    assert out.select("status", "status_record", "message_record").row(0) == (None, "mine", "own")


def test_wrong_calls(ods: ScriptedOds) -> None:
    df = district(ods)
    with pytest.raises(edfi.EdFiError, match="'raise', 'row'"):
        edfi.scan_all(df, key_col="District BK", on_error="rows")  # type: ignore[arg-type]
    with pytest.raises(edfi.EdFiError, match="key_col"):
        edfi.scan_all(df, key_col="message", on_error="row")
    with pytest.raises(edfi.EdFiError, match="unknown option 'on_error'"):
        edfi.scan("ed-fi/students", client=CLIENT, on_error="row")  # type: ignore[call-arg]
    assert not ods.requests


def test_stubs_declare_the_namespaces(tmp_path: Path) -> None:
    written = stubs.write(tmp_path)
    for module, namespace in [
        ("dataframe/frame", "DataFrameNamespace"),
        ("lazyframe/frame", "LazyFrameNamespace"),
        ("expr/expr", "ExprNamespace"),
    ]:
        text = (written / f"{module}.pyi").read_text("utf-8")
        assert text.count(f"    edfi: {namespace}\n") == 1
    assert stubs.write(tmp_path) == written
    (written / "polars_edfi").unlink()
    with pytest.raises(FileExistsError, match="not written by polars_edfi"):
        stubs.write(tmp_path)
