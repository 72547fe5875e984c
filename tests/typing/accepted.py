"""What type checkers must accept."""

from datetime import date
from pathlib import Path
from typing import Any, Unpack, assert_type

import polars as pl

import polars_edfi as edfi


def own(url: str, key: str, secret: str) -> None:
    auth = {"base_url": url, "client_id": key, "client_secret": secret}
    client = edfi.EdFiClient(**auth)
    students = edfi.Resource(edfi.endpoints.STUDENTS, **auth)
    runner = edfi.StudentAssessment(**auth)
    settings: edfi.options.ClientOptions = {"base_url": url, "max_retries": 0}
    edfi.EdFiClient(**settings)

    result = students.get_all(key="x", params={"birthDate": date(2010, 1, 1)}, schema="openapi")
    assert_type(result["data"].columns, list[str])
    assert_type(result["http_status"], int | None)
    assert_type(students.get_by_id("a")["data"], dict[str, Any])
    posted = runner.post_payload({"a": 1}, key=1, allow_statuses={409: "warning"})
    assert_type(posted["resource_id"], str | None)
    assert_type(client.count("ed-fi/students"), int)
    changes = client.changes("ed-fi/students", since=1)
    assert_type(changes.records, pl.DataFrame)
    assert_type(changes.next_version, int)
    assert_type(students.rows, pl.DataFrame | None)


def many(districts: pl.DataFrame, **options: Unpack[edfi.options.BatchGetAllOptions]) -> None:
    runner = edfi.StudentAssessment()
    schema = {"id": pl.String, "birthDate": pl.Date}
    records = runner.batch_get_all(districts, key_col="District BK", **options)
    runner.batch_get_all(districts, key_col="District BK", schema=schema, explode="scoreResults")
    runner.batch_get_by_id(records, id_col="id", schema=pl.Schema(schema))
    assert_type(edfi.summary(districts, records, key_col="District BK"), pl.DataFrame)


def queries(df: pl.DataFrame, client: edfi.EdFiClient) -> None:
    lf = edfi.scan("ed-fi/students", client=client, schema="auto")
    everyone = edfi.scan_all(df, "ed-fi/students", key_col="k", on_error="row")
    assert_type(edfi.flatten(df), pl.DataFrame)
    assert_type(edfi.flatten(lf, explode=["scoreResults"]), pl.LazyFrame)
    assert_type(edfi.unflatten(everyone), pl.LazyFrame)
    assert_type(edfi.get_by_id("id", client=client, schema={"id": pl.String}), pl.Expr)
    assert_type(df.edfi.flatten(), pl.DataFrame)
    assert_type(lf.edfi.unflatten(), pl.LazyFrame)
    assert_type(pl.col("payload").edfi.post_payload(client=client, commit=True), pl.Expr)
    assert_type(pl.col("id").edfi.get_by_id(url="u", token="t"), pl.Expr)
    assert_type(
        lf.edfi.sink_post_payload(payload_col="p", key_col="k", max_retries=3), pl.DataFrame
    )


def ahead(client: edfi.EdFiClient, df: pl.DataFrame, lf: pl.LazyFrame) -> None:
    frames: dict[str, pl.DataFrame | pl.LazyFrame] = {"ed-fi/students": df, "ed-fi/schools": lf}
    assert_type(client.validate(frames, rules=["schema", "keys"]), pl.DataFrame)
    assert_type(client.compare(df, endpoint="ed-fi/students", extra=True), pl.DataFrame)
    assert_type(client.permissions(), pl.DataFrame)
    assert_type(
        client.send(frames, commit=True, journal=Path("run.edfi"), order=["a/b", ["c/d", "e/f"]]),
        pl.DataFrame,
    )
    assert_type(client.remove(frames, id_col="id", rounds=2), pl.DataFrame)
    found = client.batch_find_ids(df, key_cols={"studentUniqueId": "bk"}, how="lookup")
    client.batch_put_payload(found, payload_col="p", id_col="id", key_col="bk", etag_col="e")
    assert_type(edfi.sync(client, into=Path("lake"), format="delta", verify=None), pl.DataFrame)
    assert_type(edfi.tables(df, key=["id"]), dict[str, pl.DataFrame])
    stats = client.stats
    assert stats is not None
    assert_type(stats["rows"], dict[str | None, int])


