"""What pages need before their first block, and what must hold after their last one.

A page that is not here starts with nothing, as a reader does; where it writes of an ODS that does
not exist, there is a sandbox.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import polars as pl

import polars_edfi as edfi

Names = dict[str, Any]
Page = Callable[[Names, dict[str, str]], Iterator[None]]
PAGES: dict[str, Page] = {}


@contextlib.contextmanager
def prepared(page: str) -> Iterator[tuple[Names, dict[str, str]]]:
    """Give the names that a page starts with, and what its code has in place of made-up words."""
    names: Names = {}
    replace: dict[str, str] = {}
    if page not in PAGES:
        with one_ods({}, replace):
            yield names, replace
        return
    with contextlib.contextmanager(PAGES[page])(names, replace):
        yield names, replace


def needs(page: str) -> Callable[[Page], Page]:
    """Register what a page needs."""

    def register(function: Page) -> Page:
        PAGES[page] = function
        return function

    return register


@contextlib.contextmanager
def one_ods(names: Names, replace: dict[str, str], records: int = 20) -> Iterator[edfi.Sandbox]:
    """Let ``https://ods.example.org/api`` be a sandbox, and its key and secret be right."""
    with edfi.Sandbox(["255901"], records) as ods:
        url, key, secret = ods.districts().row(0)[1:]
        replace |= {
            "https://ods.example.org/api": url,
            'client_id="..."': f'client_id="{key}"',
            'client_secret="..."': f'client_secret="{secret}"',
        }
        names |= {"pl": pl, "edfi": edfi, "url": url, "key": key, "secret": secret}
        names["districts"] = ods.districts()
        yield ods


def of_one_ods(names: Names, records: int = 20) -> Iterator[None]:
    """Start with a client of one ODS, and scores that it takes."""
    with one_ods(names, {}, records):
        own = {
            "base_url": names["url"],
            "client_id": names["key"],
            "client_secret": names["secret"],
        }
        names["client"] = names["runner"] = edfi.StudentAssessment(**own)
        taken = names["runner"].get_all(key="a")["data"]
        names["scores"] = edfi.unflatten(taken).with_columns(
            pl.col("payload").struct.field("studentAssessmentIdentifier").alias("Student BK")
        )
        yield


@needs("docs/async.md")
def asynchronous(names: Names, _: dict[str, str]) -> Iterator[None]:
    yield from of_one_ods(names)
    assert names["students"]["data"].height > 0
    assert names["results"]["http_status"].to_list() == [200] * 20


@needs("docs/journals.md")
def journals(names: Names, _: dict[str, str]) -> Iterator[None]:
    yield from of_one_ods(names)
    assert names["again"]["attempts"].sum() == 0


