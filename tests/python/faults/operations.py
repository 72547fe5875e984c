"""The operations that are tried beside faults: each call, and what must be true after it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import polars_edfi as edfi
from faults.server import IDS, RECORDS, THINGS, FaultyOds

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, WORKERS = 6, 3
IN_DOUBT = "may have been applied"
#: Answers after which nobody can tell whether a write was applied.
UNTOLD = {500, 502, 504}


def client(ods: FaultyOds, **settings: Any) -> edfi.EdFiClient:
    few: dict[str, Any] = {
        "base_url": ods.url,
        "api_version": "v3",
        "bearer_token": "token",
        "timeout": 0.4,
        "max_retries": 1,
        "max_wait": 2,
        "max_body": 16 << 20,
    }
    return edfi.Resource(THINGS, **(few | settings))


def payloads() -> pl.DataFrame:
    texts = [f'{{"n": {n}}}' for n in range(ROWS)]
    return pl.DataFrame({"key": range(ROWS), "payload": texts, "id": IDS[:ROWS]})


def accounted(out: pl.DataFrame, ods: FaultyOds, items: list[str], *, once: bool) -> None:
    """Each row once, in order; what is told of it is what the server did."""
    assert out["row_index"].to_list() == list(range(len(items)))
    for row, item in zip(out.iter_rows(named=True), items, strict=True):
        told, applied = str(row["message"]), ods.applied[item.encode()]
        if "attempts" in row:
            assert row["attempts"] >= ods.seen[item.encode()]
        if row["status"] == "error" and row["http_status"] not in UNTOLD:
            assert applied == 0 or IN_DOUBT in told or not once, (row, applied)
        elif row["status"] is None and row["message"] is None:
            assert applied >= 1, row
        if once:
            assert applied <= 1 or IN_DOUBT in told, (row, applied)


def batch_posts(ods: FaultyOds) -> None:
    df = payloads()
    out = client(ods).batch_post_payload(
        df, payload_col="payload", key_col="key", commit=True, workers=WORKERS
    )
    assert out["key"].to_list() == df["key"].to_list()
    accounted(out, ods, df["payload"].to_list(), once=True)


def posts_again(ods: FaultyOds) -> None:
    df = payloads()
    out = client(ods).batch_post_payload(
        df,
        payload_col="payload",
        key_col="key",
        commit=True,
        workers=WORKERS,
        retry_broken=True,
        retry_statuses=[409, 429, 500],
        retry_backoff=0,
        allow_statuses={418: "tea"},
        details=True,
    )
    accounted(out, ods, df["payload"].to_list(), once=False)


def batch_deletes(ods: FaultyOds) -> None:
    df = payloads()
    out = client(ods).batch_delete_by_id(
        df, id_col="id", key_col="key", commit=True, workers=WORKERS
    )
    assert out["id"].to_list() == df["id"].to_list()
    accounted(out, ods, df["id"].to_list(), once=False)


def batch_gets(ods: FaultyOds) -> None:
    out = client(ods).batch_get_by_id(payloads(), id_col="id", workers=WORKERS, flatten=False)
    assert out["id"].to_list() == IDS[:ROWS]
    assert set(out["status"].to_list()) <= {None, "error"}


def batch_reads(ods: FaultyOds) -> None:
    df = pl.DataFrame({"bk": ["a", "b"], "targetUrl": ods.url, "EdFi Token": "token"})
    runner = edfi.Resource(
        THINGS, api_version="v3", timeout=0.4, max_retries=1, max_wait=2, max_body=16 << 20
    )
    for schema in ("infer", {"id": pl.String, "n": pl.Int64}):
        out = runner.batch_get_all(df, key_col="bk", schema=schema, limit=3, workers=WORKERS)
        for _, rows in out.group_by("bk"):
            if rows["status"][0] == "error":
                assert rows.height == 1
        assert set(out["bk"]) == {"a", "b"} or out.height == 0


def batch_tokens(ods: FaultyOds) -> None:
    names = [f"{ods.port}-{n}" for n in range(ROWS)]
    df = pl.DataFrame({"bk": names, "targetUrl": ods.url, "oAuthKey": names, "oAuthSecret": "s"})
    runner = edfi.EdFiClient(timeout=0.4, max_retries=1, max_wait=2)
    out = runner.batch_fetch_tokens(df, oauth_endpoint="oauth/token", account_col="bk", workers=3)
    assert out["bk"].to_list() == names
    told = out.select(good=pl.col("EdFi Token") == "issued", bad=pl.col("row status") == "error")
    assert told.select(pl.col("good").fill_null(False) ^ pl.col("bad").fill_null(False))[
        "good"
    ].all()


def whole_reads(ods: FaultyOds) -> None:
    read = client(ods).get_all(key="a", schema="infer", limit=3, workers=WORKERS)
    if read["data"] is not None and read["data"].height:
        assert read["data"]["id"].n_unique() == read["data"].height
    assert (read["status"] == "error") == (read["data"] is None)


def lazily(ods: FaultyOds) -> None:
    scan = edfi.scan(THINGS, client=client(ods), schema={"id": pl.String}, limit=3, workers=WORKERS)
    rows = scan.collect()
    assert rows.height <= 2 * RECORDS


def renewing(ods: FaultyOds) -> None:
    df = payloads().with_columns(key_cell=pl.lit(f"k{ods.port}"), secret=pl.lit("s"))
    out = client(ods).batch_post_payload(
        df,
        payload_col="payload",
        key_col="key",
        commit=True,
        workers=WORKERS,
        auth_key_col="key_cell",
        auth_secret_col="secret",
        oauth_endpoint="oauth/token",
        refresh_cooldown=0,
    )
    accounted(out, ods, df["payload"].to_list(), once=True)


def expressions(ods: FaultyOds) -> None:
    runner = client(ods)
    df = payloads().with_columns(
        post=edfi.post_payload(
            "payload", client=runner, endpoint=THINGS, workers=WORKERS, commit=True
        )
    )
    post = df["post"].struct.unnest()
    for row, item in zip(post.iter_rows(named=True), df["payload"], strict=True):
        applied = ods.applied[item.encode()]
        if row["status"] == "error" and row["http_status"] not in UNTOLD:
            assert applied == 0 or IN_DOUBT in row["message"]
    got = payloads().with_columns(
        item=edfi.get_by_id("id", client=runner, endpoint=THINGS, workers=WORKERS)
    )
    assert got.height == ROWS


def told_of_writes(out: pl.DataFrame, ods: FaultyOds, items: list[str]) -> None:
    """Each row once, in order: a success was applied; what was applied and failed is in doubt."""
    assert out["row_index"].to_list() == list(range(len(items)))
    assert set(out["status"].to_list()) <= {None, "error", "deleted"}
    for row, item in zip(out.iter_rows(named=True), items, strict=True):
        told, applied = str(row["message"]), ods.applied[item.encode()]
        if row["status"] is None:
            assert applied >= 1, row
        elif row["status"] == "error" and row["http_status"] not in UNTOLD:
            assert applied == 0 or IN_DOUBT in told, (row, applied)


def sends(ods: FaultyOds) -> None:
    df = payloads()
    out = client(ods).send({THINGS: df}, key_col="key", commit=True, workers=WORKERS)
    told_of_writes(out, ods, df["payload"].to_list())


def sends_noted(ods: FaultyOds) -> None:
    df = payloads()
    items = df["payload"].to_list()
    with tempfile.TemporaryDirectory() as folder:
        sending = {"key_col": "key", "commit": True, "workers": WORKERS}
        sending["journal"] = Path(folder) / "run.edfi"
        first = client(ods).send({THINGS: df}, **sending)
        told_of_writes(first, ods, items)
        # Of an ODS that says at times that it has no documents, items are told apart anew.
        is_told_anew = any("/metadata/" in line and "fault" in line for line in ods.log)
        before, ods.hits = ods.applied.copy(), lambda _: False
        second = client(ods).send({THINGS: df}, **sending)
        assert second["row_index"].to_list() == list(range(ROWS))
        for one, two, item in zip(
            first.iter_rows(named=True), second.iter_rows(named=True), items, strict=True
        ):
            again = ods.applied[item.encode()] - before[item.encode()]
            if one["status"] is None:
                expected = [(None, 0, 0), (None, 1, 1)][: 1 + is_told_anew]
                assert (two["status"], two["attempts"], again) in expected, (one, two)
            elif IN_DOUBT in str(one["message"]):
                assert again == (two["status"] is None), (one, two)
            else:
                assert (two["status"], again) == (None, 1), (one, two)
        noted = edfi.read_journal(sending["journal"])
        assert noted.height == ROWS


def removes(ods: FaultyOds) -> None:
    df = payloads()
    out = client(ods).remove({THINGS: df}, key_col="key", commit=True, workers=WORKERS)
    assert out["id"].to_list() == df["id"].to_list()
    told_of_writes(out, ods, df["id"].to_list())


def puts(ods: FaultyOds) -> None:
    df = payloads()
    out = client(ods).batch_put_payload(
        df, payload_col="payload", id_col="id", key_col="key", commit=True, workers=WORKERS
    )
    assert out["id"].to_list() == df["id"].to_list()
    told_of_writes(out, ods, df["payload"].to_list())


def finds(ods: FaultyOds) -> None:
    df = payloads()
    for how in ("auto", "lookup", "scan"):
        out = client(ods).batch_find_ids(df, key_cols={"n": "key"}, how=how, workers=WORKERS)
        assert out["row_index"].to_list() == list(range(ROWS))
        for row, right in zip(out.iter_rows(named=True), IDS, strict=False):
            assert (row["status"], row["id"]) in ((None, right), ("error", None)), (how, row)


def validates(ods: FaultyOds) -> None:
    texts = [f'{{"n": {n}, "otherReference": {{"m": {n}}}}}' for n in range(ROWS)]
    df = pl.DataFrame({"payload": [*texts, "no json"]})
    findings = client(ods).validate(df, endpoint=THINGS, workers=WORKERS)
    wrong = findings.filter(severity="error")
    if wrong["detail"].str.contains("was not checked against").any():
        # Rows that were to be checked and could not be are not let through.
        assert wrong["row_index"].unique().sort().to_list() == list(range(ROWS + 1))
    else:
        assert wrong.select("row_index", "path").rows() == [(ROWS, "$")], wrong.rows()


def compares(ods: FaultyOds) -> None:
    texts = [f'{{"n": {n}, "codeValue": "c{n}"}}' for n in range(ROWS)]
    df = pl.DataFrame({"payload": texts, "key": range(ROWS)})
    for rows in (df.head(1), df):
        out = client(ods).compare(rows, key_cols={"n": "key"}, endpoint=THINGS, workers=WORKERS)
        assert out["row_index"].to_list() == list(range(rows.height))
        for row, right in zip(out.iter_rows(named=True), IDS, strict=False):
            assert (row["status"], row["id"]) in (("same", right), ("error", None)), row


def asks_what_is_allowed(ods: FaultyOds) -> None:
    df = pl.DataFrame({"bk": ["a", "b"], "targetUrl": ods.url, "EdFi Token": "token"})
    out = client(ods).batch_permissions(df, key_col="bk", workers=WORKERS)
    assert out["bk"].to_list() == ["a", "b"]
    for row in out.iter_rows(named=True):
        told = (row["status"], row["claim_set"], row["resources"] is None)
        assert told in ((None, "C", False), ("error", None, True)), row


def copies(ods: FaultyOds) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / THINGS / "data.parquet"

        def is_whole() -> None:
            """Whatever is told, a copy is the whole resource or none."""
            report = edfi.sync(
                client(ods), [THINGS], into=folder, schema="infer", limit=3, workers=WORKERS
            )
            assert report["endpoint"].to_list() == [THINGS]
            if report["status"][0] is None:
                assert sorted(pl.read_parquet(file)["id"]) == IDS, report.row(0)
                assert report["rows"][0] == RECORDS
            elif file.exists():
                assert sorted(pl.read_parquet(file)["id"]) == IDS, report.row(0)

        is_whole()
        is_whole()
        ods.hits = lambda _: False
        is_whole()
        assert file.exists()


def coroutines(ods: FaultyOds) -> None:
    df = payloads()
    runner, reader = client(ods), client(ods)

    async def work() -> list[Any]:
        return await asyncio.gather(
            runner.aio.batch_post_payload(
                df, payload_col="payload", key_col="key", commit=True, workers=WORKERS - 1
            ),
            reader.aio.batch_get_by_id(df, id_col="id", workers=1),
        )

    posted, got = asyncio.run(work())
    accounted(posted, ods, df["payload"].to_list(), once=True)
    assert got["id"].to_list() == IDS[:ROWS]
    assert set(got["status"].to_list()) <= {None, "error"}


def cancelled(ods: FaultyOds) -> None:
    df = payloads()
    runner = client(ods)

    async def work() -> None:
        call = runner.aio.batch_post_payload(
            df, payload_col="payload", key_col="key", commit=True, workers=WORKERS
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(call, 0.05)

    asyncio.run(work())
    if runner.rows is not None:
        accounted(runner.rows, ods, df["payload"].to_list(), once=True)
    else:
        assert not ods.applied


def windows(ods: FaultyOds) -> None:
    options: dict[str, Any] = {"paging": "windows", "limit": 3, "workers": WORKERS}
    read = client(ods).get_all(key="a", schema="infer", **options)
    assert (read["status"] == "error") == (read["data"] is None)
    if read["data"] is not None and read["data"].height:
        assert read["data"]["id"].n_unique() == read["data"].height
    scan = edfi.scan(THINGS, client=client(ods), schema={"id": pl.String}, **options)
    rows = scan.collect()
    assert rows["id"].n_unique() == rows.height


def singles(ods: FaultyOds) -> None:
    runner = client(ods)
    text = '{"n": 1}'
    posted = runner.post_payload(text, key=1, commit=True)
    if posted["status"] == "error" and posted["http_status"] not in UNTOLD:
        assert ods.applied[text.encode()] == 0 or IN_DOUBT in str(posted["message"])
    runner.get_by_id(IDS[0])
    runner.delete_by_id(IDS[0], key=1, commit=True)
    fetched = client(
        ods, bearer_token=None, client_id=f"c{ods.port}", client_secret="s"
    ).fetch_token()
    assert (fetched["token"] is None) == (fetched["status"] == "error")


def raising(*calls: Callable[[edfi.EdFiClient], object]) -> Callable[[FaultyOds], None]:
    """Calls whose errors are exceptions."""

    def run(ods: FaultyOds) -> None:
        for call in calls:
            try:
                call(client(ods))
            except edfi.EdFiError as error:
                assert str(error)  # noqa: PT017

    return run


OPERATIONS: dict[str, Callable[[FaultyOds], None]] = {
    "batch_post_payload": batch_posts,
    "batch_post_payload again": posts_again,
    "batch_post_payload renewing": renewing,
    "batch_delete_by_id": batch_deletes,
    "batch_get_by_id": batch_gets,
    "batch_get_all": batch_reads,
    "batch_fetch_tokens": batch_tokens,
    "get_all": whole_reads,
    "scan": lazily,
    "expressions": expressions,
    "send": sends,
    "send noted": sends_noted,
    "remove": removes,
    "batch_put_payload": puts,
    "batch_find_ids": finds,
    "validate": validates,
    "compare": compares,
    "batch_permissions": asks_what_is_allowed,
    "sync": copies,
    "aio": coroutines,
    "aio cancelled": cancelled,
    "windows": windows,
    "singles": singles,
    "count": raising(lambda it: it.count(THINGS), lambda it: it.count(THINGS, params={"a": "b"})),
    "metadata": raising(lambda it: it.resources(), lambda it: it.schema(THINGS)),
    "changes": raising(
        lambda it: it.available_change_versions(),
        lambda it: it.deletes(THINGS),
        lambda it: it.key_changes(THINGS),
        lambda it: it.changes(THINGS, since=1, schema="infer"),
    ),
    "dependencies": raising(lambda it: it.dependencies()),
    "permissions": raising(lambda it: it.permissions()),
}
