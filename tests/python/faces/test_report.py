"""The page that a person reads after a night: what it tells, and what it keeps to itself."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASSESSMENTS = "ed-fi/studentAssessments"


def text_of(page: str) -> str:
    """The words of a page, one space between two."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body.replace("<wbr>", "")).split())


def results(messages: list[str | None], **columns: Any) -> pl.DataFrame:
    """What a batch gives, of rows that failed where they have a message."""
    n = len(messages)
    return pl.DataFrame(
        {
            "key": [f"key-{i}" for i in range(n)],
            "status": [None if message is None else "error" for message in messages],
            "message": pl.Series(messages, dtype=pl.String),
            "http_status": pl.Series([None] * n, dtype=pl.Int32),
            "correlation_id": pl.Series([None] * n, dtype=pl.String),
            "row_index": pl.Series(range(n), dtype=pl.get_index_type()),
            "row_id": [f"row-{i}" for i in range(n)],
        }
    ).with_columns(**columns)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[edfi.Sandbox]:
    with edfi.Sandbox(["255901", "255902"], 30) as ods:
        yield ods


def client_of(ods: edfi.Sandbox) -> edfi.StudentAssessment:
    url, key, secret = ods.districts().row(0)[1:]
    return edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)


def tokens(ods: edfi.Sandbox) -> pl.DataFrame:
    return edfi.EdFiClient().batch_fetch_tokens(
        ods.districts(), oauth_endpoint="oauth/token", account_col="District BK"
    )


def payloads(ods: edfi.Sandbox) -> pl.DataFrame:
    records = client_of(ods).get_all(key="a")["data"]
    assert records is not None
    return edfi.unflatten(records.drop("_unknown")).with_columns(k=pl.lit("x"))


def test_every_result(sandbox: edfi.Sandbox, tmp_path: Path) -> None:
    client, rows = client_of(sandbox), payloads(sandbox)
    wrong = rows.with_columns(payload=pl.lit('{"studentReference": 7}'))
    there = sandbox.districts().join(tokens(sandbox).drop("oAuthKey"), on="District BK")
    read = client.batch_get_all(there, key_col="District BK")
    posts: dict[str, Any] = {"payload_col": "payload", "key_col": "k"}
    ids = read.select("id", k="District BK").head(3)
    found: dict[str, tuple[pl.DataFrame, str]] = {
        "tokens": (tokens(sandbox), "2 ok"),
        "get_all": (read, "60 ok"),
        "summary": (edfi.summary(there, read, key_col="District BK"), "2 ok"),
        "dry run": (client.batch_post_payload(rows, **posts), "30 dry_run"),
        "post": (client.batch_post_payload(rows, commit=True, **posts), "30 ok"),
        "get_by_id": (client.batch_get_by_id(ids, id_col="id"), "3 ok"),
        "delete": (client.batch_delete_by_id(ids, id_col="id", key_col="k"), "3 dry_run"),
        "send": (client.send({ASSESSMENTS: wrong}, commit=True), "30 error"),
        "remove": (client.remove({ASSESSMENTS: ids}), "3 dry_run"),
        "validate": (client.validate({ASSESSMENTS: wrong}), "error"),
        "compare": (client.compare({ASSESSMENTS: rows}), "30 same"),
        "permissions": (client.batch_permissions(there, key_col="District BK"), "2 ok"),
        "sync": (
            edfi.sync(there, ["ed-fi/students"], into=tmp_path, key_col="District BK"),
            "2 ok",
        ),
    }
    for name, (df, expected) in found.items():
        report = edfi.report(df)
        assert expected in repr(report), name
        assert f"rows {df.height:,} " in text_of(report.html), name
    together = edfi.report({name: df for name, (df, _) in found.items()})
    words = text_of(together.html)
    for name in found:
        assert re.search(rf"\b{name}\b", words), name
    assert f"rows {sum(df.height for df, _ in found.values()):,} " in words
    secret = sandbox.districts()["oAuthSecret"][0]
    for planted in [secret, there["EdFi Token"][0], read["id"][0], ids["id"][0]]:
        assert planted not in together.html


