"""Every operation beside every fault: each row is told of, and told of rightly.

A cell is an operation, a fault and the requests that it befalls, all drawn from a seed. ``SOAK=1``
tries all cells, and again with other seeds; a cell that fails shows what the server saw.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import polars_edfi as edfi
from faults.server import FAULTS, IDS, RECORDS, FaultyOds, faulty

if TYPE_CHECKING:
    from collections.abc import Callable

SOAK = bool(os.environ.get("SOAK"))
ROWS, WORKERS = 6, 3
THINGS = "ed-fi/things"
#: No cell may take longer: every wait in it has an end.
LIMIT = 25.0
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


def sends(ods: FaultyOds) -> None:
    out = client(ods).send({THINGS: payloads()}, key_col="key", commit=True, workers=WORKERS)
    assert out["row_index"].to_list() == list(range(ROWS))
    assert set(out["status"].to_list()) <= {None, "error"}


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
    "singles": singles,
    "count": raising(lambda it: it.count(THINGS), lambda it: it.count(THINGS, params={"a": "b"})),
    "metadata": raising(lambda it: it.resources(), lambda it: it.schema(THINGS)),
    "changes": raising(
        lambda it: it.available_change_versions(),
        lambda it: it.deletes(THINGS),
        lambda it: it.key_changes(THINGS),
        lambda it: it.changes(THINGS, since=1, schema="infer"),
    ),
    "dependencies": raising(lambda it: it.dependencies(), lambda it: it.permissions()),
}
#: Errors of a scan and of an expression come out of Polars.
OF_POLARS = (pl.exceptions.ComputeError, OSError)
CELLS = [*itertools.product(OPERATIONS, ("first", "always", "some"))]


def run_cell(operation: str, fault: str, mode: str, seed: int) -> None:
    with faulty(fault, mode, WORKERS, seed) as ods:
        began = time.monotonic()
        try:
            OPERATIONS[operation](ods)
        except (edfi.EdFiError, *OF_POLARS) as error:
            assert operation in ("scan", "send"), error  # noqa: PT017
        except AssertionError as error:
            seen = "\n".join(ods.log)
            error.add_note(f"{operation} / {fault} / {mode} / seed {seed}\n{seen}")
            raise
        took = time.monotonic() - began
        cell = (operation, fault, mode, seed, ods.log)
        assert took < LIMIT, (took, cell)
        assert ods.most <= ods.workers, (ods.most, cell)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation_tells_the_truth(fault: str) -> None:
    names = [*FAULTS]
    seed = int(os.environ.get("SEED", "0"))
    chance = random.Random(seed * 1000 + names.index(fault))
    cells = CELLS if SOAK else chance.sample(CELLS, 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for operation, mode in cells:
        run_cell(operation, fault, mode, chance.randrange(1 << 30))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400 << 10, f"{grown >> 10} MB"
