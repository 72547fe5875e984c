"""What pages say of defaults and releases, held against what happens."""

import inspect
import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district, rows

import polars_edfi as edfi

ROOT = Path(__file__).parents[2]
SCORES = "ed-fi/studentAssessments"


def page(name: str) -> str:
    """The text of a page, without its line breaks."""
    return " ".join((ROOT / "docs" / name).read_text("utf-8").split())


def _auth(ods: edfi.Sandbox) -> dict[str, str]:
    url, key, secret = ods.districts().row(0)[1:]
    return {"base_url": url, "client_id": key, "client_secret": secret}


def one(ods: edfi.Sandbox) -> edfi.EdFiClient:
    """A client of a sandbox's first district."""
    return edfi.EdFiClient(**_auth(ods))


def test_the_overlap_of_changes_is_as_written() -> None:
    overlap = inspect.signature(edfi.EdFiClient.changes).parameters["overlap"].default
    assert f"A window begins {overlap:,} versions earlier" in page("changes.md")


def row_of_releases(name: str) -> list[str]:
    """A row of the table: 5.1 to 5.3, 6.x, 7.0 to 7.2, 7.3, 8."""
    (line,) = (
        line
        for line in (ROOT / "docs/releases.md").read_text("utf-8").splitlines()
        if line.startswith(f"| {name}")
    )
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


RELEASES = ["5.3", "6.1", "7.2", "7.3"]


@pytest.mark.parametrize("release", RELEASES)
def test_releases_do_what_the_table_says(release: str) -> None:
    column = RELEASES.index(release)
    with edfi.Sandbox(["255901"], 20, release=release) as ods:
        client = one(ods)
        ods.take_snapshot("255901")
        ods.mutate("255901", SCORES, "delete", 0)
        gone = client.deletes(SCORES)
        kept = client.get_all(endpoint=SCORES, key=1, snapshot=True)["data"].height
    tells_keys = any(name.startswith("keyValues.") for name in gone.columns)
    assert tells_keys == (row_of_releases("deletes tell their keys")[column] == "yes")
    assert kept == 20
    assert "not" not in row_of_releases("snapshots")[column]


def test_what_a_document_does_not_list_comes_along_when_it_is_posted_back() -> None:
    """`_unknown` goes back to where it came from, as guides say, in memory and from a file."""
    with edfi.Sandbox(["255901"], 5) as ods:
        client = one(ods)
        narrow = {"studentUniqueId": pl.String, "firstName": pl.String}
        students = client.get_all(endpoint="ed-fi/students", key=1, schema=narrow)["data"]
        assert students["_unknown"].null_count() == 0
        compared = client.compare(edfi.unflatten(students), endpoint="ed-fi/students")
    assert compared["status"].unique().to_list() == ["same"]


def test_a_client_that_is_pickled_is_named_as_it_is() -> None:
    for client in (edfi.EdFiClient(), edfi.Resource("ed-fi/students")):
        with pytest.raises(TypeError, match=f"^{type(client).__name__} holds secrets"):
            pickle.dumps(client)


def test_a_scan_logs_requests_once_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """The level is that of the query, not that of the moment at which the scan was made."""
    with edfi.Sandbox(["255901"], 5) as ods:
        students = edfi.scan("ed-fi/students", client=one(ods))
        with caplog.at_level(logging.DEBUG, "polars_edfi"):
            students.collect()
    assert any("/ed-fi/students?" in line for line in caplog.messages)


def test_a_year_stands_in_the_version(ods: ScriptedOds) -> None:
    """Up to release 6, as the page of releases says; a data URL with a year leads there."""
    year = 'api_version="v3/2025"'
    assert year in page("releases.md")
    with pytest.raises(edfi.EdFiError, match=rf"give the root of the ODS, {ods.url}, and {year}"):
        edfi.EdFiClient(base_url=f"{ods.url}/data/v3/2025")
    ods.script = lambda request: (
        Answer(200, ods.records, {"Total-Count": "3"})
        if request.path == "/data/v3/2025/ed-fi/students" and request.token in ods.tokens
        else None
    )
    client = edfi.EdFiClient(
        base_url=ods.url, api_version="v3/2025", client_id="key", client_secret="secret"
    )
    assert client.get_all(endpoint="ed-fi/students", key=1)["data"].height == 3
    alone = '2025 is a school year; give "v3/2025"'
    with pytest.raises(edfi.EdFiError, match=f"api_version: {alone}"):
        edfi.EdFiClient(base_url=ods.url, api_version="2025")
    rows = pl.DataFrame({"id": ["a", "b"], "version": ["v3/2025", "2025"]})
    options: Any = {"api_version_col": "version", "endpoint": "ed-fi/students"}
    found = client.batch_get_by_id(rows, id_col="id", **options)
    assert found["message"][1].startswith(f"'version': {alone}")
    assert found["http_status"].to_list() == [404, None]


