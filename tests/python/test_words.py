"""What pages say of defaults and releases, held against what happens."""

import inspect
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import polars_edfi as edfi

ROOT = Path(__file__).parents[2]
SCORES = "ed-fi/studentAssessments"


def page(name: str) -> str:
    """The text of a page, without its line breaks."""
    return " ".join((ROOT / "docs" / name).read_text("utf-8").split())


def one(ods: edfi.Sandbox) -> edfi.EdFiClient:
    """A client of a sandbox's first district."""
    url, key, secret = ods.districts().row(0)[1:]
    return edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)


def test_the_overlap_of_changes_is_as_written() -> None:
    overlap = inspect.signature(edfi.EdFiClient.changes).parameters["overlap"].default
    assert f"A window begins {overlap:,} versions earlier" in page("changes.md")


def row_of_releases(name: str) -> list[str]:
    """A row of the table: 5.1 to 5.3, 6.x, 7.0 to 7.2, 7.3, 8."""
    (line,) = (
        line
        for line in (ROOT / "docs/releases.md").read_text("utf-8").splitlines()
        if line.startswith(f"| {name}")
    )
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


RELEASES = ["5.3", "6.1", "7.2", "7.3"]


@pytest.mark.parametrize("release", RELEASES)
def test_releases_do_what_the_table_says(release: str) -> None:
    column = RELEASES.index(release)
    with edfi.Sandbox(["255901"], 20, release=release) as ods:
        client = one(ods)
        ods.take_snapshot("255901")
        ods.mutate("255901", SCORES, "delete", 0)
        gone = client.deletes(SCORES)
        kept = client.get_all(endpoint=SCORES, key=1, snapshot=True)["data"].height
    tells_keys = any(name.startswith("keyValues.") for name in gone.columns)
    assert tells_keys == (row_of_releases("deletes tell their keys")[column] == "yes")
    assert kept == 20
    assert "not" not in row_of_releases("snapshots")[column]


def test_what_a_document_does_not_list_comes_along_when_it_is_posted_back() -> None:
    """`_unknown` goes back to where it came from, as guides say, in memory and from a file."""
    with edfi.Sandbox(["255901"], 5) as ods:
        client = one(ods)
        narrow = {"studentUniqueId": pl.String, "firstName": pl.String}
        students = client.get_all(endpoint="ed-fi/students", key=1, schema=narrow)["data"]
        assert students["_unknown"].null_count() == 0
        compared = client.compare(edfi.unflatten(students), endpoint="ed-fi/students")
    assert compared["status"].unique().to_list() == ["same"]


def test_a_client_that_is_pickled_is_named_as_it_is() -> None:
    for client in (edfi.EdFiClient(), edfi.Resource("ed-fi/students")):
        with pytest.raises(TypeError, match=f"^{type(client).__name__} holds secrets"):
            pickle.dumps(client)


def test_a_scan_logs_requests_once_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """The level is that of the query, not that of the moment at which the scan was made."""
    with edfi.Sandbox(["255901"], 5) as ods:
        students = edfi.scan("ed-fi/students", client=one(ods))
        with caplog.at_level(logging.DEBUG, "polars_edfi"):
            students.collect()
    assert any("/ed-fi/students?" in line for line in caplog.messages)


def test_the_readme_of_the_packages_is_that_of_the_project() -> None:
    script = ROOT / "release" / "readme.py"
    subprocess.run([sys.executable, script, "--check"], check=True, timeout=60)
    text = (ROOT / "release" / "README.md").read_text("utf-8")
    assert "<img" not in text
    assert "](docs" not in text