async def at_once(client: edfi.EdFiClient, df: pl.DataFrame) -> None:
    assert_type(await client.aio.count("ed-fi/students"), int)
    assert_type(await client.aio.batch_get_all(df, key_col="k", limit=100), pl.DataFrame)
    assert_type(await client.aio.compare(df, endpoint="ed-fi/students"), pl.DataFrame)
    put = client.aio.batch_put_payload(df, payload_col="p", id_col="id", key_col="k")
    assert_type(await put, pl.DataFrame)
    posted = await client.aio.post_payload({"a": [1]}, key=1)
    assert_type(posted["status"], str | None)


def failing(client: edfi.EdFiClient) -> str | None:
    try:
        client.count("ed-fi/students")
    except edfi.AuthError as error:
        assert_type(error.http_status, int | None)
    except edfi.EdFiError as error:
        return error.correlation_id
    return None


def unpacked(districts: pl.DataFrame, client: edfi.EdFiClient, url: str, key: str) -> None:
    own = {"base_url": url, "client_id": key, "client_secret": key}
    edfi.EdFiClient(max_retries=0, **own)
    edfi.Resource("ed-fi/students", timeout=5, **own)
    auth = {
        "auth_key_col": "oAuthKey",
        "auth_secret_col": "oAuthSecret",
        "oauth_endpoint": "oauth/token",
    }
    runner = edfi.StudentAssessment()
    frames = {"ed-fi/students": districts}
    names = {"url_col": "url", "key_col": "key", "secret_col": "secret"}
    runner.batch_fetch_tokens(districts, oauth_endpoint="oauth/token", account_col="k", **names)
    assert_type(runner.batch_get_all(districts, key_col="k", limit=100, **auth), pl.DataFrame)
    runner.batch_get_by_id(districts, id_col="id", flatten=True, **auth)
    runner.batch_delete_by_id(districts, id_col="id", key_col="id", commit=True, **auth)
    runner.batch_find_ids(districts, how="lookup", **auth)
    runner.batch_post_payload(districts, payload_col="p", key_col="k", commit=True, **auth)
    runner.batch_put_payload(districts, payload_col="p", id_col="id", key_col="k", **auth)
    runner.batch_permissions(districts, key_col="k", workers=2, **auth)
    runner.validate(frames, rules=["schema"], **auth)
    runner.compare(districts, endpoint="ed-fi/students", extra=True, **auth)
    assert_type(client.send(frames, key_col="k", commit=True, **auth), pl.DataFrame)
    client.remove(frames, commit=True, **auth)
    lf = edfi.scan_all(districts, key_col="k", on_error="row", client=client, **auth)
    assert_type(lf, pl.LazyFrame)
    edfi.sync(districts, ["ed-fi/students"], into="lake", key_col="k", verify=None, **auth)
    pages = {"limit": 100, "workers": 2}
    edfi.scan("ed-fi/students", client=client, **pages)
    reach = {"url": "targetUrl", "token": "EdFi Token"}
    assert_type(edfi.post_payload("payload", commit=True, **reach), pl.Expr)
    assert_type(edfi.get_all(schema={"id": pl.String}, **reach), pl.Expr)
    edfi.get_by_id("id", workers=2, **reach)
    edfi.delete_by_id("id", **reach)
    lf.edfi.sink_post_payload(payload_col="p", key_col="k", commit=True, **auth)
    lf.edfi.sink_delete_by_id(id_col="id", key_col="k", client=client, **auth)
    mixed = {"auth_key_col": "oAuthKey", "workers": 3, "show_progress": True}
    runner.batch_get_all(districts, key_col="k", **mixed)
    edfi.sync(districts, into="lake", key_col="k", **mixed)


async def unpacked_at_once(client: edfi.EdFiClient, df: pl.DataFrame, url: str) -> None:
    auth = {"auth_key_col": "oAuthKey", "url_col": url}
    read = client.aio.batch_get_all(df, key_col="k", limit=100, **auth)
    assert_type(await read, pl.DataFrame)