@needs("docs/databases.md")
def databases(names: Names, _: dict[str, str]) -> Iterator[None]:
    yield from of_one_ods(names)
    assert {"", "scoreResults"} <= set(names["found"])
    with contextlib.closing(sqlite3.connect("ods.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM scoreResults").fetchone()[0] > 0
    assert pl.read_csv("students.csv").height > 0


@needs("docs/copies.md")
def copies(names: Names, _: dict[str, str]) -> Iterator[None]:
    """Schedulers do nothing but call the recipes, into a folder of this machine."""
    names["lake"] = "lake"
    with (
        schedulers_that_call(),
        edfi.Sandbox(["255901"], 20) as ods,
        mock.patch.object(edfi, "sync", into_a_folder(edfi.sync)),
        mock.patch.object(pl, "read_database_uri", return_value=ods.districts()),
    ):
        tokens = edfi.EdFiClient().batch_fetch_tokens(
            ods.districts(), oauth_endpoint="oauth/token", account_col="District BK"
        )
        names |= {
            "CONNECTION": "postgresql://districts",
            "DISTRICTS": ods.districts().hstack([tokens["EdFi Token"]]),
        }
        yield
        names["edfi_copies"](None)
    assert names["report"].height == 130
    assert names["sent"]["http_status"].drop_nulls().unique().to_list() == [200]
    assert names["sent"]["message"].drop_nulls().unique().to_list() in ([], ["same"])


def into_a_folder(sync: Callable[..., pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    """Make a folder of the bucket that recipes name."""

    def copied(*args: Any, into: str, **options: Any) -> pl.DataFrame:
        return sync(*args, into=into.replace("s3://lake", "s3"), **options)

    return copied


@contextlib.contextmanager
def schedulers_that_call() -> Iterator[None]:
    """Stand in for Airflow and Dagster where they are not installed."""

    def decorator(*given: Any, **_: object) -> Any:
        return given[0] if given and callable(given[0]) else lambda function: function

    class FailedError(Exception):
        def __init__(self, text: str, **_: object) -> None:
            super().__init__(text)

    class Run:
        def __init__(self, partition_key: str) -> None:
            self.partition_key = partition_key

    airflow, sdk, dagster = (ModuleType(name) for name in ("airflow", "airflow.sdk", "dagster"))
    vars(sdk).update(dag=decorator, task=decorator)
    vars(dagster).update(
        asset=decorator,
        RetryPolicy=dict,
        AssetExecutionContext=object,
        MaterializeResult=dict,
        Failure=FailedError,
        materialize=lambda assets, **run: [asset(*map(Run, run.values())) for asset in assets],
        StaticPartitionsDefinition=list,
        AssetsDefinition=object,
    )
    modules = {module.__name__: module for module in (airflow, sdk, dagster)}
    with mock.patch.dict(sys.modules, modules):
        yield


@needs("docs/report.md")
def report(names: Names, _: dict[str, str]) -> Iterator[None]:
    names["folder"] = Path()
    yield
    assert Path("night.html").read_text("utf-8") == names["report"].html
    assert repr(names["report"]) == "Report(130 ok, 2 error)"


@needs("docs/sending.md")
def sending(names: Names, _: dict[str, str]) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        names["folder"] = folder
        yield
    assert names["plan"]["status"].unique().to_list() == ["dry_run"]
    assert names["sent"].height > 150
    assert names["failed"].height == names["again"]["attempts"].sum() == 0
    assert names["removed"]["status"].unique().to_list() == ["deleted"]


@needs("docs/preflight.md")
def preflight(names: Names, _: dict[str, str]) -> Iterator[None]:
    with edfi.Sandbox(["255901", "255902"], 300) as ods:
        ods.set_claims("255902", {"ed-fi/students": ["Read"]})
        url, key, secret = ods.districts().row(0)[1:]
        runner = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        there = runner.get_all(key="a")["data"]
        # The file of tonight: three rows have changed, two are new, one is gone.
        identifier = pl.col("studentAssessmentIdentifier")
        row = pl.int_range(pl.len())
        tonight = there.drop("_unknown").with_columns(
            pl.when(row < 3).then(None).otherwise("serialNumber").alias("serialNumber"),
            pl.when(row.is_between(3, 4)).then(identifier + "-b").otherwise(identifier),
        )
        first = there.head(3)["serialNumber"].null_count()
        names |= {
            "districts": ods.districts(),
            "scores": edfi.unflatten(tonight.slice(0, 299)),
            "url": url,
            "key": key,
            "secret": secret,
        }
        yield
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


@needs("docs/schedulers.md")
def schedulers(names: Names, replace: dict[str, str]) -> Iterator[None]:
    with (
        schedulers_that_call(),
        edfi.Sandbox(["vendor", "ods"], 40) as ods,
        tempfile.TemporaryDirectory() as folder,
    ):
        (_name, *own), (_name, url, key, secret) = ods.districts().rows()
        client = edfi.EdFiClient(base_url=own[0], client_id=own[1], client_secret=own[2])
        roster = client.get_all(endpoint="ed-fi/students", key=1)["data"].drop("_unknown")
        names |= {"client": client, "roster": roster}
        names["districts"] = ods.districts().head(1)
        payloads = edfi.unflatten(roster.with_columns(studentUniqueId="id"))
        payloads.write_parquet(Path(folder) / "ed-fi students.parquet")
        environment = {"ODS_URL": url, "ODS_KEY": key, "ODS_SECRET": secret, "FOLDER": folder}
        environment["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        environment["LAKE"] = str(Path(folder) / "lake")
        replace["/data/tonight"] = folder
        with mock.patch.dict(os.environ, environment):
            yield
        assert names["nightly"](folder, url, key, secret) == roster.height
        if "assets" in names:
            students = pl.read_parquet(Path(folder) / "lake/vendor/students/**/*.parquet")
            assert students.height == roster.height
    if "sent" in names:
        assert names["sent"]["status"].unique().to_list() == ["dry_run"]


@needs("docs/from_row_dicts.md")
def from_row_dicts(names: Names, _: dict[str, str]) -> Iterator[None]:
    yield
    assert names["expanded"].height == names["records"].height == 120


@needs("docs/recipes.md")
def recipes(names: Names, _: dict[str, str]) -> Iterator[None]:
    yield
    report = names["report"]
    assert report.columns == ["key", "path", "message", "why"]
    assert report.filter(key="a").height >= 1
    assert report.filter(key="b")["why"].item().startswith("invalid JSON")
    assert names["failed"].height == 0
    assert names["copy"].height > 0
    assert names["mine"]["District BK"].unique().to_list() == ["255902"]
    assert set(names["following"]) == {"255901", "255902"}
    assert names["back"].height == 120


@needs("README.md")
def readme(names: Names, replace: dict[str, str]) -> Iterator[None]:
    with one_ods(names, replace):
        yield
    assert names["records"].height == names["summary"]["records"].sum() == 3600
    assert names["plan"]["status"].to_list() == ["dry_run"] * 2
    assert names["failed"].height == 0
    assert names["copied"]["status"].null_count() == 2