def test_a_secret_that_is_refused_is_an_auth_error_of_every_scan() -> None:
    with edfi.Sandbox(["255901"], 5) as ods:
        districts = ods.districts().with_columns(oAuthSecret=pl.lit("mistyped"))
        lf = edfi.scan_all(
            districts,
            key_col="District BK",
            schema={"id": pl.String},
            auth_key_col="oAuthKey",
            auth_secret_col="oAuthSecret",
            oauth_endpoint="oauth/token",
        )
        with pytest.raises(edfi.AuthError, match="auth refresh failed: auth error: HTTP 401"):
            lf.collect()


def test_an_is_in_goes_by_value_where_that_is_less(caplog: pytest.LogCaptureFixture) -> None:
    assert "fewer requests than the pages after the first one" in page("scans.md")
    field = pl.col("studentReference.studentUniqueId")
    with edfi.Sandbox(["255901"], 1200) as ods:
        client = one(ods)
        scores = edfi.scan(SCORES, client=client)
        students = scores.select(field).collect().to_series().unique().sort().to_list()
        asked = []
        for limit, count in ((500, 2), (300, 3), (300, 4)):
            caplog.clear()
            some = edfi.scan(SCORES, client=client, limit=limit).filter(
                field.is_in(students[:count])
            )
            with caplog.at_level(logging.DEBUG, "polars_edfi"):
                some.collect()
            asked.append(sum("studentUniqueId=" in line for line in caplog.messages))
    # Two, four and four pages come after the first one: pages by offset share a record.
    assert asked == [0, 3, 0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_may_have_been_applied_is_repeated_where_twice_is_as_once(
    ods: ScriptedOds, runner: edfi.StudentAssessment, method: str
) -> None:
    security = " ".join((ROOT / "SECURITY.md").read_text("utf-8").split())
    assert "so that it may have been applied, is never repeated unless you ask" in security
    assert "Puts and deletes are repeated" in security
    seen: list[Request] = []

    def script(request: Request) -> Answer | None:
        if request.method == method:
            seen.append(request)
            return Answer(close=True) if len(seen) == 1 else Answer(204)
        return None

    ods.script = script
    df = rows(ods, pl.Series("payload", ["{}"]), id="5a")
    calls: dict[str, Callable[[], pl.DataFrame]] = {
        "POST": lambda: runner.batch_post_payload(
            df, payload_col="payload", key_col="key", commit=True
        ),
        "PUT": lambda: runner.batch_put_payload(
            df, payload_col="payload", id_col="id", key_col="key", commit=True
        ),
        "DELETE": lambda: runner.batch_delete_by_id(df, id_col="id", key_col="key", commit=True),
    }
    status = calls[method]()["status"].item()
    assert (status, len(seen)) == {
        "POST": ("error", 1),
        "PUT": (None, 2),
        "DELETE": ("deleted", 2),
    }[method]


def test_a_resource_in_which_nothing_changed_costs_two_requests(tmp_path: Path) -> None:
    assert "two requests (with the default `verify`)" in page("copies.md")
    with edfi.Sandbox(["255901"], 20) as ods:
        client = one(ods)
        for _ in range(2):
            report = edfi.sync(client, ["ed-fi/students", SCORES], into=tmp_path)
    told = report.select("mode", "requests", "seconds").unique().rows()
    assert told == [("unchanged", 2, 0.0)]


def test_a_snapshot_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    with edfi.Sandbox(["255901"], 5) as ods:
        report = edfi.sync(one(ods), ["ed-fi/students"], into=tmp_path, snapshot=True)
    message = report["message"].item()
    assert message.endswith("(snapshot: the ODS has none, or no such resource)")
    assert "change queries" not in message


def test_pages_of_one_record_cannot_be_read_by_offset(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    assert "A server that allows pages of one record only" in page("guarantees.md")
    ods.max_limit = 1
    out = runner.batch_get_all(district(ods), key_col="District BK")
    assert out["message"].to_list() == [
        "the server allows pages of one record only, which cannot be read by offset"
    ]


def test_a_scan_without_a_document_looks_at_two_pages(make_ods: Callable[..., ScriptedOds]) -> None:
    """What a later page alone has is in a column; what does not fit one ends the query."""
    assert "the first page and one far from it" in page("scans.md")
    ods = make_ods(1600)
    ods.records[1599]["late"] = 1
    client = edfi.EdFiClient(base_url=ods.url, bearer_token="token", api_version="v3")
    lf = edfi.scan("ed-fi/students", client=client)
    assert lf.collect()["late"].to_list()[-1] == 1
    ods.records[800]["n"] = "a text"
    lf = edfi.scan("ed-fi/students", client=client)
    with pytest.raises(pl.exceptions.SchemaError, match="'n' has another type here"):
        lf.collect()


@pytest.mark.parametrize(("lifetime", "renewed"), [(61.0, 0), (2.0, 1)])
def test_a_token_of_a_short_life_is_used_for_half_of_it(lifetime: float, renewed: int) -> None:
    assert "after half of its life" in str(edfi.EdFiClient.batch_fetch_tokens.__doc__)
    with edfi.Sandbox(["255901"], 5, token_lifetime=lifetime) as ods:
        client = one(ods)
        client.count("ed-fi/students")
        time.sleep(1.1)  # the clock is what this is about
        client.count("ed-fi/students")
    assert client.stats is not None
    assert client.stats["token_requests"] == renewed


def test_items_have_a_dtype_of_their_own_where_there_is_a_schema() -> None:
    with edfi.Sandbox(["255901"], 5) as ods:
        students = edfi.Resource("ed-fi/students", **_auth(ods))
        none = pl.DataFrame({"id": ["nobody"]})
        assert students.batch_get_by_id(none, id_col="id").schema["data"] == pl.Null
        found = students.batch_get_by_id(none, id_col="id", schema={"lastSurname": pl.String})
    assert found.schema["data"] == pl.Struct({"lastSurname": pl.String, "_unknown": pl.String})


def test_the_readme_of_the_packages_is_that_of_the_project() -> None:
    script = ROOT / "release" / "readme.py"
    subprocess.run([sys.executable, script, "--check"], check=True, timeout=60)
    text = (ROOT / "release" / "README.md").read_text("utf-8")
    assert "<img" not in text
    assert "](docs" not in text


ROWS = pl.DataFrame(
    {
        "k": ["a", "b", "c"],
        "id": ["1", "2", "3"],
        "payload": ["{}"] * 3,
        "EdFi Token": ["t"] * 3,
        "row status": [None, "error", "warning"],
    }
)
CALLS: dict[str, Callable[[edfi.Resource, pl.DataFrame], object]] = {
    "batch_get_all": lambda r, df: r.batch_get_all(df, key_col="k", schema="infer"),
    "batch_get_by_id": lambda r, df: r.batch_get_by_id(df, id_col="id"),
    "batch_post_payload": lambda r, df: r.batch_post_payload(
        df, payload_col="payload", key_col="k"
    ),
    "batch_delete_by_id": lambda r, df: r.batch_delete_by_id(df, id_col="id", key_col="k"),
    "send": lambda r, df: r.send({"ed-fi/students": df}, order=["ed-fi/students"]),
    "permissions": lambda r, df: r.batch_permissions(df, key_col="k"),
    "validate": lambda r, df: r.validate(df, rules=["schema"]),
    "scan_all": lambda r, df: edfi.scan_all(
        df, "ed-fi/students", key_col="k", client=r, schema={"id": pl.String}, on_error="row"
    ).collect(),
    "batch_fetch_tokens": lambda r, df: r.batch_fetch_tokens(
        df.with_columns(oAuthKey=pl.lit("k"), oAuthSecret=pl.lit("s")),
        oauth_endpoint="oauth/token",
        account_col="k",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_row_goes_missing_without_a_word(
    ods: ScriptedOds, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    runner = edfi.Resource("ed-fi/students", base_url=ods.url, api_version="v3", max_retries=0)
    CALLS[name](runner, ROWS)
    told = [line for line in caplog.messages if "left out" in line]
    assert told == ["2 rows were left out for 'row status', and not in the result"]


def test_half_of_a_renewal_is_told(ods: ScriptedOds, caplog: pytest.LogCaptureFixture) -> None:
    runner = edfi.Resource("ed-fi/students", base_url=ods.url, api_version="v3")
    rows = ROWS.head(1).with_columns(oAuthKey=pl.lit("key"))
    runner.batch_get_by_id(rows, id_col="id", auth_key_col="oAuthKey", oauth_endpoint="oauth/token")
    expected = "no token is renewed: auth_key_col, oauth_endpoint was given without auth_secret_col"
    assert expected in caplog.messages


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, None])
def test_send_repeats_what_a_server_answers_and_no_broken_connection(
    ods: ScriptedOds, status: int | None
) -> None:
    answers = [Answer(close=True) if status is None else Answer(status)]

    def script(request: Request) -> Answer | None:
        return answers.pop() if request.method == "POST" and answers else None

    ods.script = script
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    sent = client.send(
        {"ed-fi/students": ROWS.head(1).select("payload")},
        order=["ed-fi/students"],
        commit=True,
        retry_backoff=0.01,
    )
    posts = [request for request in ods.requests if request.method == "POST"]
    assert len(posts) == (1 if status is None else 2)
    assert sent["status"].item() == ("error" if status is None else None)
    security = " ".join((ROOT / "SECURITY.md").read_text("utf-8").split())
    assert "a post that the server answers with 408, 500, 502, 503 or 504" in security


def test_page_tokens_that_a_server_lacks_are_missed_from_the_second_page_on() -> None:
    with edfi.Sandbox(["255901"], 30, release="5.2") as ods:
        client = one(ods)
        whole = client.get_all(key=1, endpoint=SCORES, paging="cursor")
        assert whole["data"].height == 30
        parts = client.get_all(key=1, endpoint=SCORES, paging="cursor", limit=5)
    assert parts["status"] == "error"
    assert "no page tokens" in (parts["message"] or "")
