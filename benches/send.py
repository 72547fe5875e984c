"""Measures `send`: beside the same rows posted level by level by hand, and beside lightbeam.

Usage: ``send.py [--rounds N] [--ready] [--lightbeam PROGRAM] [--limit ROWS]``. Each goes into an
empty district of a sandbox in a process of its own: all of Grand Bend and the descriptors, or
made-up students where that folder is not there. ``--lightbeam`` names the program of lightbeam
0.1.12, which is given no more than ``--limit`` rows; rates are compared. With ``--ready`` the
server is one that has its answers ready and takes whatever is posted (``native/ods.rs``), so that
it is not what is measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[2] / "shared" / "data"
DOCUMENTS = [
    DATA / "openapi" / name for name in ("resources-ds-5.0.json", "descriptor-api-5.0.json")
]
WORKERS = 16
DEPENDENCIES = "metadata/data/v3/dependencies"
Bodies = dict[str, list[str]]
Server = Callable[[], AbstractContextManager[dict[str, str]]]


def serve() -> None:
    """Be the server, until the other side of the pipe is gone."""
    documents = DOCUMENTS if DATA.is_dir() else []
    with edfi.Sandbox(districts=["a"], records=0, strict=False, documents=documents) as ods:
        print(json.dumps(ods.districts().row(0)[1:]), flush=True)
        sys.stdin.read()


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Start an empty ODS, and say how it is reached."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin, "a pipe"
        assert process.stdout, "a pipe"
        url, key, secret = json.loads(process.stdout.readline())
        try:
            yield {"base_url": url, "client_id": key, "client_secret": secret}
        finally:
            process.stdin.close()


def record(ods: dict[str, str], answers: Path) -> None:
    """Write down what an ODS says of itself."""
    client, url = edfi.EdFiClient(**ods), ods["base_url"]

    def get(path: str) -> str:
        asked = urllib.request.Request(f"{url}/{path}", headers={"Authorization": token})
        with urllib.request.urlopen(asked) as answer:
            return json.dumps(json.load(answer))

    token = f"Bearer {client.fetch_token()}"
    listing = get("metadata/")
    paths = [entry["endpointUri"].removeprefix(f"{url}/") for entry in json.loads(listing)]
    bodies = {"": get(""), "metadata": listing, DEPENDENCIES: get(DEPENDENCIES)}
    bodies |= {path: get(path) for path in paths}
    lines = [f"{path}\t0\t{body.replace(url, '{base}')}\n" for path, body in bodies.items()]
    answers.write_text("".join(lines))


@contextmanager
def ready(program: Path, answers: Path) -> Iterator[dict[str, str]]:
    """Start a server that has its answers ready, and say how it is reached."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([program, answers, "0"], **pipes) as process:
        assert process.stdin, "a pipe"
        assert process.stdout, "a pipe"
        url = process.stdout.readline().strip()
        try:
            yield {"base_url": f"{url}/a", "client_id": "k", "client_secret": "s"}
        finally:
            process.stdin.close()


@contextmanager
def servers(is_ready: bool) -> Iterator[Server]:
    """Give what starts a server."""
    if not is_ready:
        yield server
        return
    with tempfile.TemporaryDirectory() as folder:
        program, answers = Path(folder, "ods"), Path(folder, "answers")
        source = Path(__file__).parent / "native" / "ods.rs"
        subprocess.run(["rustc", "-O", "--edition", "2024", source, "-o", program], check=True)
        with server() as ods:
            record(ods, answers)
        yield lambda: ready(program, answers)


def read_bodies() -> Bodies:
    """Read all bodies, by endpoint."""
    bodies: Bodies = {}
    if not DATA.is_dir():
        student = '{{"studentUniqueId": "{}", "birthDate": "2010-01-01", "firstName": "A", '
        student += '"lastSurname": "B"}}'
        return {"ed-fi/students": [student.format(n) for n in range(20_000)]}
    for path in sorted((DATA / "records" / "grandbend").glob("*.jsonl.gz")):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        bodies[f"ed-fi/{path.name.removesuffix('.jsonl.gz')}"] = lines
    descriptors = gzip.decompress((DATA / "records" / "descriptors-ds5.2.jsonl.gz").read_bytes())
    for line in descriptors.decode().splitlines():
        entry = json.loads(line)
        bodies.setdefault(entry["resource"].strip("/"), []).append(json.dumps(entry["body"]))
    return bodies


