"""Journals that cannot be used: a clear error before anything is sent, and no answer is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, rows

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 400


def payloads(ods: ScriptedOds, count: int = 3, size: int = 0) -> pl.DataFrame:
    texts = [f'{{"n": {n}, "t": "{"x" * size}"}}' for n in range(count)]
    return rows(ods, pl.Series("payload", texts))


def post(ods: ScriptedOds, journal: Path, df: pl.DataFrame | None = None, **more: Any) -> Any:
    runner = edfi.StudentAssessment(api_version="v3", max_retries=1, timeout=10)
    return runner.batch_post_payload(
        payloads(ods) if df is None else df,
        payload_col="payload",
        key_col="key",
        commit=True,
        journal=journal,
        **more,
    )


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY)")
    db.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scratched(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


BAD: dict[str, tuple[bool, Callable[[Path], object], str]] = {
    "a text": (False, lambda path: path.write_text("key,status\n1,ok\n" * 90), "is no journal"),
    "a short text": (False, lambda path: path.write_text("x"), "is no journal"),
    "another program's": (False, foreign, "is an SQLite file of another program"),
    "another version's": (True, newer, "was written by another version of polars-edfi"),
    "cut": (True, cut, "is damaged"),
    "scratched": (True, scratched, "is damaged"),
    "a folder": (False, lambda path: path.mkdir(), "cannot be opened: is a folder"),
}


@pytest.mark.parametrize(("is_ours", "spoil", "text"), BAD.values(), ids=BAD)
def test_a_file_that_is_no_journal(
    ods: ScriptedOds, tmp_path: Path, is_ours: bool, spoil: Callable[[Path], object], text: str
) -> None:
    journal = tmp_path / "run.edfi"
    if is_ours:
        post(ods, journal, payloads(ods, 300))
        ods.requests.clear()
    spoil(journal)
    before = None if journal.is_dir() else journal.read_bytes()
    with pytest.raises(edfi.EdFiError, match=f"journal {journal}: {text}"):
        post(ods, journal)
    with pytest.raises(edfi.EdFiError, match=f"journal {journal}: {text}"):
        edfi.read_journal(journal)
    assert ods.requests == []
    assert before is None or journal.read_bytes() == before


def test_rows_that_are_numbered_to_the_end(ods: ScriptedOds, tmp_path: Path) -> None:
    journal = tmp_path / "run.edfi"
    post(ods, journal)
    edfi.read_journal(journal)
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE rows SET id = 9223372036854775807 WHERE id = 3")
    db.close()
    ods.requests.clear()
    with pytest.raises(edfi.EdFiError, match="is damaged"):
        post(ods, journal, payloads(ods, 9))
    assert ods.requests == []


def test_a_place_that_is_none(ods: ScriptedOds, tmp_path: Path) -> None:
    with pytest.raises(edfi.EdFiError, match="cannot be opened: No such file or directory"):
        post(ods, tmp_path / "nowhere" / "run.edfi")
    with pytest.raises(edfi.EdFiError, match="cannot be opened: No such file"):
        edfi.read_journal(tmp_path / "run.edfi")
    assert not (tmp_path / "run.edfi").exists()
    with pytest.raises(edfi.EdFiError, match="journal must be a path"):
        post(ods, 7)  # type: ignore[arg-type]
    with pytest.raises(edfi.EdFiError, match="journal_sync must be one of 'normal', 'full'"):
        post(ods, tmp_path / "run.edfi", journal_sync="never")
    assert ods.requests == []


def test_names_that_mean_something_to_sqlite_are_names(
    ods: ScriptedOds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:x?mode=memory", "a b#c%20.edfi"):
        post(ods, Path(name))
        assert post(ods, Path(name))["attempts"].sum() == 0
        assert (tmp_path / name).stat().st_size > 0


def test_an_empty_file_becomes_a_journal(ods: ScriptedOds, tmp_path: Path) -> None:
    (tmp_path / "run.edfi").touch()
    post(ods, tmp_path / "run.edfi")
    assert post(ods, tmp_path / "run.edfi", journal_sync="full")["attempts"].sum() == 0


HOLDER = """
import sys, polars as pl, polars_edfi as edfi
url, journal = sys.argv[1:]
df = pl.DataFrame({"k": [1], "payload": ["{}"], "targetUrl": url, "EdFi Token": "token"})
edfi.StudentAssessment(api_version="v3").batch_post_payload(
    df, payload_col="payload", key_col="k", commit=True, journal=journal)
"""


def test_a_journal_serves_one_process_at_a_time(ods: ScriptedOds, tmp_path: Path) -> None:
    journal = tmp_path / "run.edfi"
    arrived, release = threading.Event(), threading.Event()

    def script(request: Request) -> Answer | None:
        if request.method == "POST" and request.body == b"{}":
            arrived.set()
            release.wait(30)
        return None

    ods.script, ods.one_at_a_time = script, False
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, ods.url, str(journal)])
    try:
        assert arrived.wait(30)
        with pytest.raises(edfi.EdFiError, match="is in use by another process"):
            post(ods, journal)
        with pytest.raises(edfi.EdFiError, match="is in use by another process"):
            edfi.read_journal(journal)
    finally:
        release.set()
        assert holder.wait(30) == 0
    assert post(ods, journal)["attempts"].sum() == 3
    assert edfi.read_journal(journal)["state"].to_list() == ["confirmed"] * 4


FULL = """
import resource, signal, sys, polars as pl, polars_edfi as edfi
url, journal, limit, count = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
df = pl.DataFrame({"k": range(int(count))}).with_columns(
    pl.format('{{"n": {}}}', "k").alias("payload"),
    pl.lit(url).alias("targetUrl"), pl.lit("token").alias("EdFi Token"))
try:
    result = edfi.StudentAssessment(api_version="v3").batch_post_payload(
        df, payload_col="payload", key_col="k", commit=True, journal=journal)
except edfi.EdFiError as error:
    print("error:", error)
else:
    result.select("key", "status", "message", "attempts", "resource_id").write_ndjson(sys.stdout)
"""


def test_a_disk_that_is_full(ods: ScriptedOds, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, ods.url, str(tmp_path / "run.edfi"), "8192", "3"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("error: journal "), done
    assert ods.requests == []


def test_a_disk_that_becomes_full_on_the_way(ods: ScriptedOds, tmp_path: Path) -> None:
    journal = tmp_path / "run.edfi"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", FULL, ods.url, str(journal), "600000", "2000"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    result = pl.read_ndjson(done.stdout.encode(), infer_schema_length=None)
    assert result.height == 2000
    sent, home = result.filter(pl.col("attempts") > 0), result.filter(attempts=0)
    # Nothing is sent that could not be noted, and what was answered is in the result.
    posted = [request for request in ods.requests if request.method == "POST"]
    assert len(posted) == sent.height
    assert sent["status"].null_count() == sent.height == sent["resource_id"].count()
    assert home.height > 0
    assert home["status"].unique().to_list() == ["error"]
    assert home["message"].str.starts_with(f"not sent: journal {journal}: ").all()
    # Later there is room again.
    df = pl.DataFrame({"key": range(2000)}).with_columns(
        pl.format('{{"n": {}}}', "key").alias("payload"),
        pl.lit(ods.url).alias("targetUrl"),
        pl.lit("token").alias("EdFi Token"),
    )
    again = post(ods, journal, df, retry_broken=True)
    assert again["status"].null_count() == 2000
    noted = again.filter(attempts=0).height
    # In doubt are those in flight, and the answers that shared the write that found no room.
    assert sent.height - 2 * 8 <= noted <= sent.height
