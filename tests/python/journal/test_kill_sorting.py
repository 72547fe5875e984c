"""A process that ends while notes are written or sorted in: what was noted before is still there.

A limit on the size of files ends it in the very write that crosses the limit, halfway, so that no
moment is left to chance. ``SOAK=1`` tries many more, and kills by the clock as well.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from journal.children import end, kill, post, read, start

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

SOAK = bool(os.environ.get("SOAK"))
SEEDS = range(20 if SOAK else 3)
ROWS = 400
#: So many rows are kept as notes before they are sorted in.
MANY = 16_384


class Log:
    """A server that counts what it accepts, and refuses every seventh of what it sees first."""

    def __init__(self, ods: ScriptedOds) -> None:
        self.received: Counter[int] = Counter()
        self.accepted: Counter[int] = Counter()
        self.lock = threading.Lock()
        ods.script, ods.one_at_a_time = self.script, False

    def script(self, request: Request) -> Answer | None:
        if request.method != "POST":
            return None
        number = json.loads(request.body)["n"]
        with self.lock:
            self.received[number] += 1
            if number % 7 == 0 and self.received[number] == 1:
                return Answer(400, {"message": "Not yet."})
            self.accepted[number] += 1
        return Answer(201, headers={"location": f"/x/{number:032x}"})


def copied(journal: Path, folder: Path) -> Path:
    """Copy a journal with what lies beside it."""
    folder.mkdir()
    for file in journal.parent.glob(f"{journal.name}*"):
        shutil.copy(file, folder)
    return folder / journal.name


@pytest.fixture(params=["closed", "killed"])
def journal(request: pytest.FixtureRequest, ods: ScriptedOds, tmp_path: Path) -> Path:
    """A journal whose notes are not sorted in, as it was closed or as a killed process left it."""
    Log(ods)
    path = tmp_path / "run.edfi"
    assert not end(start(post, ods.url, path, range(ROWS // 2)))
    if request.param == "closed":
        assert not end(start(post, ods.url, path, range(ROWS)))
        return path
    # New rows alone: what was refused before would be noted first, and could fill the file.
    assert end(start(post, ods.url, path, range(ROWS // 2, ROWS), 20_000))
    assert (tmp_path / "run.edfi-wal").stat().st_size > 0
    return path


@pytest.mark.parametrize("seed", SEEDS)
def test_sorting_in_that_is_cut_off(journal: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    whole = copied(journal, tmp_path / "whole")
    expected = edfi.read_journal(whole)
    assert expected.height > ROWS // 2
    log = journal.with_name("run.edfi-wal")
    most = whole.stat().st_size + (log.stat().st_size if log.exists() else 0)
    cut_off = 0
    for turn in range(6):
        path = copied(journal, tmp_path / f"{turn}")
        # The second process finds what the first one left.
        for _ in range(2):
            cut_off += end(start(read, path, chance.randrange(1024, most)))
        assert edfi.read_journal(path).equals(expected)
        # And once more, now that all of it is sorted in.
        assert edfi.read_journal(path).equals(expected)
    assert cut_off > 0


@pytest.mark.skipif(not SOAK, reason="SOAK=1")
@pytest.mark.parametrize("seed", SEEDS)
def test_sorting_in_that_is_killed(journal: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    whole = copied(journal, tmp_path / "whole")
    begun = time.perf_counter()
    assert not end(start(read, whole))
    seconds = time.perf_counter() - begun
    expected = edfi.read_journal(whole)
    for turn in range(6):
        path = copied(journal, tmp_path / f"{turn}")
        process = start(read, path)
        time.sleep(chance.random() * seconds)
        kill(process)
        end(process)
        assert edfi.read_journal(path).equals(expected)


def check(log: Log, ods: ScriptedOds, journal: Path, before: pl.DataFrame, rows: int) -> None:
    """Look at a journal after a kill, and go on with it."""
    noted = edfi.read_journal(journal)
    assert noted.head(before.height).drop("at").equals(before.drop("at"))
    noted = noted.slice(before.height)
    states = {int(key): state for key, state in noted.select("key", "state").rows()}
    confirmed = {number for number, state in states.items() if state == "confirmed"}
    doubtful = {number for number, state in states.items() if state == "sent"}
    assert set(log.received) <= set(states)
    assert confirmed <= set(log.accepted)
    assert set(log.accepted) <= confirmed | doubtful
    log.received.clear()
    assert not end(start(post, ods.url, journal, range(rows)))
    assert set(log.received) == set(range(rows)) - confirmed - doubtful


@pytest.mark.parametrize("seed", SEEDS)
def test_notes_that_are_cut_off(ods: ScriptedOds, tmp_path: Path, seed: int) -> None:
    chance, log, journal = random.Random(seed), Log(ods), tmp_path / "run.edfi"
    assert end(start(post, ods.url, journal, range(ROWS), chance.randrange(20_000, 100_000)))
    check(log, ods, journal, edfi.read_journal(journal).head(0), ROWS)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that is almost too full of notes."""
    ods = ScriptedOds()
    Log(ods)
    path = tmp_path_factory.mktemp("many") / "run.edfi"
    try:
        process = start(post, ods.url, path, range(10**6, 10**6 + MANY - 100))
        assert not end(process, 1_000)
    finally:
        ods.stop()
    return path


@pytest.mark.skipif(not SOAK, reason="SOAK=1")
@pytest.mark.parametrize("by", ["size", "clock"])
@pytest.mark.parametrize("seed", SEEDS)
def test_sorting_in_between_posts(
    many: Path, ods: ScriptedOds, tmp_path: Path, seed: int, by: str
) -> None:
    chance, log = random.Random(seed), Log(ods)
    before = edfi.read_journal(copied(many, tmp_path / "before"))
    path = copied(many, tmp_path / "now")
    if by == "size":
        end(start(post, ods.url, path, range(ROWS), chance.randrange(1_000, 12_000_000)))
    else:
        process = start(post, ods.url, path, range(ROWS))
        while log.received.total() < 90 + chance.randrange(100) and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.random() * 0.3)
        kill(process)
        end(process)
    check(log, ods, path, before, ROWS)
