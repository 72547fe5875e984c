"""Wrong arguments raise an EdFiError that names them; warnings are said once."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

DF = pl.DataFrame({"id": ["a"]})
NAN = float("nan")
STUDENTS = edfi.Resource("ed-fi/students", base_url="http://127.0.0.1:1", bearer_token="t")

# Wrong on purpose.
WRONG: list[tuple[str, Callable[[], Any]]] = [
    (r"timeout must be a number of seconds > 0, got -1", lambda: edfi.EdFiClient(timeout=-1)),
    (r"timeout must be a number of seconds > 0, got 0", lambda: edfi.EdFiClient(timeout=0)),
    (r"timeout must be .* > 0, got nan", lambda: edfi.EdFiClient(timeout=NAN)),
    (r"timeout must be .* got True", lambda: edfi.EdFiClient(timeout=True)),
    (r"connect_timeout must be .* > 0, got 0", lambda: edfi.EdFiClient(connect_timeout=0)),
    (r"max_wait must be .* >= 0, got -1", lambda: edfi.EdFiClient(max_wait=-1)),
    (r"schema: .*nope", lambda: STUDENTS.get_all(key=1, schema={"id": "nope"})),
    (r"schema: .*nope", lambda: edfi.get_by_id("id", client=STUDENTS, schema={"a": "nope"})),
    (r"endpoint must be a text, got 3", lambda: STUDENTS.count(3)),  # type: ignore[arg-type]
    (
        r"endpoint must be a text, got 3",
        lambda: edfi.get_by_id("id", client=STUDENTS, endpoint=3),  # type: ignore[arg-type]
    ),
    (r"endpoint must be .* got 3", lambda: edfi.Resource(3)),  # type: ignore[arg-type]
    (r"endpoint must be .* got None", lambda: edfi.Resource(None)),  # type: ignore[arg-type]
    (r"columns must be .* got 3", lambda: edfi.flatten(DF, columns=3)),  # type: ignore[call-overload]
    (
        r"client must be an EdFiClient, got int",
        lambda: DF.lazy().edfi.sink_delete_by_id(client=3, id_col="id", key_col="id"),  # type: ignore[attr-defined]
    ),
    (
        r"client must be an EdFiClient, got polars.DataFrame",
        lambda: edfi.scan("ed-fi/students", client=DF),  # type: ignore[arg-type]
    ),
    (
        r"skip_statuses must be a text or a list of texts, got \[3\]",
        lambda: STUDENTS.batch_get_by_id(DF, id_col="id", skip_statuses=[3]),  # type: ignore[list-item]
    ),
    (r"retry_backoff .* got nan", lambda: STUDENTS.post_payload({}, key=1, retry_backoff=NAN)),
    (r"params must be .* got .*nan", lambda: STUDENTS.count("ed-fi/students", params={"a": NAN})),
    (
        r"params must be .* got .*NaN",
        lambda: STUDENTS.count("ed-fi/students", params={"a": Decimal("NaN")}),
    ),
    (
        r"params must be .* got list for 'studentUniqueId'$",  # whose value may name a person
        lambda: STUDENTS.count("ed-fi/students", params={"studentUniqueId": ["604822"]}),
    ),
    (r"resource_id must be a text, got list", lambda: STUDENTS.get_by_id(["5a"])),  # type: ignore[arg-type]
    (
        r"resource_id must be a text, got dict",
        lambda: STUDENTS.delete_by_id({"id": "5a"}, key=1),  # type: ignore[arg-type]
    ),
    (r"records must be a whole number >= 0, got -1", lambda: edfi.Sandbox(records=-1)),
    (r"port must be .* 65535, got 99999", lambda: edfi.Sandbox(port=99999)),
    (r"districts must be a list of names, got '12'", lambda: edfi.Sandbox("12")),
    (r"districts must be a list of names, got 3", lambda: edfi.Sandbox(3)),  # type: ignore[arg-type]
    (r"seed must be .* got 'x'", lambda: edfi.Sandbox(seed="x")),  # type: ignore[arg-type]
    (r"page_limit must be .* >= 1, got 0", lambda: edfi.Sandbox(page_limit=0)),
    (r"token_limit must be .* got -1", lambda: edfi.Sandbox(token_limit=-1)),
    (r"request_limit must be .* got 3", lambda: edfi.Sandbox(request_limit=3)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("text", "call"), WRONG)
def test_wrong_arguments_are_named(text: str, call: Callable[[], Any]) -> None:
    with pytest.raises(edfi.EdFiError, match=text):
        call()


def test_what_is_no_frame_is_named_with_its_package() -> None:
    for wrong, name in [(pl.col("id"), "polars.Expr"), ({"id": ["a"]}, "dict"), (1, "int")]:
        with pytest.raises(TypeError, match=rf"got {name}\b"):
            STUDENTS.batch_get_by_id(wrong, id_col="id")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2024, 8, 1), "2024-08-01"),
        (datetime(2024, 8, 1, 6, tzinfo=UTC), "2024-08-01T06:00:00Z"),
        (
            datetime(2024, 8, 1, 6, tzinfo=timezone(timedelta(hours=-5))),
            "2024-08-01T11:00:00Z",
        ),
        (datetime(2024, 8, 1, 6), "2024-08-01T06:00:00"),  # noqa: DTZ001
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (True, "true"),
        (7, "7"),
        (0.5, "0.5"),
        ("a b&c", "a b&c"),
    ],
)
def test_values_of_parameters(ods: ScriptedOds, value: object, text: str) -> None:
    runner = edfi.Resource(
        "ed-fi/students", base_url=ods.url, api_version="v3", bearer_token="token"
    )
    assert runner.get_all(key=1, params={"p": value, "left out": None})["status"] is None
    assert ods.paths()[0].query["p"] == text
    assert "left out" not in ods.paths()[0].query


def test_a_warning_is_said_once(ods: ScriptedOds, caplog: pytest.LogCaptureFixture) -> None:
    """As a warning of Python, not as a log line beside it."""
    page = ods.page

    def counting_one_more(request: Request) -> Answer:
        answer = page(request)
        answer.headers["Total-Count"] = str(len(ods.records) + 1)
        return answer

    ods.page = counting_one_more  # type: ignore[method-assign]
    runner = edfi.Resource("ed-fi/students", api_version="v3", max_retries=0, timeout=10)
    with (
        caplog.at_level(logging.WARNING),
        pytest.warns(UserWarning, match="server counts 4") as told,
    ):
        runner.batch_get_all(
            district(ods), key_col="District BK", schema={"id": pl.String}, on_short="warn"
        )
    assert len(told) == 1
    assert not caplog.messages
