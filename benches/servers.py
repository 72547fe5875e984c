"""Servers in processes of their own, and the rows that are sent to them."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from common.work import RESOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Server:
    """A running server, and what is needed to ask it."""

    url: str
    bytes: int
    token: str
    pid: int = 0

    def cpu(self) -> float:
        """Tell the seconds of CPU that it has taken."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        ticks = stat.rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> Any:
        """Read some JSON."""
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.url}/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def posted(self) -> int:
        """Say how many payloads it was sent, ever."""
        return int(self.get("posted"))


@contextmanager
def server(program: Path, records: int, latency: int) -> Iterator[Server]:
    """Start a server; it ends when its input does."""
    command = [str(program), "serve", str(records), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin, "a pipe"
        assert process.stdout, "a pipe"
        started = json.loads(process.stdout.readline())
        try:
            yield Server(**started, pid=process.pid)
        finally:
            process.stdin.close()


def write_rows(server: Server, count: int, folder: Path) -> tuple[Path, Path, int]:
    """Write the rows that contestants post and read by id, and an empty frame of a record.

    Payloads are the server's own records, without what a server adds. Returns both paths, and the
    size of a payload.
    """
    records = server.get(f"1of1/{RESOURCE}?limit={count}")
    payloads = [json.dumps(without_server_fields(record)) for record in records]
    rows = {
        "key": [str(number) for number in range(len(records))],
        "id": [record["id"] for record in records],
        "payload": payloads,
    }
    paths = folder / "rows.jsonl", folder / "schema.parquet"
    pl.DataFrame(rows).write_ndjson(paths[0])
    pl.json_normalize(records, infer_schema_length=None).clear().write_parquet(paths[1])
    return *paths, sum(map(len, payloads)) // count


def without_server_fields(value: Any) -> Any:
    """Leave out ids, etags and links, at every depth."""
    if isinstance(value, list):
        return [without_server_fields(element) for element in value]
    if not isinstance(value, dict):
        return value
    added = {"id", "_etag", "_lastModifiedDate", "link"}
    return {key: without_server_fields(part) for key, part in value.items() if key not in added}
