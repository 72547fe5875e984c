"""Keys that are known by their paths alone, where no document tells their parameters."""

from __future__ import annotations

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, rows

import polars_edfi as edfi

OWN, PROGRAM = "ownReference.educationOrganizationId", "programReference.educationOrganizationId"


@pytest.fixture
def server(ods: ScriptedOds) -> ScriptedOds:
    """Two records, whose keys are in two places that end in one name."""
    records = [
        {
            "id": f"{own}-{other}",
            "ownReference": {"educationOrganizationId": own},
            "programReference": {"educationOrganizationId": other},
        }
        for own, other in [(1, 2), (2, 1)]
    ]

    def answer(request: Request) -> Answer | None:
        if request.method != "GET" or not request.path.endswith("/programs"):
            return None
        asked = request.query.get("educationOrganizationId")
        found = [
            record
            for record in records
            if asked is None or str(record["ownReference"]["educationOrganizationId"]) == asked  # type: ignore[index]
        ]
        offset = int(request.query["offset"])
        return Answer(200, found[offset:], {"Total-Count": str(len(found))})

    ods.script = answer
    return ods


@pytest.mark.parametrize("parts", [[OWN, PROGRAM], [PROGRAM, OWN]])
def test_parts_that_end_in_one_name_are_not_asked_for(
    server: ScriptedOds, parts: list[str]
) -> None:
    df = rows(server, pl.Series(OWN, [1, 2, 2]), **{PROGRAM: [2, 1, 2]})
    programs = edfi.Resource("ed-fi/programs", max_retries=0)
    out = programs.batch_find_ids(df, key_cols=parts)
    assert out["id"].to_list() == ["1-2", "2-1", None]
    assert out["status"].to_list() == [None, None, "missing"]
    server.requests.clear()
    out = programs.batch_find_ids(df, key_cols=parts, how="lookup")
    assert out["status"].to_list() == ["error"] * 3
    assert 'how="scan" reads the collection' in out["message"][0]
    assert server.paths() == []
