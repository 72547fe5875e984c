"""What a call costs beside its requests: a batch of one row, and an import, in milliseconds.

Usage: ``overhead.py WORK`` (as ``contestant.py``), ``overhead.py import``.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 300


def one_row() -> dict[str, float]:
    """Post one row again and again, and the same bytes over a plain connection in between."""
    from common.work import RESOURCE, Work

    import polars_edfi as edfi

    work = Work.parse(sys.argv[1])
    row = work.read_rows().head(1)
    client = edfi.StudentAssessment(api_version="v3")
    connection = http.client.HTTPConnection(urlsplit(work.url).netloc, timeout=10)
    connection.connect()
    payload = row["payload"].item().encode()
    head = (
        f"POST {urlsplit(work.ods).path}/{RESOURCE} HTTP/1.1\r\nHost: {urlsplit(work.url).netloc}"
        f"\r\nAuthorization: Bearer {work.token}\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    request = head.encode() + payload

    def plain() -> None:
        connection.sock.sendall(request)
        if not connection.sock.recv(1 << 16).startswith(b"HTTP/1.1 201"):
            sys.exit("error: the plain request failed")

    def batch() -> None:
        result = client.batch_post_payload(row, payload_col="payload", key_col="key", commit=True)
        if result["http_status"].item() != HTTPStatus.CREATED:
            sys.exit(f"error: the batch of one row failed: {result.row(0)}")

    times: dict[Callable[[], None], list[float]] = {plain: [], batch: []}
    for _ in range(REPEATS):
        for call, taken in times.items():
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return {
        "request": statistics.median(times[plain]) * 1e3,
        "batch": statistics.median(times[batch]) * 1e3,
    }


def importing() -> dict[str, float]:
    """Import Polars, then this project."""
    start = time.perf_counter()
    import polars  # noqa: F401, ICN001

    middle = time.perf_counter()
    import polars_edfi  # noqa: F401

    end = time.perf_counter()
    return {"polars": (middle - start) * 1e3, "polars_edfi": (end - middle) * 1e3}


if __name__ == "__main__":
    print(json.dumps(importing() if sys.argv[1] == "import" else one_row()))
