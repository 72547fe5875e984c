"""Several clients of one ODS, each of which sees its own records of it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds
from test_validate import Ods

import polars_edfi as edfi

MANY = 20


class Shared(Ods):
    """The ODS of `test_validate`, where each token shows the schools that are its own."""

    seen: dict[str, range] = {"a": range(100, 100 + MANY), "b": range(200, 200 + MANY)}  # noqa: RUF012

    def answer(self, request: Request) -> Answer | None:
        if not request.path.startswith("/data") or request.method != "GET":
            return super().answer(request)
        if request.token not in self.seen:
            return Answer(401)
        all_schools, own = self.schools, self.seen[request.token]
        self.schools = [one for one in all_schools if one["schoolId"] in own]
        try:
            return super().answer(request)
        finally:
            self.schools = all_schools


@pytest.fixture
def server(ods: ScriptedOds) -> Shared:
    shared = Shared(ods)
    numbers = [number for own in shared.seen.values() for number in own]
    shared.schools = [school(number) for number in numbers]
    return shared


def school(number: int) -> dict[str, Any]:
    return {"id": f"s{number}", "schoolId": number, "nameOfInstitution": "x"}


def rows(server: Shared, payload: Any, *, count: int = MANY) -> pl.DataFrame:
    """Give a row of each client in turn."""
    cells = [
        (json.dumps(payload(number)), token)
        for numbers in zip(*(own[:count] for own in server.seen.values()), strict=True)
        for token, number in zip(server.seen, numbers, strict=True)
    ]
    return pl.DataFrame(cells, schema=["payload", "EdFi Token"], orient="row").with_columns(
        targetUrl=pl.lit(server.ods.url)
    )


def body(number: int) -> dict[str, Any]:
    return {"schoolId": number, "nameOfInstitution": "x"}


@pytest.mark.parametrize("count", [2, MANY])
def test_rows_are_compared_with_what_their_own_client_sees(server: Shared, count: int) -> None:
    df = rows(server, body, count=count)
    out = edfi.EdFiClient().compare(df, endpoint="ed-fi/schools")
    assert out["status"].to_list() == ["same"] * df.height
    assert out["id"].to_list() == [f"s{number}" for number in numbers(df)]


def numbers(df: pl.DataFrame) -> list[int]:
    return [json.loads(text)["schoolId"] for text in df["payload"]]


def test_what_no_row_names_is_told_once_whoever_sees_it(server: Shared) -> None:
    server.seen = {**server.seen, "b": range(100, 200 + MANY)}
    server.schools.append(school(150))
    df = pl.concat(
        [
            pl.DataFrame({"payload": json.dumps(body(100)), "EdFi Token": "a"}),
            pl.DataFrame({"payload": json.dumps(body(200)), "EdFi Token": "b"}),
        ]
    ).with_columns(targetUrl=pl.lit(server.ods.url))
    out = edfi.EdFiClient().compare(df, endpoint="ed-fi/schools", extra=True)
    extra = sorted(out.filter(status="extra")["id"])
    named = {"s100", "s200"}
    assert extra == sorted({one["id"] for one in server.schools} - named)


@pytest.mark.parametrize("count", [2, MANY])
def test_what_their_own_client_sees_is_there_for_rows(server: Shared, count: int) -> None:
    def refers(number: int) -> dict[str, Any]:
        return {"studentUniqueId": str(number), "schoolReference": {"schoolId": number}}

    df = rows(server, refers, count=count)
    out = edfi.EdFiClient().validate(df, endpoint="ed-fi/students")
    assert out.rows() == []


def test_the_secret_of_one_client_that_is_wrong_is_no_matter_to_others(server: Shared) -> None:
    def refers(number: int) -> dict[str, Any]:
        return {"studentUniqueId": str(number), "schoolReference": {"schoolId": number + 50}}

    df = rows(server, refers, count=3)
    refused = df.with_columns(pl.lit("refused").alias("EdFi Token"))[:1]
    out = edfi.EdFiClient().validate(pl.concat([refused, df]), endpoint="ed-fi/students")
    missing = out.filter(rule="references", severity="error")
    assert missing["row_index"].to_list() == list(range(1, 1 + df.height))
