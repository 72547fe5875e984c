"""Answers that lead on and on: pages, tokens, partitions and lists without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = "ed-fi/students"
PAGE = [{"id": f"{n:032x}", "n": n} for n in range(10)]


def client(ods: ScriptedOds) -> edfi.EdFiClient:
    return edfi.Resource(
        ENDPOINT, base_url=ods.url, api_version="v3", bearer_token="token", max_retries=0
    )


def message(ods: ScriptedOds, **options: Any) -> str:
    read = client(ods).get_all(key="a", schema="infer", limit=10, **options)
    assert read["status"] == "error"
    assert read["data"] is None
    return str(read["message"])


def leading_on(page: list[dict[str, object]]) -> Callable[[Request], Answer]:
    """A new token with each page."""
    numbers = iter(range(1_000_000))
    return lambda _: Answer(200, page, {"Next-Page-Token": f"t{next(numbers)}"})


@pytest.mark.parametrize("paging", ["auto", "cursor"])
@pytest.mark.parametrize("page", [PAGE, [{"n": 1}] * 10], ids=["ids", "no ids"])
def test_new_tokens_of_the_same_records_end(
    ods: ScriptedOds, paging: str, page: list[dict[str, object]]
) -> None:
    ods.script = leading_on(page)
    assert "its pages have no end" in message(ods, paging=paging)
    assert len(ods.requests) < 100
    scan = edfi.scan(ENDPOINT, client=client(ods), schema={"n": pl.Int64}, limit=10)
    with pytest.raises(Exception, match="its pages have no end"):
        scan.collect()


def test_the_same_page_whatever_the_offset_ends_whatever_the_count(ods: ScriptedOds) -> None:
    ods.script = lambda _: Answer(200, PAGE, {"Total-Count": "1000000000000"})
    assert "the server does not page" in message(ods)
    scan = edfi.scan(ENDPOINT, client=client(ods), schema={"n": pl.Int64}, limit=10)
    with pytest.raises(Exception, match="the server does not page"):
        scan.collect()
    assert len(ods.requests) < 200


def test_no_more_partitions_are_read_than_were_asked_for(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer:
        if request.path.endswith("/partitions"):
            return Answer(200, {"pageTokens": [f"t{n}" for n in range(20_000)]})
        return Answer(200, PAGE, {"Next-Page-Token": "t"})

    ods.script = script
    assert "20000 partitions" in message(ods, paging="cursor")
    assert len(ods.requests) == 2


def test_a_partition_that_is_told_twice_is_read_once(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer:
        if request.path.endswith("/partitions"):
            return Answer(200, {"pageTokens": ["t", "t", "t"]})
        more = "pageToken" not in request.query
        return Answer(200, PAGE, {"Next-Page-Token": "t"} if more else {})

    ods.script = script
    read = client(ods).get_all(key="a", schema="infer", limit=10, paging="cursor")
    assert read["data"]["id"].to_list() == [record["id"] for record in PAGE]
    assert len(ods.requests) == 3


def test_a_token_that_no_url_carries_is_told(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer:
        token = "t" if "pageToken" not in request.query else "t" * 30_000
        return Answer(200, PAGE, {"Next-Page-Token": token})

    ods.script = script
    assert "30000 bytes" in message(ods)


def test_no_endless_list_of_documents_is_gone_through(ods: ScriptedOds) -> None:
    def script(request: Request) -> Answer:
        if request.path == "/metadata/":
            uri = "http://x/metadata/data/v3/{}/resources/swagger.json"
            entries = [{"name": "Resources", "endpointUri": uri.format(n)} for n in range(5_000)]
            return Answer(200, entries)
        return Answer(404)

    ods.script, ods.serves_metadata = script, True
    read = client(ods).get_all(key="a")
    assert "a list of 5000 documents" in read["message"]
    assert len(ods.requests) < 10


def test_what_a_discovery_document_says_is_cut(ods: ScriptedOds) -> None:
    template = f"http://x/{{{'y' * 100_000}}}/data/v3"
    ods.script = lambda _: Answer(200, {"urls": {"dataManagementApi": template}})
    ods.serves_metadata = True
    reader = edfi.Resource(ENDPOINT, base_url=ods.url, bearer_token="token")
    out = reader.get_by_id("a")
    assert "the base URL lacks" in out["message"]
    assert len(out["message"]) < 1_000
