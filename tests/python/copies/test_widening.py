"""Columns that become wider, in one district after another: nothing is lost, or cut off."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

from .test_sync import FORMATS, Format

THINGS = "ed-fi/things"


class Ods:
    """Things with change versions; no metadata."""

    def __init__(self, scripted: ScriptedOds) -> None:
        self.url = scripted.url
        self.version = 1000
        self.items: dict[str, tuple[int, dict[str, Any]]] = {}
        scripted.script = self.answer
        for number in range(4):
            self.put(str(number), n=number, x=number)

    def put(self, id_: str, /, **values: Any) -> None:
        self.version += 1
        self.items[id_] = self.version, {"id": id_, "_etag": str(self.version), **values}

    def answer(self, request: Request) -> Answer | None:
        path, query = request.path, request.query
        if path.endswith("availableChangeVersions"):
            return Answer(200, {"oldestChangeVersion": 0, "newestChangeVersion": self.version})
        if path.endswith(("/deletes", "/keyChanges")):
            return Answer(200, [], {"Total-Count": "0"})
        if path.endswith(THINGS):
            low, offset = int(query.get("minChangeVersion", 0)), int(query.get("offset", 0))
            found = [record for version, record in self.items.values() if version >= low]
            part = found[offset : offset + int(query["limit"])]
            return Answer(200, part, {"Total-Count": str(len(found))})
        return Answer(404, {}) if "metadata" in path else None


def copied(into: Path, fmt: Format, district: str) -> pl.DataFrame:
    place = into / THINGS
    if fmt == "delta":
        return pl.read_delta(str(place)).filter(pl.col("D") == district)
    return pl.read_parquet(place / f"{district}.parquet")


def is_shown(value: Any, cell: Any) -> bool:
    if isinstance(cell, str) and not isinstance(value, str):
        return json.loads(cell) == value
    return cell == value


@pytest.mark.parametrize("fmt", FORMATS)
def test_what_does_not_fit_makes_columns_wider(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path, fmt: Format
) -> None:
    odss = {name: Ods(make_ods()) for name in "ab"}
    districts = pl.DataFrame({"D": list("ab"), "targetUrl": [ods.url for ods in odss.values()]})
    districts = districts.with_columns(v=pl.lit("v3"), **{"EdFi Token": pl.lit("token")})
    for district, id_, values in [
        (None, "", {}),
        ("b", "2", {"n": 1.5}),
        ("a", "1", {"x": "text", "n": 2}),
        ("b", "0", {"n": 1 << 60}),
        ("a", "3", {"s": {"p": 1}, "l": [{"k": 1}]}),
        ("b", "3", {"s": {"p": 1.5, "q": "r"}, "l": []}),
        ("a", "2", {"s": "plain", "l": [{"k": "v", "m": [1]}]}),
        ("b", "4", {"odd, {name}": True, "x": None}),
    ]:
        if district:
            odss[district].put(id_, **values)
        report = edfi.sync(
            districts, THINGS, into=tmp_path, format=fmt, key_col="D", api_version_col="v"
        )
        assert report["message"].to_list() == [None, None]
        assert report["repaired"].to_list() == [0, 0]
        for name, ods in odss.items():
            rows = {row["id"]: row for row in copied(tmp_path, fmt, name).iter_rows(named=True)}
            assert set(rows) == set(ods.items)
            for own, (_, record) in ods.items.items():
                for field, value in record.items():
                    if isinstance(value, str | int | float):
                        assert is_shown(value, rows[own][field]), (name, own, field)


@pytest.mark.parametrize("fmt", FORMATS)
def test_what_a_table_cannot_hold_fails_no_other_resource(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path, fmt: Format
) -> None:
    """Delta knows names in one case only."""
    ods = Ods(make_ods())
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    edfi.sync(client, [THINGS, f"x/{THINGS[6:]}"], into=tmp_path, format=fmt)
    ods.put("9", City="a", city="b")
    report = edfi.sync(client, [THINGS, "ed-fi/nothings"], into=tmp_path, format=fmt)
    assert report["endpoint"].to_list() == [THINGS, "ed-fi/nothings"]
    assert report["status"][0] == ("error" if fmt == "delta" else None)
