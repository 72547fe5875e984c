"""Records of very many properties: small bodies that would take all memory as columns."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDPOINT = "ed-fi/students"


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """No test may need much more memory than there is in use before it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1_200 << 10, f"{grown >> 10} MB"


def client(ods: ScriptedOds) -> edfi.EdFiClient:
    return edfi.Resource(
        ENDPOINT, base_url=ods.url, api_version="v3", bearer_token="token", timeout=60
    )


def names(number: int, first: int = 0) -> str:
    return ",".join(f'"k{n}":1' for n in range(first, first + number))


BODIES = {
    "each its own": "[" + ",".join(f"{{{names(100, 100 * n)}}}" for n in range(1000)) + "]",
    "one of many": f"[{{{names(16_000)}}}" + ",{}" * 200_000 + "]",
    "two of many": f"[{{{names(16_000)}}}" + ",{}" * 200_000 + f",{{{names(16_000)}}}]",
    "in lists": f'[{{"a": [{{{names(16_000)}}}' + ",{}" * 200_000 + "]}]",
    "in objects": f'[{{"a": {{"b": {{{names(16_000)}}}}}}}' + ",{}" * 200_000 + "]",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_page_of_many_properties_is_an_error(ods: ScriptedOds, body: str) -> None:
    ods.script = lambda _: Answer(200, BODIES[body])
    read = client(ods).get_all(key="a", schema="infer", limit=300_000)
    assert "so many different properties" in read["message"]
    scan = edfi.scan(ENDPOINT, client=client(ods), schema={"k1": pl.Int64}, limit=300_000)
    with pytest.raises(Exception, match="so many different properties"):
        scan.collect()


def test_pages_of_other_properties_each_are_an_error_of_their_district(
    ods: ScriptedOds,
) -> None:
    def script(request: Request) -> Answer:
        first = int(request.query["offset"])
        records = [{"id": f"{n:032x}", "n": n} for n in range(first, min(first + 500, 20_000))]
        records[0] |= {f"k{first}_{n}": 1 for n in range(6_000)}
        return Answer(200, records, {"Total-Count": "20000"})

    ods.script = script
    districts = pl.DataFrame({"bk": ["a"], "targetUrl": ods.url, "EdFi Token": "token"})
    runner = edfi.Resource(ENDPOINT, api_version="v3")
    out = runner.batch_get_all(districts, key_col="bk", schema="infer")
    assert out["status"].to_list() == ["error"]
    assert "do not fit into columns" in out["message"][0]


def test_an_item_of_many_properties_costs_its_row(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer:
        number = int(request.path.rpartition("/")[2])
        item = {f"k{number}_{n}": 1 for n in range(20_000)} if number % 10 == 0 else {"n": number}
        return Answer(200, json.dumps(item))

    ods.script = script
    df = pl.DataFrame({"id": [str(n) for n in range(40)]})
    out = client(ods).batch_get_by_id(df, id_col="id")
    failed = out.filter(status="error")
    assert failed["id"].to_list() == ["0", "10", "20", "30"]
    assert failed["message"].str.contains("different properties").all()
    assert out.filter(pl.col("status").is_null())["data"].struct.field("n").null_count() == 0
