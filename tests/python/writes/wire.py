"""What a sandbox holds, read without this library."""

import json
import urllib.request
from decimal import Decimal
from functools import cache
from typing import Any

import polars_edfi as edfi

STUDENT_ASSESSMENTS = "ed-fi/studentAssessments"


@cache
def access(ods: edfi.Sandbox) -> tuple[str, str | None]:
    url, key, secret = ods.districts().row(0)[1:]
    runner = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    return url, runner.fetch_token()["token"]


def wire(ods: edfi.Sandbox, endpoint: str) -> list[dict[str, Any]]:
    """What the sandbox holds, read without this library; without what the server adds."""
    url, token = access(ods)
    records: list[dict[str, Any]] = []
    while True:
        query = f"limit=500&offset={len(records)}"
        request = urllib.request.Request(
            f"{url}/data/v3/{endpoint}?{query}", headers={"authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request) as answer:
            page = json.load(answer, parse_float=Decimal)
        if not page:
            return records
        records += [bare(record) for record in page]


def bare(record: Any, name: str | None = None) -> Any:
    """A record without server fields, links, nulls and empty objects."""
    if isinstance(record, list):
        return [bare(item, "") for item in record]
    if not isinstance(record, dict):
        return record
    drop = {"id", "_etag", "_lastModifiedDate"} if name is None else set()
    drop |= {"link"} if (name or "").endswith("Reference") else set()
    members = {key: bare(value, key) for key, value in record.items() if key not in drop}
    return {key: value for key, value in members.items() if value is not None and value != {}}


def client(ods: edfi.Sandbox, endpoint: str = STUDENT_ASSESSMENTS) -> edfi.Resource:
    url, key, secret = ods.districts().row(0)[1:]
    return edfi.Resource(endpoint, base_url=url, client_id=key, client_secret=secret)
