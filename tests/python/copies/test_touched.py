"""Copies that somebody else has changed, or that are asked for in another way than before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

from .test_sync import FORMATS, STUDENTS, Format, assert_equal, client_of
from .test_widening import THINGS, Ods

deltalake = pytest.importorskip("deltalake")


def restored(table: Any) -> None:
    table.restore(table.version() - 1)


def emptied(table: Any) -> None:
    table.delete("id is not null")


def edited(table: Any) -> None:
    table.update(updates={"firstName": "'X'"})


def doubled(table: Any) -> None:
    pl.read_delta(table).head(3).write_delta(table, mode="append")


def tidied(table: Any) -> None:
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


@pytest.mark.parametrize("harm", [restored, emptied, edited, doubled, tidied])
def test_a_table_that_others_have_written_to_is_read_anew(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, harm: Callable[[Any], None]
) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    ods.mutate("255901", STUDENTS, "edit", 2)
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    harm(deltalake.DeltaTable(str(tmp_path / STUDENTS)))
    modes = [
        edfi.sync(client, STUDENTS, into=tmp_path, format="delta")["mode"].item() for _ in range(2)
    ]
    assert modes == ["unchanged" if harm is tidied else "full", "unchanged"]
    assert_equal(client, tmp_path, STUDENTS, "delta")


def test_a_table_whose_files_are_gone_is_damaged(client: edfi.EdFiClient, tmp_path: Path) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    for file in (tmp_path / STUDENTS).glob("*.parquet"):
        file.unlink()
    report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert report["status"].to_list() == ["error"]
    assert "is damaged" in report["message"][0]


def nightly(
    ods: edfi.Sandbox, into: Path, fmt: Format, keys: list[Any], **options: Any
) -> pl.DataFrame:
    districts = ods.districts().with_columns(pl.Series("District BK", keys))
    names = {"auth_key_col": "oAuthKey", "auth_secret_col": "oAuthSecret"}
    return edfi.sync(
        districts,
        STUDENTS,
        into=into,
        format=fmt,
        key_col="District BK",
        oauth_endpoint="oauth/token",
        **names,
        **options,
    )


@pytest.mark.parametrize("fmt", FORMATS)
def test_spaces_around_a_key_make_no_other_district(
    ods: edfi.Sandbox, tmp_path: Path, fmt: Format
) -> None:
    for keys in (["255901", " 255902\u00a0"], [" 255901", "255902"]):
        report = nightly(ods, tmp_path, fmt, keys)
        assert report["District BK"].to_list() == ["255901", "255902"]
        assert report["status"].null_count() == 2
        for district in ("255901", "255902"):
            ods.mutate(district, STUDENTS, "insert", 1)
    nightly(ods, tmp_path, fmt, ["255901", "255902"])
    place = str(tmp_path / STUDENTS)
    rows = pl.read_delta(place) if fmt == "delta" else pl.read_parquet(f"{place}/*.parquet")
    assert set(rows["District BK"]) == {"255901", "255902"}
    assert rows["id"].is_unique().all()
    assert rows.height == sum(client_of(ods, row).count(STUDENTS) for row in (0, 1))


def test_keys_of_another_dtype_are_refused(ods: edfi.Sandbox, tmp_path: Path) -> None:
    nightly(ods, tmp_path, "delta", [255901, 255902])
    ods.mutate("255901", STUDENTS, "edit", 1)
    report = nightly(ods, tmp_path, "delta", ["255901", "255902"])
    assert "its District BK is Int64" in report["message"][0]


@pytest.mark.parametrize("fmt", FORMATS)
def test_another_schema_has_everything_read(
    client: edfi.EdFiClient, tmp_path: Path, fmt: Format
) -> None:
    small = {"id": pl.String, "_etag": pl.String, "studentUniqueId": pl.String}
    modes = []
    for schema in (small, small, "auto", "auto", pl.Struct(small), "auto"):
        report = edfi.sync(client, STUDENTS, into=tmp_path, format=fmt, schema=schema)
        modes.append(report["mode"].item())
    assert modes == ["full", "unchanged", "full", "unchanged", "full", "full"]
    assert_equal(client, tmp_path, STUDENTS, fmt)


def test_another_profile_has_everything_read(ods: edfi.Sandbox, tmp_path: Path) -> None:
    modes = []
    for profile in (None, "Small", "small", None, None):
        client = client_of(ods, profile=profile)
        report = edfi.sync(client, STUDENTS, into=tmp_path)
        assert report["message"].to_list() == [None]
        modes.append(report["mode"].item())
    assert modes == ["full", "full", "unchanged", "full", "unchanged"]


def test_a_resource_in_two_spellings_is_one(client: edfi.EdFiClient, tmp_path: Path) -> None:
    report = edfi.sync(client, [STUDENTS, "ed-fi/Students/"], into=tmp_path)
    assert report["endpoint"].to_list() == [STUDENTS]


def test_what_others_do_during_a_run_is_read_anew(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path
) -> None:
    """Between what a run knows of a table and its own commit."""
    scripted = {name: make_ods() for name in "ab"}
    odss = {name: Ods(one) for name, one in scripted.items()}
    urls = [one.url for one in scripted.values()]
    districts = pl.DataFrame({"D": list("ab"), "targetUrl": urls, "v": "v3", "EdFi Token": "token"})
    place = str(tmp_path / THINGS)
    harmed = []

    def sync() -> pl.DataFrame:
        options: Any = {"format": "delta", "key_col": "D", "api_version_col": "v"}
        return edfi.sync(districts, THINGS, into=tmp_path, workers=1, overlap=0, **options)

    def harm(request: Request) -> Answer | None:
        if request.path.endswith("/deletes") and not harmed:
            harmed.append("b")
            deltalake.DeltaTable(place).delete("\"D\" = 'b' AND id = '1'")
        return odss["a"].answer(request)

    sync()
    for ods in odss.values():
        ods.put("9", n=9, x=9)
    scripted["a"].script = harm
    sync()
    assert harmed
    sync()
    rows = pl.read_delta(place).filter(D="b")
    assert sorted(rows["id"]) == sorted(odss["b"].items)
