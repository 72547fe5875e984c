"""Copies of snapshots: all resources as they were at one moment, whatever is written meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi

from .test_sync import BOTH, FORMATS, RESULTS, STUDENTS, Format, client_of, copied


@pytest.fixture
def ods() -> Iterator[edfi.Sandbox]:
    with edfi.Sandbox(records=80) as ods:
        yield ods


@pytest.fixture
def client(ods: edfi.Sandbox) -> edfi.EdFiClient:
    return client_of(ods)


def assert_equal(client: edfi.EdFiClient, into: Path, endpoint: str, fmt: Format) -> None:
    """The copy is what the snapshot holds."""
    result = client.get_all(key="k", endpoint=endpoint, snapshot=True)
    assert result["data"] is not None, result["message"]
    then = result["data"].sort("id")
    copy = copied(into, endpoint, fmt)
    same = [name for name, dtype in then.schema.items() if copy.schema.get(name) == dtype]
    assert {"id", "_etag"} <= set(same)
    assert copy.select(same).equals(then.select(same))


def live(ods: edfi.Sandbox, chance: int) -> None:
    """Let others write."""
    kinds: list[Any] = ["insert", "edit", "delete", "recreate", "rekey"]
    for number, kind in enumerate(kinds):
        for endpoint in BOTH:
            ods.mutate("255901", endpoint, kind, 1 + (number + chance) % 9)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("overlap", [0, None])
def test_copies_follow_snapshots(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, fmt: Format, overlap: int | None
) -> None:
    given: Any = {"into": tmp_path, "format": fmt, "snapshot": True, "overlap": overlap}
    ods.take_snapshot("255901")
    live(ods, 0)
    first = edfi.sync(client, BOTH, **given)
    assert first["mode"].to_list() == ["full", "full"], first["message"].to_list()
    for endpoint in BOTH:
        assert_equal(client, tmp_path, endpoint, fmt)
    live(ods, 3)
    again = edfi.sync(client, BOTH, **given)
    assert again["mode"].to_list() == ["unchanged", "unchanged"], again["message"].to_list()
    ods.take_snapshot("255901")
    live(ods, 5)
    second = edfi.sync(client, BOTH, **given)
    assert second["status"].null_count() == 2, second["message"].to_list()
    assert second["since"][0] == first["version"][0]
    assert second["repaired"].to_list() == [0, 0]
    for endpoint in BOTH:
        assert_equal(client, tmp_path, endpoint, fmt)
    third = edfi.sync(client, BOTH, **given)
    assert third["mode"].to_list() == ["unchanged", "unchanged"]


def test_people_whose_keys_changed_show_the_snapshots_keys(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    """Items by id are read as they are now: such a resource is read whole."""
    given: Any = {"into": tmp_path, "snapshot": True}
    ods.take_snapshot("255901")
    edfi.sync(client, RESULTS, **given)
    ods.mutate("255901", STUDENTS, "rekey", 0)
    ods.take_snapshot("255901")
    ods.mutate("255901", STUDENTS, "rekey", 0)
    report = edfi.sync(client, RESULTS, **given)
    assert report["mode"].to_list() == ["full"]
    assert_equal(client, tmp_path, RESULTS, "parquet")
    again = edfi.sync(client, RESULTS, **given)
    assert again["mode"].to_list() == ["unchanged"]


def test_an_ods_without_a_snapshot(client: edfi.EdFiClient, tmp_path: Path) -> None:
    report = edfi.sync(client, BOTH, into=tmp_path, snapshot=True)
    assert report["status"].to_list() == ["error", "error"]
    assert "snapshot" in report["message"][0]
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_copy_goes_on_from_a_snapshot_with_what_there_is_now(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    ods.take_snapshot("255901")
    live(ods, 1)
    edfi.sync(client, BOTH, into=tmp_path, snapshot=True)
    report = edfi.sync(client, BOTH, into=tmp_path)
    assert report["mode"].to_list() == ["changes", "changes"]
    for endpoint in BOTH:
        now = client.get_all(key="k", endpoint=endpoint)["data"].sort("id")
        copy = pl.read_parquet(tmp_path / endpoint / "data.parquet").sort("id")
        assert copy["id"].to_list() == now["id"].to_list()
        assert copy["_etag"].to_list() == now["_etag"].to_list()
