"""Windows of change versions beside offsets, as Markdown: where skipping rows costs, and where not.

``python benches/windows.py`` after ``make build``; ``--quick`` takes a tenth of the records. The
server is in a process of its own; each page waits for 1 ms for each 1,000 rows that it skips, as
the databases of ODS/API 5 to 7.2 do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from functools import cache
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

import polars_edfi as edfi

ENDPOINT = "ed-fi/students"
WORKERS = 8
#: What windows should reach: so many times the rate of offsets, and so much of it at no cost.
TARGETS = (8.0, 0.95)


class Ods:
    """So many records, whose versions are in another order than they are.

    A page costs this server the same whichever window it is of: it is cut out of one text.
    """

    def __init__(self, records: int) -> None:
        self.records = [
            json.dumps({"id": f"{n:032x}", "studentUniqueId": f"{n:07}", "firstName": "A"}).encode()
            for n in range(records)
        ]
        #: The length of each, with a comma.
        self.step = len(self.records[0]) + 1
        #: Their places in the order of their versions, which are 1, 2, 3 and so on.
        self.by_version = random.Random(1).sample(range(records), records)
        self.text = cache(self._text)
        self.per_row = 0.0
        self.requests = self.skipped = 0

    def _text(self, low: int, high: int) -> bytes:
        return b",".join(self.records[place] for place in sorted(self.by_version[low:high]))

    def answer(self, path: str, query: dict[str, str]) -> tuple[float, str, bytes]:
        """How long it takes, further headers, and the body."""
        if path == "/cost":
            told = {"requests": self.requests, "skipped": self.skipped}
            self.per_row, self.requests, self.skipped = float(query["per_row"]), 0, 0
            return 0.0, "", json.dumps(told).encode()
        self.requests += 1
        if path.endswith("/availableChangeVersions"):
            newest = {"oldestChangeVersion": 0, "newestChangeVersion": len(self.records)}
            return 0.0, "", json.dumps(newest).encode()
        low = max(int(query.get("minChangeVersion", "0")) - 1, 0)
        high = min(int(query.get("maxChangeVersion", len(self.records))), len(self.records))
        offset, limit = int(query["offset"]), int(query["limit"])
        self.skipped += offset
        counted = f"Total-Count: {max(high - low, 0)}\r\n" if "totalCount" in query else ""
        page = b""
        if limit:
            page = self.text(low, high)[offset * self.step : (offset + limit) * self.step]
        return offset * self.per_row, counted, b"[" + page.removesuffix(b",") + b"]"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            url = urlsplit(head.split(" ")[1])
            wait, more, body = self.answer(url.path, dict(parse_qsl(url.query)))
            if wait:
                await asyncio.sleep(wait)
            head = f"HTTP/1.1 200 OK\r\n{more}Content-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()


async def serve(records: int) -> None:
    ods = Ods(records)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await ods.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def read(url: str, paging: str, records: int) -> float:
    """Read everything once; the seconds that it took."""
    client = edfi.EdFiClient(base_url=url, api_version="v3", bearer_token="t")
    began = time.perf_counter()
    out = client.get_all(
        key=1, endpoint=ENDPOINT, paging=paging, schema="infer", limit=500, workers=WORKERS
    )
    took = time.perf_counter() - began
    assert out["status"] is None, out["message"]
    frame = out["data"]
    assert frame is not None
    assert frame["id"].n_unique() == frame.height == records
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    records = 40_000 if options.quick else 400_000
    command = [sys.executable, __file__, "--serve", str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            measure(url, records, options.rounds)
        finally:
            server.kill()


def measure(url: str, records: int, rounds: int) -> None:
    for paging in ("offset", "windows"):
        # What the server makes once, and the client's first calls, are no part of any rate.
        read(url, paging, records)
    print(f"### {records:,} records, {WORKERS} in flight\n")
    print("| 1,000 rows skipped cost | paging | seconds | requests | rows skipped | rate |")
    print("|---|---|---|---|---|---|")
    for cost, target in zip((0.001, 0.0), TARGETS, strict=True):
        times: dict[str, list[float]] = {"offset": [], "windows": []}
        told: dict[str, dict[str, int]] = {}
        for _ in range(rounds):
            for paging, took in times.items():
                with urlopen(f"{url}/cost?per_row={cost / 1_000}"):
                    pass
                took.append(read(url, paging, records))
                with urlopen(f"{url}/cost?per_row=0") as answer:
                    told[paging] = json.load(answer)
        base = statistics.median(times["offset"])
        for paging, took in times.items():
            took_here, said = statistics.median(took), told[paging]
            of_offsets = f"{base / took_here:.2f}"
            if paging == "windows":
                of_offsets += f" (target {target})"
            cells = [f"{cost * 1_000:.0f} ms", paging, f"{took_here:.2f}", said["requests"]]
            print("|", *_between([*cells, f"{said['skipped']:,}", of_offsets]), "|", flush=True)


def _between(cells: list[object]) -> list[object]:
    return [piece for cell in cells for piece in ("|", cell)][1:]


if __name__ == "__main__":
    main()