def frames_of(bodies: Bodies) -> dict[str, pl.DataFrame]:
    """Make a frame for each endpoint."""
    return {
        endpoint: pl.DataFrame({"payload": lines, "k": range(len(lines))})
        for endpoint, lines in bodies.items()
    }


def by_send(client: edfi.EdFiClient, frames: dict[str, pl.DataFrame]) -> int:
    """Send everything by one call."""
    sent = client.send(frames, commit=True, workers=WORKERS, rounds=1)
    return sent["status"].null_count()


def by_hand(client: edfi.EdFiClient, frames: dict[str, pl.DataFrame]) -> int:
    """Post one frame after another, level by level."""
    order = client.dependencies().filter(pl.col("operations").list.contains("Create"))
    levels = order.filter(pl.col("endpoint").is_in(list(frames)))["endpoint"].to_list()
    posted = [
        client.batch_post_payload(
            frames[endpoint],
            payload_col="payload",
            key_col="k",
            endpoint=endpoint,
            commit=True,
            workers=WORKERS,
        )
        for endpoint in [*levels, *(name for name in frames if name not in levels)]
    ]
    return sum(frame["status"].null_count() for frame in posted)


def by_lightbeam(
    program: str, ods: dict[str, str], bodies: Bodies, folder: Path, command: str = "send"
) -> float:
    """Send by lightbeam, or have it do something else; the seconds that it took."""
    for endpoint, lines in bodies.items():
        name = endpoint.rpartition("/")[2]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    config: dict[str, Any] = {
        "data_dir": str(folder),
        "state_dir": str(folder / "state"),
        "edfi_api": ods | {"version": 3, "mode": "shared_instance", "base_url": ods["base_url"]},
        "connection": {"pool_size": WORKERS, "verify_ssl": False},
        "force_delete": True,
    }
    path = folder / "lightbeam.yml"
    path.write_text(json.dumps(config))
    start = time.perf_counter()
    subprocess.run([program, command, "-c", str(path)], check=True, capture_output=True)
    return time.perf_counter() - start


def measure(start: Server, arguments: argparse.Namespace) -> None:
    """Measure, and print a table."""
    bodies = read_bodies()
    frames = frames_of(bodies)
    rows = sum(frame.height for frame in frames.values())
    took: dict[str, list[float]] = {"send": [], "batches by hand": []}
    for _ in range(arguments.rounds):
        for name, call in [("send", by_send), ("batches by hand", by_hand)]:
            with start() as ods:
                client = edfi.EdFiClient(**ods)
                client.fetch_token()
                begun = time.perf_counter()
                good = call(client, frames)
                took[name].append(time.perf_counter() - begun)
                print(f"{name}: {good} of {rows} rows in {took[name][-1]:.2f} s", flush=True)
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    print("\n| way | rows/s | time beside batches by hand |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {rows / seconds:.0f} | {seconds / medians['batches by hand']:.2f} |")
    if arguments.lightbeam:
        few: Bodies = {}
        for endpoint, lines in bodies.items():
            left = arguments.limit - sum(map(len, few.values()))
            if lines[:left]:
                few[endpoint] = lines[:left]
        count = sum(map(len, few.values()))
        with start() as ods, tempfile.TemporaryDirectory() as folder:
            seconds = by_lightbeam(arguments.lightbeam, ods, few, Path(folder))
        ratio = (rows / medians["send"]) / (count / seconds)
        print(f"| lightbeam ({count} rows) | {count / seconds:.0f} | |")
        print(f"\n`send` has {ratio:.1f} times the rate of lightbeam.")


def main() -> None:
    """Read the arguments, and start what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ready", action="store_true", help="a server that is not measured")
    parser.add_argument("--lightbeam", help="the program, where it is installed")
    parser.add_argument("--limit", type=int, default=2_000, help="the rows that lightbeam is given")
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    with servers(arguments.ready) as start:
        measure(start, arguments)


if __name__ == "__main__":
    main()