def test_copies_tell_of_districts_and_what_they_took(sandbox: edfi.Sandbox, tmp_path: Path) -> None:
    there = sandbox.districts().join(tokens(sandbox).drop("oAuthKey"), on="District BK")
    resources = ["ed-fi/students", ASSESSMENTS]
    copied = edfi.sync(there, resources, into=tmp_path, key_col="District BK")
    words = text_of(edfi.report(copied).html)
    assert "By district" in words
    for (district,), rows in copied.group_by("District BK"):
        sums = f"{rows['rows'].sum():,} {rows['written'].sum():,}"
        requests = f"{rows['requests'].sum():,} {rows['seconds'].sum():,.1f}"
        assert re.search(rf"\b{district} 2 {sums} \d+ \d+ {requests}", words), district
    for resource in resources:
        assert f" {resource} 2 " in words


def test_by_district_where_a_column_is_named() -> None:
    df = results([None, "HTTP 503 Service Unavailable", None]).with_columns(
        pl.Series("District BK", ["b", "a", "b"])
    )
    assert "By district" not in edfi.report(df).html
    words = text_of(edfi.report(df, key_col="District BK").html)
    assert "error a 1 0 1 b 2 2 0" in words
    with pytest.raises(edfi.EdFiError, match="key_col='no'"):
        edfi.report(df, key_col="no")


def test_the_most_frequent_messages_come_first() -> None:
    told = [f"HTTP 409 Conflict: item {n % 97} is taken" for n in range(600)]
    told += [f"reason {chr(97 + n)} is given" for n in range(20) for _ in range(20 - n)]
    words = text_of(edfi.report(results([None, *told])).html)
    assert "The 10 most frequent of 21 messages" in words
    assert "600 error HTTP 409 Conflict: item … is taken row 1 20 error reason a" in words
    assert "reason i is given" in words
    assert "reason j is given" not in words


def test_notices_stand_after_errors() -> None:
    df = results(["level 3"] * 50).with_columns(status=pl.lit("dry_run"))
    both = pl.concat([df, results(["HTTP 500 Internal Server Error"])])
    words = text_of(edfi.report(both).html)
    assert words.index("HTTP 500") < words.index("level …")


PLANTED = [
    "The value 'Garcia' is not valid.",
    "Student Garcia was not found.",
    'The value "garcia lopez" is not valid.',
    "Key (lastSurname)=(garcia) already exists.",
    "studentUniqueId=garcia is unknown",
    "See GARCIA, and García-Lopez, and O'Garcia.",
    "See \u201cgarcia\u201d and \u2018garcia\u2019",
    "write to garcia@example.org",
    'body: {"lastSurname": "garcia"}',
    "an end that is missing: 'garcia",
    "https://ods.example.org/students?lastSurname=garcia",
    "the item of 'O'Garcia' is taken",
    "item garcia-604822 is taken",
    "item 604822garcia is taken",
]


@pytest.mark.parametrize("message", PLANTED)
def test_people_stay_out(message: str) -> None:
    df = results([f"HTTP 400 Bad Request: {message}"], correlation_id=pl.lit("Garcia"))
    page = edfi.report(df).html.lower()
    assert "http 400 bad request: " in page
    for planted in ["garcia", "garcía", "lopez", "604822", "key-0", "row-0"]:
        assert planted not in page
    shown = edfi.report(df, show_data=True).html
    for planted in ["Garcia", "key-0", "row-0"]:
        assert planted in shown


KEPT = [
    "HTTP 409 Conflict: The referenced 'Student' item does not exist.",
    "HTTP 400 Bad Request: $.schoolReference: SchoolReference is required.",
    "HTTP 403 Forbidden: Access to the resource could not be authorized.",
    "not sent: https://ods.example.org:8443 does not answer",
    "auth error: HTTP 401 (re-auth not possible: empty 'oAuthKey')",
    "missing 'EdFi Token'",
    "connection broken after the request was sent; it may have been applied",
    "token endpoint: HTTP 404 Not Found",
    "the caller's claims don't include 'StudentUniqueId'",
]


@pytest.mark.parametrize("message", KEPT)
def test_words_of_the_trade_stay(message: str) -> None:
    page = edfi.report(results([message])).html
    assert message in page.replace("&#x27;", "'")


