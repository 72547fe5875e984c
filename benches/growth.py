"""What large inputs cost at n and at 4n: no figure grows by more than five.

python benches/growth.py

Times are those of the CPU: what else a machine does would be taken for growth.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

Case = "Callable[[int], Callable[[], object]]"
#: What every page of the local server holds.
PAGE = b"[]"
#: How many resources its documents describe; those of two districts differ in the last one.
RESOURCES = 50
#: The memory that a dry run of so many rows takes beside the frame and the result, in MB.
DRY_RUN = """
import sys, polars as pl, polars_edfi as edfi
df = pl.select(k=pl.int_range(int(sys.argv[1]))).with_columns(
    payload=pl.lit('{"a": 1}'), targetUrl=pl.lit("http://127.0.0.1:1"),
    **{"EdFi Token": pl.lit("t")})
def memory(name):
    [line] = [line for line in open("/proc/self/status") if line.startswith(name)]
    return int(line.split()[1]) / 1024
client = edfi.EdFiClient(api_version="v3")
before = memory("VmRSS")
out = client.batch_post_payload(df, payload_col="payload", key_col="k", endpoint="ed-fi/x")
print(memory("VmHWM") - before - out.estimated_size("mb"))
"""


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 256
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the same page."""

    protocol_version = "HTTP/1.1"
    # Else each answer on a connection that was used before waits for 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        district, _, place = self.path.partition("/metadata")
        if place:
            body = json.dumps(document(district)).encode()
        else:
            body = b"[]" if "offset=0" not in self.path else PAGE
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def document(district: str) -> dict[str, object]:
    """What a district says of its resources, in place of a list of documents."""
    text = {"type": "string"}
    paths, schemas = {}, {}
    for number in range(RESOURCES):
        is_last = number == RESOURCES - 1
        names = [f"p{i}" for i in range(40)] + [district.strip("/")] * is_last
        schemas[f"r{number}"] = {"type": "object", "properties": dict.fromkeys(names, text)}
        items = {"type": "array", "items": {"$ref": f"#/components/schemas/r{number}"}}
        answer = {"content": {"application/json": {"schema": items}}}
        paths[f"/ed-fi/r{number}"] = {"get": {"responses": {"200": answer}}}
    return {"openapi": "3.0.1", "paths": paths, "components": {"schemas": schemas}}


def client_of(url: str, district: str) -> edfi.EdFiClient:
    return edfi.EdFiClient(base_url=f"{url}/{district}", api_version="v3", bearer_token="t")


def schemas(url: str) -> Case:
    def case(n: int) -> Callable[[], object]:
        def ask() -> None:
            global RESOURCES  # noqa: PLW0603
            RESOURCES = n
            client = client_of(url, f"s{n}")
            for number in range(n):
                client.schema(f"ed-fi/r{number}")

        return ask

    return case


def documents(url: str) -> Case:
    def case(n: int) -> Callable[[], object]:
        def ask() -> None:
            global RESOURCES  # noqa: PLW0603
            RESOURCES = 50
            for number in range(n):
                client_of(url, f"d{number}").schema("ed-fi/r0")

        return ask

    return case


def side_by_side(threads: int, call: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(call, range(threads)):
            pass


def expressions(url: str) -> Case:
    def case(n: int) -> Callable[[], object]:
        client = client_of(url, "e")
        df = pl.DataFrame({"id": [str(i) for i in range(20)]})
        answer = pl.col("id").edfi.get_by_id(  # type: ignore[attr-defined]
            client=client, endpoint="ed-fi/x", workers=8
        )
        return lambda: side_by_side(n, lambda _: df.select(answer))

    return case


def descriptors(url: str) -> Case:
    """Counts what is open when so many threads with eight workers each are done."""

    def case(n: int) -> Callable[[], object]:
        def read() -> float:
            client = client_of(url, "c")
            df = pl.DataFrame({"k": range(8)}).with_columns(
                pl.format(f"{url}/c{{}}", "k").alias("targetUrl"), pl.lit("t").alias("EdFi Token")
            )
            read = client.batch_get_all
            side_by_side(n, lambda _: read(df, key_col="k", endpoint="ed-fi/x", schema="infer"))
            return len([*Path("/proc/self/fd").iterdir()])

        return read

    return case


def dry_run(n: int) -> Callable[[], object]:
    def run() -> float:
        command = [sys.executable, "-c", DRY_RUN, str(n)]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    return run


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


def figure(case: Callable[[], object]) -> float:
    """The least of three times, or of three figures where a case counts something else."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        counted = case()
        took = time.process_time() - began
        best = min(best, counted if isinstance(counted, float | int) else took)
    return best


def main() -> None:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    client = edfi.EdFiClient(base_url=url, api_version="v3", bearer_token="t")
    cases: dict[str, tuple[Case, int]] = {
        "unflatten, columns": (unflatten, 5_000),
        "flatten(columns=...), columns": (flatten, 5_000),
        "one key with so many URLs": (one_key, 10_000),
        "_unknown of so many fields": (reading(client, wide, {"id": pl.String}), 5_000),
        "inferred fields": (reading(client, wide, "infer"), 5_000),
        "a key twice around a large text, by depth": (reading(client, deep, "infer"), 10),
        "schema() of so many resources": (schemas(url), 100),
        "documents that differ at their end": (documents(url), 20),
        "expressions of one client, threads": (expressions(url), 32),
        "open descriptors after so many threads": (descriptors(url), 16),
        "dry run of so many rows, MB": (dry_run, 250_000),
    }
    print("### What large inputs cost", end="\n\n")
    print("| what | n | at n | at 4n | grows by |", "|---|---|---|---|---|", sep="\n")
    for name, (case, n) in cases.items():
        once, fourfold = figure(case(n)), figure(case(4 * n))
        growth = f"{fourfold / once:.1f} (target: at most 5)"
        print(f"| {name} | {n:,} | {once:.3f} | {fourfold:.3f} | {growth} |", flush=True)
    server.shutdown()


if __name__ == "__main__":
    main()
