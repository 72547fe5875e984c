"""How many requests are in flight, and which rows wait for each other."""

import threading
from collections import Counter
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from writes.support import frame, number, numbered, post


@pytest.mark.parametrize(("workers", "rows"), [(1, 36), (3, 36), (12, 36), (16, 96)])
def test_so_many_requests_are_in_flight(
    ods: ScriptedOds, runner: edfi.StudentAssessment, workers: int, rows: int
) -> None:
    barrier = threading.Barrier(workers)
    flying, most = 0, 0
    lock = threading.Lock()

    def script(_: Request) -> Answer:
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        barrier.wait(30)
        with lock:
            flying -= 1
        return Answer(201)

    ods.script, ods.one_at_a_time = script, False
    out = post(runner, frame(ods, numbered(rows)), workers=workers)
    assert out["key"].to_list() == list(range(rows))
    assert out["status"].null_count() == rows
    assert most == workers
    connections = len({request.port for request in ods.requests})
    assert connections <= workers + 10, "connections stay open"
    assert sorted(map(number, ods.requests)) == list(range(rows))


def test_rows_of_one_key_go_one_after_another(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    keys = 4
    barrier = threading.Barrier(keys)
    flying: Counter[int] = Counter()
    seen: list[int] = []
    lock = threading.Lock()

    def script(request: Request) -> Answer:
        n = number(request)
        with lock:
            seen.append(n)
            flying[n % keys] += 1
            assert flying[n % keys] == 1
        barrier.wait(30)
        with lock:
            flying[n % keys] -= 1
        return Answer(201)

    ods.script, ods.one_at_a_time = script, False
    df = frame(ods, numbered(40)).with_columns(natural=pl.col("key") % keys)
    out = post(runner, df, workers=16, order_by_col="natural")
    assert out["status"].null_count() == 40
    assert out["key"].to_list() == list(range(40))
    for key in range(keys):
        assert [n for n in seen if n % keys == key] == list(range(key, 40, keys))


@pytest.mark.parametrize("dtype", [pl.String, pl.Int32, pl.Categorical], ids=str)
def test_rows_without_a_key_wait_for_nobody(
    ods: ScriptedOds, runner: edfi.StudentAssessment, dtype: Any
) -> None:
    barrier = threading.Barrier(4)

    def script(_: Request) -> Answer:
        barrier.wait(30)
        return Answer(201)

    ods.script, ods.one_at_a_time = script, False
    df = frame(ods, numbered(4)).with_columns(natural=pl.lit(None, dtype))
    assert post(runner, df, workers=4, order_by_col="natural")["status"].null_count() == 4


def test_a_failed_row_does_not_stop_those_of_its_key(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda request: Answer(400) if number(request) == 1 else None
    df = frame(ods, [*numbered(3), "{", '{"n": 4}'], natural="x")
    out = post(runner, df, order_by_col="natural", workers=4)
    assert out["http_status"].to_list() == [201, 400, 201, None, 201]
    assert list(map(number, ods.requests)) == [0, 1, 2, 4]
