"""Documents that are kept between processes: not downloaded again, never taken for others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds
from test_metadata import INT32, INT64, RESULTS, Documents, document

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RELEASE = {"version": "7.3", "build": "7.3.1", "dataModels": [{"name": "Ed-Fi", "version": "5.2"}]}


class Releases(Documents):
    """An ODS that says which release it is."""

    release: dict[str, Any] = RELEASE

    def answer(self, request: Request) -> Answer | None:
        if request.path == "/":
            urls = {"openApiMetadata": f"{self.ods.url}/metadata/2025"}
            return Answer(200, {**self.release, "urls": urls})
        return super().answer(request)

    def night(self, folder: Path, **settings: Any) -> list[tuple[str, int]]:
        """What a process that has nothing yet asks for, to know the columns."""
        copies = len([*folder.parent.glob("night-*")])
        of_tonight = folder.parent / f"night-{copies}"
        if folder.exists():
            shutil.copytree(folder, of_tonight)
        self.asked.clear()
        client = edfi.EdFiClient(
            base_url=self.ods.url,
            bearer_token="token",
            max_retries=0,
            metadata_cache=of_tonight,
            **settings,
        )
        answer = client.get_all(endpoint=RESULTS, key=1, schema="openapi")
        assert answer["status"] is None, answer["message"]
        frame = answer["data"]
        assert frame is not None
        self.dtype = frame["n"].dtype
        shutil.copytree(of_tonight, folder, dirs_exist_ok=True)
        return self.asked.copy()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "metadata"


@pytest.fixture
def documents(ods: ScriptedOds) -> Releases:
    ods.records = [{"id": str(n), "n": n} for n in range(3)]
    return Releases(ods, Resources=document({"n": INT32}))


FIRST = [("2025", 200), ("Resources.json", 200)]


def test_the_second_night_downloads_nothing(documents: Releases, folder: Path) -> None:
    assert documents.night(folder) == FIRST
    # The list belongs to the release; the document is asked for, and has not changed.
    assert documents.night(folder) == [("Resources.json", 304)]
    assert documents.night(folder, api_version="v3") == [("Resources.json", 304)]
    assert documents.dtype == pl.Int32
    documents.etags = False
    documents.documents["Resources"] = document({"n": INT64})
    assert documents.night(folder) == [("Resources.json", 200)]
    assert documents.dtype == pl.Int64
    # Without an ETag the release decides, and nothing is asked.
    assert documents.night(folder) == []
    assert documents.dtype == pl.Int64


@pytest.mark.parametrize(
    "change",
    [
        {"version": "7.4"},
        {"build": "7.3.2"},
        {"dataModels": [*RELEASE["dataModels"], {"name": "TPDM"}]},  # type: ignore[misc]
    ],
    ids=["version", "build", "data models"],
)
def test_another_release_is_asked_for_everything(
    documents: Releases, folder: Path, change: dict[str, Any]
) -> None:
    documents.etags = False
    assert documents.night(folder) == FIRST
    documents.release = RELEASE | change
    documents.documents["Resources"] = document({"n": INT64})
    assert documents.night(folder) == FIRST
    assert documents.dtype == pl.Int64
    documents.release = RELEASE
    assert documents.night(folder) == []
    assert documents.dtype == pl.Int32


def test_without_a_release_nothing_is_taken_unasked(documents: Releases, folder: Path) -> None:
    documents.release = {}
    assert documents.night(folder) == FIRST
    assert documents.night(folder) == [("2025", 304), ("Resources.json", 304)]
    documents.etags = False
    for _ in range(2):
        assert documents.night(folder) == FIRST


def spoil(content: bytes, *, suffix: str) -> Callable[[Path], None]:
    def spoiled(folder: Path) -> None:
        for file in folder.glob(f"*.{suffix}"):
            file.write_bytes(content)

    return spoiled


def changed(**fields: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for file in folder.glob("*.note"):
            file.write_text(json.dumps(json.loads(file.read_bytes()) | fields))

    return change


def shorten(folder: Path) -> None:
    for file in folder.glob("*.json"):
        file.write_bytes(file.read_bytes()[:-1])


def blank(folder: Path) -> None:
    for file in folder.glob("*.json"):
        file.write_bytes(b" " * file.stat().st_size)


def remove_bodies(folder: Path) -> None:
    for file in folder.glob("*.json"):
        file.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        spoil(b"", suffix="note"),
        spoil(b"{", suffix="note"),
        changed(format="polars-edfi metadata 99"),
        changed(url="https://other.example.org/"),
        changed(at="https://other.example.org/metadata/"),
        changed(at="no URL"),
        changed(body="../../secrets"),
        changed(body="0" * 64),
        changed(release="another"),
        changed(etag="a\nb"),
    ],
    ids=[
        *["empty note", "half a note", "another version"],
        *["another URL", "another place", "no place", "a path", "a lost body"],
        *["another release", "no ETag"],
    ],
)
def test_what_is_damaged_or_foreign_is_fetched_anew(
    documents: Releases, folder: Path, damage: Callable[[Path], None]
) -> None:
    assert documents.night(folder) == FIRST
    damage(folder)
    assert documents.night(folder) == FIRST
    assert documents.night(folder) == [("Resources.json", 304)]


ANOTHER_PROCESS = f"""
import sys, polars_edfi as edfi
url, folder = sys.argv[1:]
client = edfi.EdFiClient(base_url=url, bearer_token="token", metadata_cache=folder, max_retries=0)
answer = client.get_all(endpoint="{RESULTS}", key=1, schema="openapi")
sys.exit(answer["message"])
"""


@pytest.mark.parametrize(
    "damage",
    [spoil(b"\xff", suffix="json"), shorten, blank, remove_bodies],
    ids=["another body", "cut off", "blank", "no bodies"],
)
def test_a_damaged_body_is_fetched_anew(
    documents: Releases, folder: Path, damage: Callable[[Path], None]
) -> None:
    assert documents.night(folder) == FIRST
    damage(folder)
    # This process has read the document, and needs its body no more; it lacks the list alone.
    spoilt = folder.parent / "spoilt"
    shutil.copytree(folder, spoilt)
    assert documents.night(spoilt) == [("2025", 200), ("Resources.json", 304)]
    for asked in (FIRST, [("Resources.json", 304)]):
        documents.asked.clear()
        command = [sys.executable, "-c", ANOTHER_PROCESS, documents.ods.url, str(folder)]
        subprocess.run(command, check=True, timeout=60)
        assert documents.asked == asked


def test_districts_with_the_same_document_share_a_file(
    make_ods: Callable[..., ScriptedOds], folder: Path
) -> None:
    servers = [make_ods([{"id": "1", "n": 1}]) for _ in range(3)]
    for ods in servers:
        ods.serves_metadata = True
        ods.script = lambda request: (
            Answer(200, document({"n": INT32})) if request.path == "/metadata/" else None
        )
        client = edfi.EdFiClient(base_url=ods.url, metadata_cache=folder)
        # No release and no ETag: nothing that could be kept.
        assert client.schema(RESULTS)["n"] == pl.Int32
    assert [*folder.iterdir()] == []
    for ods in servers:
        Releases(ods, Resources=document({"n": INT64}))
        client = edfi.EdFiClient(base_url=ods.url, metadata_cache=folder / "of a release")
        assert client.schema(RESULTS)["n"] == pl.Int64
    assert len([*(folder / "of a release").glob("*.note")]) == 6
    # They have the same list, and the same document.
    assert len([*(folder / "of a release").glob("*.json")]) == 2
    assert {file.suffix for file in (folder / "of a release").iterdir()} == {".note", ".json"}


def test_a_folder_that_cannot_be_written_raises(ods: ScriptedOds, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(edfi.EdFiError, match="metadata_cache: "):
        edfi.EdFiClient(base_url=ods.url, metadata_cache=file)
    with pytest.raises(edfi.EdFiError, match="metadata_cache must be"):
        edfi.EdFiClient(base_url=ods.url, metadata_cache=1)  # type: ignore[arg-type]
    assert ods.requests == []


def test_a_folder_that_goes_away_costs_a_download(documents: Releases, folder: Path) -> None:
    client = edfi.EdFiClient(base_url=documents.ods.url, metadata_cache=folder)
    shutil.rmtree(folder)
    assert client.schema(RESULTS)["n"] == pl.Int32


def test_files_of_others_in_the_folder_are_left_alone(documents: Releases, tmp_path: Path) -> None:
    theirs = [tmp_path / name for name in ("districts.json", "my.note", f"{'A' * 64}.json")]
    own = tmp_path / f"{'a' * 64}.json"
    for path in (*theirs, own):
        path.touch()
        os.truncate(path, 2 << 30)
        os.utime(path, (0, 0))
    client = edfi.EdFiClient(
        base_url=documents.ods.url, bearer_token="token", metadata_cache=tmp_path
    )
    assert client.get_all(endpoint=RESULTS, key=1, schema="openapi")["status"] is None
    assert all(path.exists() for path in theirs)
    assert not own.exists()