def test_what_comes_from_elsewhere_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    df = results([evil]).with_columns(
        pl.lit(evil).alias("status"),
        pl.lit(evil).alias("endpoint"),
        pl.lit(evil).alias("key"),
        pl.lit(evil).alias("District BK"),
        pl.lit(evil).alias("correlation_id"),
    )
    report = edfi.report({evil: df}, key_col="District BK", title=evil, show_data=True)
    for page in [report.html, report._repr_html_()]:
        assert "<script" not in page.lower()
        assert page.count("&lt;script&gt;") >= 6


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    report = edfi.report(results([None, "HTTP 500 Internal Server Error"]))
    path = report.save(tmp_path / "night.html")
    page = path.read_text("utf-8")
    assert page == report.html
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"(?i)<script|<link|<img|@import|url\(|\bsrc=|\bhref=|\bon\w+=", page)
    assert report._repr_html_() in page
    assert repr(report) == "Report(1 ok, 1 error)"


@pytest.mark.parametrize(
    "df",
    [
        results([]),
        pl.DataFrame(schema={"status": pl.String}),
        pl.DataFrame(schema={"state": pl.String}),
    ],
)
def test_empty(df: pl.DataFrame) -> None:
    report = edfi.report(df)
    assert repr(report) == "Report(no rows)"
    assert "rows 0" in text_of(report.html)
    assert repr(edfi.report({})) == "Report(no rows)"


@pytest.mark.parametrize("dtype", [pl.Null, pl.String, pl.Int64, pl.List(pl.String)])
def test_nulls(dtype: Any) -> None:
    names = [*results([]).columns, "endpoint", "mode", "rows", "requests", "seconds", "stage"]
    df = pl.DataFrame({name: pl.Series([None] * 3, dtype=dtype) for name in names})
    report = edfi.report(df)
    assert repr(report) == "Report(3 ok)"
    assert "None" not in text_of(report.html)
    assert "null" not in text_of(report.html)


def test_other_dtypes() -> None:
    df = results(["a", "b"]).with_columns(
        pl.col("status").cast(pl.Categorical),
        pl.col("message").cast(pl.Enum(["a", "b"])),
        pl.col("key").str.slice(4).cast(pl.Int64),
        pl.struct("key").alias("row_id"),
    )
    assert repr(edfi.report(df, show_data=True)) == "Report(2 error)"


def test_what_is_no_result() -> None:
    with pytest.raises(edfi.EdFiError, match="one of the columns status, row status"):
        edfi.report(pl.DataFrame({"a": [1]}))
    with pytest.raises(edfi.EdFiError, match=r"results\['b'\] must be the result of a call"):
        edfi.report({"a": results([]), "b": pl.DataFrame({"a": [1]})})
    with pytest.raises(edfi.EdFiError, match="collect it first"):
        edfi.report(results([]).lazy())  # type: ignore[arg-type]
    with pytest.raises(edfi.EdFiError, match="results must be a DataFrame"):
        edfi.report([1])  # type: ignore[arg-type]


def test_stats(sandbox: edfi.Sandbox) -> None:
    client = client_of(sandbox)
    df = client.batch_get_all(
        pl.DataFrame({"k": ["a"], "targetUrl": sandbox.districts()["targetUrl"][0]}), key_col="k"
    )
    stats = client.stats
    assert stats is not None
    words = text_of(edfi.report(df, stats=stats).html)
    assert f"requests {stats['requests']}" in words
    assert "MB received" in words


def test_a_million_rows() -> None:
    """Messages of which no two are equal, as long as an ODS writes them."""
    n = 1_000_000
    row = pl.int_range(n)
    text = "HTTP 403 Forbidden: Access to the resource item could not be authorized based on '"
    df = pl.select(
        endpoint=pl.lit(ASSESSMENTS),
        key=row.cast(pl.String),
        status=pl.when(row % 2 == 0).then(pl.lit("error")),
        message=pl.when(row % 2 == 0).then(pl.lit(text) + row.cast(pl.String) + "'"),
        row_index=row.cast(pl.UInt32),
    )
    began = time.process_time()
    report = edfi.report(df)
    assert time.process_time() - began < 20
    assert repr(report) == "Report(500,000 ok, 500,000 error)"
    assert "500,000 error" in text_of(report.html)
