"""ODSs that move during runs and between them: after a quiet run the copy is what the ODS has."""

import os
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi

from .test_sync import RESULTS, STUDENTS, assert_equal, client_of

ENDPOINTS = [STUDENTS, RESULTS, "ed-fi/studentSchoolAssociations"]
SEEDS = range(300 if os.environ.get("SOAK") else 3)
KINDS: list[Any] = ["insert", "delete", "edit", "recreate", "rekey"]


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    ("release", "fmt", "options"),
    [
        ("7.3", "parquet", {}),
        ("7.3", "delta", {"paging": "offset"}),
        ("6.1", "parquet", {"schema": "infer"}),
        ("5.3", "parquet", {}),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_copies_follow_a_moving_ods(
    tmp_path: Path, seed: int, release: str, fmt: Any, options: dict[str, Any]
) -> None:
    chance = random.Random(seed)
    with edfi.Sandbox(records=60, seed=seed, release=release) as ods:
        client = client_of(ods)

        def sync() -> pl.DataFrame:
            given = options | {
                "limit": chance.choice([7, 25, 500]),
                "workers": chance.choice([1, 8]),
            }
            return edfi.sync(client, ENDPOINTS, into=tmp_path, format=fmt, **given)

        for _ in range(3):
            for endpoint in ENDPOINTS:
                per_request = chance.choice([0.3, 1.0])
                ods.set_schedule(
                    "255901", endpoint, seed=chance.randrange(1 << 30), per_request=per_request
                )
                for _ in range(chance.randrange(4)):
                    late = chance.choice([0, 0, 0, 1, 3])
                    number = chance.randrange(20)
                    ods.mutate("255901", endpoint, chance.choice(KINDS), number, late=late)
            sync()  # a resource that moves too fast is an error row, and its copy as it was
        for endpoint in ENDPOINTS:
            ods.set_schedule("255901", endpoint)
            for _ in range(4):  # what began late is committed before one of these
                client.count(endpoint)
        report = sync()
        assert report["status"].null_count() == len(ENDPOINTS), report["message"].to_list()
        for endpoint in ENDPOINTS:
            assert_equal(client, tmp_path, endpoint, fmt)


def test_an_old_change_of_a_key_hides_no_item_that_was_made_again(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    """It tells of the key that the student had then."""
    edfi.sync(client, RESULTS, into=tmp_path)
    ods.mutate("255901", RESULTS, "rekey", 3)
    edfi.sync(client, RESULTS, into=tmp_path)
    for number in range(10):
        ods.mutate("255901", STUDENTS, "rekey", number)
    edfi.sync(client, RESULTS, into=tmp_path)
    ods.mutate("255901", RESULTS, "recreate", 3)
    report = edfi.sync(client, RESULTS, into=tmp_path)
    assert report.select("written", "deleted", "repaired").row(0) == (1, 1, 0)
    assert_equal(client, tmp_path, RESULTS)
