"""The Python of the guides in ``docs`` runs as it stands there."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl

import polars_edfi as edfi

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str) -> list[str]:
    """The blocks of Python in a guide."""
    text = (DOCS / name).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_from_row_dicts() -> None:
    names: dict[str, Any] = {}
    found = blocks("from_row_dicts.md")
    for block in found:
        exec(block, names)
    assert names["expanded"].height == names["records"].height == 120
    assert len(found) == 8


def test_incremental(tmp_path: Path) -> None:
    periods = {"oldKeyValues.classPeriodName": ["1"], "newKeyValues.classPeriodName": ["2"]}
    renamed = edfi.Changes(pl.DataFrame(), pl.DataFrame(), pl.DataFrame(periods), 1)
    names: dict[str, Any] = {
        "folder": tmp_path,
        "pl": pl,
        "changes": renamed,
        "timetable": pl.DataFrame({"period": ["1", "5"]}),
    }
    for block in blocks("incremental.md")[1:]:
        exec(block, names)
    assert names["timetable"]["period"].to_list() == ["2", "5"]
    assert json.loads((tmp_path / "state.json").read_text())["since"] > 1
