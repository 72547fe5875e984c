"""The Python of the README and of the guides runs as it stands there."""

import re
import sys
from pathlib import Path
from types import ModuleType
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


def test_copies(tmp_path: Path) -> None:
    names: dict[str, Any] = {"lake": str(tmp_path)}
    found = blocks("docs/copies.md")
    for block in found:
        exec(block, names)
    assert names["report"].height == 130
    assert len(found) == 4


def test_copies_every_night(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The recipes for schedulers, with schedulers that do nothing but call them."""
    text = (ROOT / "docs/copies.md").read_text("utf-8")
    recipes = dict(re.findall(r"^```python (\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE))

    def decorator(*_: object, **__: object) -> Any:
        return lambda function: function

    class FailedError(Exception):
        def __init__(self, text: str, **_: object) -> None:
            super().__init__(text)

    airflow, sdk, dagster = (ModuleType(name) for name in ("airflow", "airflow.sdk", "dagster"))
    vars(sdk).update(dag=decorator, task=decorator)
    vars(dagster).update(
        asset=decorator,
        RetryPolicy=dict,
        AssetExecutionContext=object,
        MaterializeResult=dict,
        Failure=FailedError,
    )
    for module in (airflow, sdk, dagster):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    with edfi.Sandbox(["255901"], 20) as ods:
        districts, sync = ods.districts(), edfi.sync
        districts = districts.with_columns(pl.lit("no such token").alias("EdFi Token"))
        monkeypatch.setattr(pl, "read_database_uri", lambda *_: districts)

        def into(*args: Any, **options: Any) -> pl.DataFrame:
            return sync(*args, **(options | {"into": tmp_path}))

        monkeypatch.setattr(edfi, "sync", into)
        exec(recipes["airflow"], {"CONNECTION": "postgresql://districts"})
        names: dict[str, Any] = {"DISTRICTS": districts}
        exec(recipes["dagster"], names)
        with pytest.raises(FailedError, match="65 resources failed"):
            names["edfi_copies"](None)
    assert len(list((tmp_path / "ed-fi").iterdir())) == 65


def test_report(tmp_path: Path) -> None:
    names: dict[str, Any] = {"folder": tmp_path}
    for block in blocks("docs/report.md"):
        exec(block, names)
    assert (tmp_path / "night.html").read_text("utf-8") == names["report"].html
    assert repr(names["report"]) == "Report(130 ok, 2 error)"


def test_sending(tmp_path: Path) -> None:
    names: dict[str, Any] = {"folder": tmp_path}
    for block in blocks("docs/sending.md"):
        exec(block, names)
    assert names["plan"]["status"].unique().to_list() == ["dry_run"]
    assert names["sent"].height > 150
    assert names["failed"].height == names["again"]["attempts"].sum() == 0
    assert names["removed"]["status"].unique().to_list() == ["deleted"]


def test_preflight() -> None:
    with edfi.Sandbox(["255901", "255902"], 300) as ods:
        ods.set_claims("255902", {"ed-fi/students": ["Read"]})
        url, key, secret = ods.districts().row(0)[1:]
        runner = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        there = runner.get_all(key="a")["data"]
        assert there is not None
        # The file of tonight: three rows have changed, two are new, one is gone.
        identifier = pl.col("studentAssessmentIdentifier")
        row = pl.int_range(pl.len())
        tonight = there.drop("_unknown").with_columns(
            pl.when(row < 3).then(None).otherwise("serialNumber").alias("serialNumber"),
            pl.when(row.is_between(3, 4)).then(identifier + "-b").otherwise(identifier),
        )
        first = there.head(3)["serialNumber"].null_count()
        names: dict[str, Any] = {
            "districts": ods.districts(),
            "scores": edfi.unflatten(tonight.slice(0, 299)),
            "url": url,
            "key": key,
            "secret": secret,
        }
        for block in blocks("docs/preflight.md"):
            exec(block, names)
        assert first <= 3
        counts = dict(names["compared"]["status"].value_counts().rows())
        assert counts["new"] == 2
        assert counts["extra"] == 3
        assert counts["same"] > 290 - counts["changed"]
        assert names["removed"]["status"].to_list() == ["deleted"] * 3
        refused = names["refused"].rows()
        assert len([one for one in refused if one[0] == "255902"]) == 2
        assert names["errors"].height == 0
        assert names["sent"]["message"].unique().to_list() == ["same"]


@pytest.mark.parametrize("package", ["", "airflow.sdk", "dagster", "duckdb", "pandas"])
def test_schedulers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """The job itself, and each recipe whose package is there."""
    if package:
        pytest.importorskip(package)
    names: dict[str, Any] = {}
    first, *others = blocks("docs/schedulers.md")
    exec(first, names)
    with edfi.Sandbox(["vendor", "ods"], 40) as ods:
        (_, *own), (_, url, key, secret) = ods.districts().rows()
        client = edfi.EdFiClient(base_url=own[0], client_id=own[1], client_secret=own[2])
        roster = client.get_all(endpoint="ed-fi/students", key=1)["data"].drop("_unknown")
        names |= {"client": client, "roster": roster}
        payloads = edfi.unflatten(roster.with_columns(studentUniqueId="id"))
        payloads.write_parquet(tmp_path / "ed-fi students.parquet")
        for name, value in {"URL": url, "KEY": key, "SECRET": secret}.items():
            monkeypatch.setenv(f"ODS_{name}", value)
        monkeypatch.setenv("FOLDER", str(tmp_path))
        assert names["nightly"](str(tmp_path), url, key, secret) == roster.height
        for block in others:
            if package and block.startswith(f"# {package.partition('.')[0]}\n"):
                exec(block, names)
    if "sent" in names:
        assert names["sent"]["status"].unique().to_list() == ["dry_run"]


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


def test_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("docs/recipes.md"):
        exec(block, names)
    report = names["report"]
    assert report.columns == ["key", "path", "message", "why"]
    assert report.filter(key="a").height >= 1
    assert report.filter(key="b")["why"].item().startswith("invalid JSON")
    assert names["failed"].height == 0
    assert names["copy"].height > 0
    assert names["mine"]["District BK"].unique().to_list() == ["255902"]
    assert set(names["following"]) == {"255901", "255902"}
    assert names["back"].height == 120
