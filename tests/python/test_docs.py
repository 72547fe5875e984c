"""The Python of the README and of the guides runs as it stands there."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi

ROOT = Path(__file__).parents[2]


def blocks(name: str) -> list[str]:
    """The blocks of Python in a document."""
    text = (ROOT / name).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_from_row_dicts() -> None:
    names: dict[str, Any] = {}
    found = blocks("docs/from_row_dicts.md")
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
    for block in blocks("docs/incremental.md")[1:]:
        exec(block, names)
    assert names["timetable"]["period"].to_list() == ["2", "5"]
    assert json.loads((tmp_path / "state.json").read_text())["since"] > 1


def test_sending(tmp_path: Path) -> None:
    names: dict[str, Any] = {"folder": tmp_path}
    for block in blocks("docs/sending.md"):
        exec(block, names)
    assert names["plan"]["status"].unique().to_list() == ["dry_run"]
    assert names["sent"].height > 150
    assert names["failed"].height == names["again"]["attempts"].sum() == 0
    assert names["removed"]["status"].unique().to_list() == ["deleted"]


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with edfi.Sandbox(["255901"], 20) as ods:
        url, key, secret = ods.districts().row(0)[1:]
        own: dict[str, Any] = {"base_url": url, "client_id": key, "client_secret": secret}
        assessments, students = (
            edfi.StudentAssessment(**own),
            edfi.Resource("ed-fi/students", **own),
        )
        taken = assessments.get_all(key="a")["data"], students.get_all(key="a")["data"]
        flat = taken[1].with_columns(pl.col("studentUniqueId").alias("Student BK"))
        names: dict[str, Any] = {
            "districts": ods.districts(),
            "scores": edfi.unflatten(taken[0]).with_columns(
                pl.lit("a").alias("Student BK"),
                pl.lit(url).alias("targetUrl"),
                pl.lit(assessments.fetch_token()["token"]).alias("EdFi Token"),
            ),
            "flat": flat,
            "ids": flat.select("id", pl.lit("Ninth grade").alias("grade")),
            "url": url,
            "key": key,
            "secret": secret,
        }

        def run(block: str) -> None:
            block = block.replace("https://ods.example.org/api", url)
            block = block.replace('client_id="..."', f'client_id="{key}"')
            exec(block.replace('client_secret="..."', f'client_secret="{secret}"'), names)

        first, quick_start, *others = blocks("README.md")
        run(first)
        assert names["records"].height == names["results"].height == 20
        assert names["results"]["message"].drop_nulls().to_list() == []
        districts = names["districts"]

        run(quick_start)
        assert names["records"].height == names["summary"]["records"].sum() == 3600
        assert names["scores"].height > 3600

        # The sandbox of the quick start is gone, and its districts with it.
        names["districts"] = districts
        for block in others:
            run(block)
        assert names["failed"].height == 0
        assert names["students"]["studentUniqueId"].equals(flat["studentUniqueId"])
        assert names["rosters"].height == flat.height
        assert names["results"]["message"].drop_nulls().to_list() == []
