"""What a run keeps of copies that nobody touched, so that the next one need not open them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import polars_edfi as edfi

from .test_sync import BOTH, RESULTS, STUDENTS, assert_equal, client_of

KNOWN = ".polars-edfi.known"


@pytest.fixture
def ods() -> Iterator[edfi.Sandbox]:
    with edfi.Sandbox(records=2_400) as ods:
        yield ods


@pytest.fixture
def client(ods: edfi.Sandbox) -> edfi.EdFiClient:
    return client_of(ods)


def blotted(file: Path) -> None:
    """Write over a file, which looks as it did to whoever does not open it."""
    looked = file.stat()
    file.write_bytes(b"?" * looked.st_size)
    os.utime(file, ns=(looked.st_atime_ns, looked.st_mtime_ns))


@pytest.mark.parametrize("endpoint", BOTH)
def test_copies_that_nobody_touched_are_not_opened(
    client: edfi.EdFiClient, tmp_path: Path, endpoint: str
) -> None:
    for _ in range(2):
        edfi.sync(client, endpoint, into=tmp_path)
    blotted(tmp_path / endpoint / "data.parquet")
    report = edfi.sync(client, endpoint, into=tmp_path)
    assert report.select("status", "mode", "requests").row(0) == (None, "unchanged", 2)


def lost(file: Path) -> None:
    file.unlink()


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def foreign(file: Path) -> None:
    pl.DataFrame({"mine": [1]}).write_parquet(file)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("harm", [lost, damaged, foreign, folder])
def test_what_is_known_can_be_lost(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    edfi.sync(client, BOTH, into=tmp_path)
    harm(tmp_path / KNOWN)
    report = edfi.sync(client, BOTH, into=tmp_path)
    assert report["mode"].to_list() == ["unchanged", "unchanged"]
    ods.mutate("255901", STUDENTS, "edit", 1)
    report = edfi.sync(client, BOTH, into=tmp_path)
    assert report["mode"].to_list() == ["changes", "unchanged"]
    for endpoint in BOTH:
        assert_equal(client, tmp_path, endpoint)


def test_a_file_that_was_put_back_is_looked_at(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path
) -> None:
    """As from a backup of the night before."""
    file = tmp_path / RESULTS / "data.parquet"
    edfi.sync(client, RESULTS, into=tmp_path)
    before = file.read_bytes()
    ods.mutate("255901", RESULTS, "edit", 3)
    ods.mutate("255901", RESULTS, "recreate", 5)
    edfi.sync(client, RESULTS, into=tmp_path)
    file.write_bytes(before)
    report = edfi.sync(client, RESULTS, into=tmp_path)
    assert report.select("mode", "written", "deleted", "repaired").row(0) == ("changes", 2, 1, 0)
    assert_equal(client, tmp_path, RESULTS)


def test_rows_that_somebody_took_out_come_back(client: edfi.EdFiClient, tmp_path: Path) -> None:
    """The file still says that it has all of them."""
    edfi.sync(client, STUDENTS, into=tmp_path)
    file = tmp_path / STUDENTS / "data.parquet"
    state = pl.read_parquet_metadata(file)["polars_edfi"]
    pl.read_parquet(file)[3:].write_parquet(file, metadata={"polars_edfi": state})
    edfi.sync(client, STUDENTS, into=tmp_path, verify="full")
    assert_equal(client, tmp_path, STUDENTS)


@pytest.mark.parametrize("endpoint", BOTH)
def test_a_window_that_a_copy_has_is_known_the_next_time(
    client: edfi.EdFiClient, tmp_path: Path, endpoint: str
) -> None:
    edfi.sync(client, endpoint, into=tmp_path)
    file = tmp_path / endpoint / "data.parquet"
    os.utime(file)  # somebody may have written into it
    report = edfi.sync(client, endpoint, into=tmp_path)
    assert report.select("mode", "requests").row(0) == ("unchanged", 2)
    blotted(file)
    report = edfi.sync(client, endpoint, into=tmp_path)
    assert report.select("mode", "requests").row(0) == ("unchanged", 2)


def test_a_folder_can_move(client: edfi.EdFiClient, tmp_path: Path) -> None:
    edfi.sync(client, BOTH, into=tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    for endpoint in BOTH:
        blotted(tmp_path / "new" / endpoint / "data.parquet")
    report = edfi.sync(client, BOTH, into=tmp_path / "new")
    assert report["mode"].to_list() == ["unchanged", "unchanged"]


def test_people_whom_a_copy_does_not_hold_are_looked_for_once(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path
) -> None:
    ods.mutate("255901", STUDENTS, "insert", 1)
    edfi.sync(client, RESULTS, into=tmp_path)
    last = client.count(STUDENTS) - 1
    ods.mutate("255901", STUDENTS, "rekey", last)  # somebody without a result
    report = edfi.sync(client, RESULTS, into=tmp_path)
    assert report.select("mode", "requests").row(0) == ("unchanged", 2)
    blotted(tmp_path / RESULTS / "data.parquet")
    report = edfi.sync(client, RESULTS, into=tmp_path)
    assert report.select("status", "mode", "requests").row(0) == (None, "unchanged", 2)
