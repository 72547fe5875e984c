"""The Python of the README and of every page of the site runs as it stands there."""

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "tools"))

import blocks  # noqa: E402 - the tools of the site are no package
import pages  # noqa: E402


@pytest.mark.parametrize("page", blocks.pages())
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert blocks.unmarked((ROOT / page).read_text("utf-8")) == []
    shown = blocks.run(page)
    if missing := {output["missing"] for output in shown if output and "missing" in output}:
        pytest.skip(f"all blocks ran but those that need {', '.join(sorted(missing))}")


def test_code_that_nothing_runs_is_found() -> None:
    fences = ["python\n1", "\nwhat is it?", "py\n2", 'py title="theirs"\n3']
    page = "".join(f"```{fence}\n```\n\n" for fence in fences)
    assert [block.split("\n")[0] for block in blocks.unmarked(page)] == [
        "```: ['what is it?']",
        "```py: ['2']",
    ]


def test_an_asset_fails_with_its_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe for Dagster, where no token is taken."""
    text = (ROOT / "docs/copies.md").read_text("utf-8")
    (recipe,) = (block.code for block in blocks.blocks(text) if block.title == "Dagster")
    sync = edfi.sync
    with edfi.Sandbox(["255901"], 20) as ods, pages.schedulers_that_call():
        districts = ods.districts().with_columns(pl.lit("no such token").alias("EdFi Token"))

        def into(*args: Any, **options: Any) -> pl.DataFrame:
            return sync(*args, **(options | {"into": tmp_path}))

        monkeypatch.setattr(edfi, "sync", into)
        names: dict[str, Any] = {"DISTRICTS": districts}
        exec(recipe, names)
        with pytest.raises(sys.modules["dagster"].Failure, match="65 resources failed"):
            names["edfi_copies"](None)
    assert not list(tmp_path.rglob("*.parquet"))
