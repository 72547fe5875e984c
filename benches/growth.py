"""What large inputs cost at n and at 4n: no figure grows by more than five.

python benches/growth.py
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import polars as pl

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

Case = "Callable[[int], Callable[[], object]]"
#: What every page of the local server holds.
PAGE = b"[]"


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the same page."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = b"[]" if "offset=0" not in self.path else PAGE
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def unflatten(n: int) -> Callable[[], object]:
    df = pl.DataFrame({f"a{i}.b": [1] for i in range(n)})
    return lambda: edfi.unflatten(df)


def flatten(n: int) -> Callable[[], object]:
    names = [f"a{i}" for i in range(n)]
    df = pl.DataFrame({name: [{"b": 1}] for name in names})
    return lambda: edfi.flatten(df, columns=names)


def one_key(n: int) -> Callable[[], object]:
    urls = [f"http://127.0.0.1:1/{i}" for i in range(n)]
    df = pl.DataFrame({"k": ["a"] * n, "targetUrl": urls, "EdFi Token": ["t"] * n})
    client = edfi.EdFiClient(api_version="v3", max_retries=0)
    return lambda: client.batch_get_all(df, key_col="k", endpoint="ed-fi/x", schema="infer")


def reading(client: edfi.EdFiClient, text: Callable[[int], str], schema: object) -> Case:
    def case(n: int) -> Callable[[], object]:
        def read() -> None:
            global PAGE  # noqa: PLW0603
            PAGE = text(n).encode()
            out = client.get_all(key=1, endpoint="ed-fi/x", schema=schema)  # type: ignore[arg-type]
            assert out["status"] is None, out["message"]

        return read

    return case


def wide(n: int) -> str:
    return json.dumps([{"id": "a"} | {f"f{i}": i for i in range(n)}])


def deep(n: int) -> str:
    text = json.dumps("x" * 2_000_000)
    return '[{"id":"a","k":' + '{"a":1,"a":' * n + text + "}" * n + "}]"


def seconds(case: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        case()
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    client = edfi.EdFiClient(base_url=url, api_version="v3", bearer_token="t")
    cases: dict[str, tuple[Case, int]] = {
        "unflatten, columns": (unflatten, 5_000),
        "flatten(columns=...), columns": (flatten, 5_000),
        "one key with so many URLs": (one_key, 10_000),
        "_unknown of so many fields": (reading(client, wide, {"id": pl.String}), 10_000),
        "inferred fields": (reading(client, wide, "infer"), 5_000),
        "a key twice around a large text, by depth": (reading(client, deep, "infer"), 10),
    }
    print(f"{'what':45} {'n':>7} {'seconds':>8} {'at 4n':>8} {'grows by':>8}")
    for name, (case, n) in cases.items():
        once, fourfold = seconds(case(n)), seconds(case(4 * n))
        print(f"{name:45} {n:7} {once:8.3f} {fourfold:8.3f} {fourfold / once:8.1f}")
    server.shutdown()


if __name__ == "__main__":
    main()
