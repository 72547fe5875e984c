"""Every operation beside every fault: each row is told of, and told of rightly.

A cell is an operation, a fault and the requests that it befalls, all drawn from a seed. ``SOAK=1``
tries all cells, ``SEED=7`` others, and ``SHARD=0/4`` every fourth of them: they mostly wait, so
that some processes take them in a fraction of the time. A cell that fails shows what the server
saw.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import time

import polars as pl
import pytest

import polars_edfi as edfi
from faults.operations import OPERATIONS, WORKERS
from faults.server import FAULTS, faulty

SOAK = bool(os.environ.get("SOAK"))
#: No cell may take longer: every wait in it has an end.
LIMIT = 25.0
#: Errors of a scan and of an expression come out of Polars.
OF_POLARS = (pl.exceptions.ComputeError, OSError)
#: Which of the processes this is, and how many there are.
SHARD, SHARDS = map(int, os.environ.get("SHARD", "0/1").split("/"))
CELLS = [*itertools.product(OPERATIONS, ("first", "always", "some"))]


def run_cell(operation: str, fault: str, mode: str, seed: int) -> None:
    with faulty(fault, mode, WORKERS, seed) as ods:
        began = time.monotonic()
        try:
            OPERATIONS[operation](ods)
        except (edfi.EdFiError, *OF_POLARS) as error:
            assert operation in ("scan", "windows"), error  # noqa: PT017
        except AssertionError as error:
            seen = "\n".join(ods.log)
            error.add_note(f"{operation} / {fault} / {mode} / seed {seed}\n{seen}")
            raise
        took = time.monotonic() - began
        cell = (operation, fault, mode, seed, ods.log)
        assert took < LIMIT, (took, cell)
        assert ods.most <= ods.workers, (ods.most, cell)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation_tells_the_truth(fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    names = [*FAULTS]
    seed = int(os.environ.get("SEED", "0"))
    chance = random.Random(seed * 1000 + names.index(fault))
    cells = CELLS if SOAK else chance.sample(CELLS, 5)
    drawn = [(operation, mode, chance.randrange(1 << 30)) for operation, mode in cells]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for operation, mode, seed_of_cell in drawn[SHARD::SHARDS]:
        run_cell(operation, fault, mode, seed_of_cell)
    assert "panicked" not in capfd.readouterr().err
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400 << 10, f"{grown >> 10} MB"
