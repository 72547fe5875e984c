"""Journals of many districts: none waits for another, and what is wrong with one stays there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import polars as pl
from conftest import Answer, Request, ScriptedOds, rows

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeOds = Callable[[], ScriptedOds]


def post(df: pl.DataFrame, journal: Path, **options: Any) -> pl.DataFrame:
    runner = edfi.StudentAssessment(api_version="v3", max_retries=0, timeout=30)
    given = {"payload_col": "payload", "key_col": "key", "commit": True, "journal": journal}
    return runner.batch_post_payload(df, **given | options)


def payloads(ods: ScriptedOds, *numbers: int) -> pl.DataFrame:
    return rows(ods, pl.Series("payload", [f'{{"n": {n}}}' for n in numbers]))


def test_nobody_waits_for_a_district_whose_documents_do_not_come(
    make_ods: MakeOds, tmp_path: Path
) -> None:
    silent, living = make_ods(), make_ods()
    arrived, release = threading.Event(), threading.Event()

    def stay_silent(request: Request) -> Answer | None:
        if request.path.startswith("/metadata"):
            assert release.wait(30)
            return Answer(404)
        return None

    def arrive(request: Request) -> Answer | None:
        if request.body == b'{"n": 9}':
            arrived.set()
        return None

    silent.script, silent.serves_metadata, silent.one_at_a_time = stay_silent, True, False
    living.script = arrive
    df = pl.concat([payloads(silent, 0), payloads(living, *range(10)), payloads(silent, 1)])
    df = df.with_columns(key=pl.int_range(pl.len()))
    results: list[pl.DataFrame] = []
    call = threading.Thread(target=lambda: results.append(post(df, tmp_path / "j")))
    call.start()
    came = arrived.wait(15)
    release.set()
    call.join(30)
    assert came
    assert results[0]["status"].null_count() == 12
    assert results[0]["key"].to_list() == list(range(12))
    assert post(df, tmp_path / "j")["attempts"].sum() == 0


def test_keys_that_are_not_unique_cost_their_own_district(
    make_ods: MakeOds, tmp_path: Path
) -> None:
    one, other = make_ods(), make_ods()
    wrong = payloads(one, 1, 2).with_columns(key=pl.lit(7, pl.Int64))
    sent = post(pl.concat([wrong, payloads(other, 1, 2)]), tmp_path / "j")
    assert sent["status"].to_list() == ["error", "error", None, None]
    assert "have the same key_col and different payloads" in sent["message"][0]
    assert one.paths() == []


def test_one_ods_in_other_words_is_one(ods: ScriptedOds, tmp_path: Path) -> None:
    df = payloads(ods, 1, 1, 2).with_columns(
        pl.Series("targetUrl", [ods.url, f" {ods.url}/ ", ods.url.replace("http", "HTTP")]),
        key=pl.Series(["a", "a", "b"]),
    )
    assert post(df, tmp_path / "j")["attempts"].to_list() == [1, 0, 1]
    assert len(ods.paths()) == 2


def test_rows_that_must_wait_for_each_other_do_in_all_districts(
    make_ods: MakeOds, tmp_path: Path
) -> None:
    servers = [make_ods(), make_ods()]
    seen: list[int] = []
    for ods in servers:
        ods.script = lambda request: seen.append(int(request.body[6:-1])) or None  # type: ignore[func-returns-value]
    df = pl.concat([payloads(servers[n % 2], n) for n in range(12)])
    df = df.with_columns(key=pl.int_range(pl.len()), order=pl.lit("x"))
    assert post(df, tmp_path / "j", order_by_col="order")["status"].null_count() == 12
    assert seen == list(range(12))
