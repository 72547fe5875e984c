"""What one would write with care: aiohttp, orjson, one session, as many connections as allowed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiohttp
import orjson
import polars as pl
from common.work import KEY, RESOURCE, Call, Work

Session = aiohttp.ClientSession


def run(work: Work, jobs: Callable[[Session], Awaitable[pl.DataFrame]]) -> pl.DataFrame:
    """Open a session, and do everything in it."""

    async def inside() -> pl.DataFrame:
        connector = aiohttp.TCPConnector(limit=work.workers)
        async with aiohttp.ClientSession(connector=connector, headers=work.headers) as session:
            return await jobs(session)

    return asyncio.run(inside())


async def side_by_side(
    items: Iterable[Any], workers: int, one: Callable[[Any], Awaitable[Any]]
) -> list[Any]:
    """Do the same with every item, so many at once; a task per worker, not one per item."""
    results = dict.fromkeys(range(len(items := list(items))))
    left = iter(enumerate(items))

    async def work() -> None:
        for number, item in left:
            results[number] = await one(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return list(results.values())


def get_all(work: Work) -> Call:
    districts = work.read_districts()

    async def page(session: Session, row: dict[str, Any], offset: int) -> tuple[list[Any], int]:
        url = f"{row['targetUrl']}/{RESOURCE}"
        params: dict[str, Any] = {"offset": offset, "limit": work.limit}
        if offset == 0:
            params["totalCount"] = "true"
        async with session.get(url, params=params) as answer:
            answer.raise_for_status()
            records = orjson.loads(await answer.read())
            for record in records:
                record[KEY] = row[KEY]
            return records, int(answer.headers.get("Total-Count", 0))

    async def jobs(session: Session) -> pl.DataFrame:
        firsts = await side_by_side(
            districts, work.workers, lambda row: page(session, row, offset=0)
        )
        rest = [
            (row, offset)
            for row, (_, total) in zip(districts, firsts, strict=True)
            for offset in range(work.limit, total, work.limit)
        ]
        pages = firsts + await side_by_side(rest, work.workers, lambda item: page(session, *item))
        records = [record for records, _ in pages for record in records]
        return pl.json_normalize(records, infer_schema_length=None)

    return lambda: run(work, jobs)


def post(work: Work) -> Call:
    rows = work.read_rows().select("key", "payload").rows()
    url = f"{work.ods}/{RESOURCE}"
    headers = {"Content-Type": "application/json"}

    async def jobs(session: Session) -> pl.DataFrame:
        async def one(row: tuple[str, str]) -> dict[str, Any]:
            key, payload = row
            orjson.loads(payload)  # as the others: what is no JSON is not sent
            async with session.post(url, data=payload.encode(), headers=headers) as answer:
                message = (await answer.text()) or None
                return {
                    "key": key,
                    "http_status": answer.status,
                    "message": message,
                    "resource_id": answer.headers.get("Location", "").rpartition("/")[2],
                }

        return pl.DataFrame(await side_by_side(rows, work.workers, one), infer_schema_length=None)

    return lambda: run(work, jobs)


def get_by_id(work: Work) -> Call:
    ids = work.read_rows()["id"].to_list()

    async def jobs(session: Session) -> pl.DataFrame:
        async def one(id_: str) -> Any:
            async with session.get(f"{work.ods}/{RESOURCE}/{id_}") as answer:
                answer.raise_for_status()
                return orjson.loads(await answer.read())

        records = await side_by_side(ids, work.workers, one)
        return pl.json_normalize(records, infer_schema_length=None)

    return lambda: run(work, jobs)


def tokens(work: Work) -> Call:
    accounts = work.read_accounts()

    async def jobs(session: Session) -> pl.DataFrame:
        async def one(row: dict[str, Any]) -> dict[str, Any]:
            auth = aiohttp.encode_basic_auth(row["oAuthKey"], row["oAuthSecret"])
            async with session.post(
                f"{row['targetUrl']}/oauth/token",
                data={"grant_type": "client_credentials"},
                headers={"Authorization": auth},
            ) as answer:
                answer.raise_for_status()
                token = orjson.loads(await answer.read())
                return {KEY: row[KEY], "EdFi Token": token["access_token"]}

        return pl.DataFrame(await side_by_side(accounts, work.workers, one))

    return lambda: run(work, jobs)
