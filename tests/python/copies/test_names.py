"""Districts and folders with names that file systems, globs and URLs have their own ideas about."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

import polars_edfi as edfi

from .test_sync import FORMATS, STUDENTS, Format, assert_equal, client_of

KEYS = [
    "a/b",
    "..",
    ".",
    ".hidden",
    "../../outside",
    "/absolute",
    "back\\slash",
    "a%2Fb",
    'quote\'s "both"',
    "b=c&d;e",
    "[x]*?{y}",
    "é ñ 漢字 \N{PILE OF POO}",
    "line\nbreak",
    "Case",
    "case",
    "data",
    "~",
    "x" * 300,
    "x" * 299 + "y",
    "漢" * 100,
]
ACCOUNTS: Any = {
    "key_col": "District BK",
    "auth_key_col": "oAuthKey",
    "auth_secret_col": "oAuthSecret",
    "oauth_endpoint": "oauth/token",
}


@pytest.fixture
def ods() -> Iterator[edfi.Sandbox]:
    with edfi.Sandbox(records=8) as ods:
        yield ods


def districts_of(ods: edfi.Sandbox, keys: list[str]) -> pl.DataFrame:
    one = ods.districts().drop("District BK")
    return pl.DataFrame({"District BK": keys}).join(one, how="cross")


@pytest.mark.parametrize("fmt", FORMATS)
def test_each_district_has_a_copy_of_its_own(
    ods: edfi.Sandbox, tmp_path: Path, fmt: Format
) -> None:
    into = tmp_path / "outer" / "lake"
    keys = KEYS if fmt == "parquet" else [key for key in KEYS if len(quote(key)) < 200]
    districts = districts_of(ods, keys)
    first = edfi.sync(districts, STUDENTS, into=into, format=fmt, **ACCOUNTS)
    assert first["mode"].to_list() == ["full"] * len(keys), first["message"].to_list()
    second = edfi.sync(districts, STUDENTS, into=into, format=fmt, **ACCOUNTS)
    assert second["mode"].to_list() == ["unchanged"] * len(keys), second["message"].to_list()
    ods.mutate("255901", STUDENTS, "insert", 1)
    third = edfi.sync(districts, STUDENTS, into=into, format=fmt, **ACCOUNTS)
    assert third["written"].to_list() == [1] * len(keys), third["message"].to_list()
    if fmt == "delta":
        rows = pl.read_delta(str(into / STUDENTS))
    else:
        assert len(list((into / STUDENTS).iterdir())) == len(keys)
        rows = pl.read_parquet(into / STUDENTS)
    counts = dict(rows.group_by("District BK").len().iter_rows())
    assert counts == dict.fromkeys(keys, third["rows"][0])
    assert [path.name for path in tmp_path.iterdir()] == ["outer"]
    assert [path.name for path in into.parent.iterdir()] == ["lake"]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("name", ["a lake", "lake%20", "lake[1]*", "été", "a=b"])
def test_folders_of_any_name(ods: edfi.Sandbox, tmp_path: Path, name: str, fmt: Format) -> None:
    client = client_of(ods)
    into = tmp_path / name
    if fmt == "delta" and set("%[*") & set(name):
        with pytest.raises(edfi.EdFiError, match="into: deltalake"):
            edfi.sync(client, STUDENTS, into=into, format=fmt)
        assert not into.exists()
        return
    edfi.sync(client, STUDENTS, into=into, format=fmt)
    ods.mutate("255901", STUDENTS, "insert", 1)
    report = edfi.sync(client, STUDENTS, into=str(into), format=fmt)
    assert report.select("mode", "written").row(0) == ("changes", 1), report["message"].to_list()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if fmt == "parquet":
        file = into / STUDENTS / "data.parquet"
        assert pl.read_parquet(file, glob=False).height == report["rows"][0]


def test_a_folder_as_a_url(ods: edfi.Sandbox, tmp_path: Path) -> None:
    client = client_of(ods)
    edfi.sync(client, STUDENTS, into=(tmp_path / "a lake").as_uri())
    assert_equal(client, tmp_path / "a lake", STUDENTS)


def test_a_key_that_no_table_can_hold(ods: edfi.Sandbox, tmp_path: Path) -> None:
    """The folder of a partition bears it."""
    districts = districts_of(ods, ["short", "x" * 300])
    report = edfi.sync(districts, STUDENTS, into=tmp_path, format="delta", **ACCOUNTS)
    assert report["mode"].to_list() == ["full", None]
    assert "too long" in report["message"][1]
