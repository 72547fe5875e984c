"""Measures what is known before anything is sent, and how politely a server is asked.

Usage: ``preflight.py [NAME ...] [--rows N] [--records N] [--lightbeam PROGRAM]``; the names are
those of some of the measurements. A sandbox in a process of its own has all of Grand Bend and the
descriptors. ``--lightbeam`` names the program of lightbeam 0.1.12, whose `validate` is given the
same 20,000 payloads.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from copies import server as made_up
from send import DATA, DOCUMENTS, by_lightbeam, read_bodies

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCORES = "ed-fi/studentAssessments"
LATENCY = 0.02
FEW = 20_000
"""Payloads for lightbeam."""
RATE = 100
"""Requests a second that a limiter takes."""


def serve(latency: float, students: int, rate: int) -> None:
    """Be the server, until the other side of the pipe is gone."""
    bodies = read_bodies()
    years = range(2020, 2026)
    bodies["ed-fi/schoolYearTypes"] = [
        json.dumps({"schoolYear": year, "schoolYearDescription": "x", "currentSchoolYear": False})
        for year in years
    ]
    if students:
        bodies = {SCORES: scores(bodies[SCORES], students)}
    options: dict[str, Any] = {"records": 0, "strict": False, "latency": latency}
    if rate:
        options["request_limit"] = (rate, 1.0)
    with (
        edfi.Sandbox(districts=["a"], documents=DOCUMENTS, **options) as ods,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "bodies.jsonl"
        for endpoint, lines in bodies.items():
            path.write_text("\n".join(lines) + "\n")
            ods.load_jsonl("a", endpoint, path)
        print(json.dumps(ods.districts().row(0)[1:]), flush=True)
        sys.stdin.read()


@contextmanager
def server(latency: float = 0.0, students: int = 0, rate: int = 0) -> Iterator[dict[str, str]]:
    """Start an ODS with all of Grand Bend, or with so many scores, and say how it is reached."""
    command = [sys.executable, __file__, "--serve", str(latency), str(students), str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin, "a pipe"
        assert process.stdout, "a pipe"
        url, key, secret = json.loads(process.stdout.readline())
        try:
            yield {"base_url": url, "client_id": key, "client_secret": secret}
        finally:
            process.stdin.close()


def scores(lines: list[str], count: int) -> list[str]:
    """Make so many scores out of those of Grand Bend, each with a key of its own."""
    many = []
    for number in range(count):
        body = json.loads(lines[number % len(lines)])
        body["studentAssessmentIdentifier"] = f"bench-{number}"
        many.append(json.dumps(body))
    return many


def memory(name: str) -> float:
    """Read how much memory this process has, or had at most, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Do something, and say how many seconds it took."""
    start = time.perf_counter()
    outcome = call()
    return time.perf_counter() - start, outcome


def validate(rows: int) -> None:
    """Validate so many payloads of all resources."""
    bodies = read_bodies()
    payloads = {name: lines for name, lines in bodies.items() if not name.endswith("Descriptors")}
    times = rows // sum(map(len, payloads.values())) + 1
    frames = {
        endpoint: pl.DataFrame({"payload": pl.Series(lines * times, dtype=pl.String)})
        for endpoint, lines in payloads.items()
        if endpoint != SCORES
    }
    left = rows - sum(frame.height for frame in frames.values())
    frames[SCORES] = pl.DataFrame({"payload": scores(payloads[SCORES], max(left, 1))})
    count = sum(frame.height for frame in frames.values())
    size = sum(frame.estimated_size("mb") for frame in frames.values())
    with server() as ods:
        client = edfi.EdFiClient(**ods)
        before = memory("VmRSS")
        seconds, findings = timed(lambda: client.validate(frames))
    errors = findings.filter(severity="error").height
    above = memory("VmHWM") - before
    print(
        f"validate: {count} payloads ({size:.0f} MB) in {seconds:.1f} s, {errors} errors,", end=" "
    )
    print(f"{above:.0f} MB above the frames; {count / seconds:.0f} a second", flush=True)


def compare(records: int) -> None:
    """Compare so many payloads with as many records, beside reading these."""
    frame = pl.DataFrame({"payload": scores(read_bodies()[SCORES], records)})
    with server(students=records) as ods:
        client = edfi.EdFiClient(**ods)
        client.compare(frame.head(1), endpoint=SCORES)  # which fetches the documents
        reading, _ = timed(lambda: client.get_all(key=1, endpoint=SCORES))
        before = memory("VmRSS")
        seconds, compared = timed(lambda: client.compare(frame, endpoint=SCORES))
        reading_again, _ = timed(lambda: client.get_all(key=1, endpoint=SCORES))
    same = compared.filter(status="same").height
    ratio = seconds / min(reading, reading_again)
    print(f"compare: {same} of {records} are the same, in {ratio:.2f} times a reading,", end=" ")
    print(f"{memory('VmHWM') - before:.0f} MB above", flush=True)


def skip_same(records: int) -> None:
    """Send a file of which one row in a hundred has changed."""
    lines = scores(read_bodies()[SCORES], records)
    for row in range(0, records, 100):
        body = json.loads(lines[row])
        body["serialNumber"] = "changed"
        lines[row] = json.dumps(body)
    frames = {SCORES: pl.DataFrame({"payload": lines})}
    took = []
    for skipping in (True, False):
        with server(LATENCY, records) as ods:
            client = edfi.EdFiClient(**ods)
            seconds, sent = timed(
                lambda skipping=skipping, client=client: client.send(  # type: ignore[misc]
                    frames, commit=True, skip_same=skipping, order=[SCORES]
                )
            )
        took.append(seconds)
        print(f"send, skip_same={skipping}: {seconds:.1f} s, {sent['attempts'].sum()} posts")
    print(f"skip_same: {took[1] / took[0]:.1f} times as fast as the whole file", flush=True)


def beside_lightbeam(program: str) -> None:
    """Validate the same payloads by lightbeam."""
    lines = scores(read_bodies()[SCORES], FEW)
    frame = pl.DataFrame({"payload": lines})
    with server() as ods, tempfile.TemporaryDirectory() as folder:
        client = edfi.EdFiClient(**ods)
        ours, _ = timed(lambda: client.validate(frame, endpoint=SCORES))
        theirs = by_lightbeam(program, ods, {SCORES: lines}, Path(folder), "validate")
    print(f"validate: {FEW} payloads in {ours:.2f} s, by lightbeam in {theirs:.1f} s:", end=" ")
    print(f"{theirs / ours:.0f} times as fast", flush=True)


def limited() -> None:
    """Post to an ODS that takes so many requests a second."""
    student = '{{"studentUniqueId": "{}", "birthDate": "2010-01-01", "firstName": "A", '
    student += '"lastSurname": "B"}}'
    payloads = [student.format(number) for number in range(20 * RATE)]
    frame = pl.DataFrame({"k": range(len(payloads)), "payload": payloads})
    given: Any = {"payload_col": "payload", "key_col": "k", "endpoint": "ed-fi/students"}
    with server(rate=RATE) as ods:
        client = edfi.EdFiClient(**ods, max_rate=RATE)
        post = client.batch_post_payload
        seconds, _ = timed(lambda: post(frame, commit=True, workers=16, **given))
        requests, retries = client.stats["requests"], client.stats["retries"]
    print(f"limiter of {RATE} a second, max_rate: {requests / seconds / RATE:.1%} of it,", end=" ")
    print(f"{retries / requests:.1%} of the answers 429", flush=True)


def permissions(districts: int) -> None:
    """Ask what the keys of so many districts may do."""
    with made_up(districts, 0, 0.05) as ods:
        client = edfi.EdFiClient()
        names = ("auth_key_col", "oAuthKey"), ("auth_secret_col", "oAuthSecret")
        seconds, found = timed(
            lambda: client.batch_permissions(
                ods.districts,
                key_col="District BK",
                oauth_endpoint="oauth/token",
                workers=8,
                **dict(names),
            )
        )
        asked = client.stats["requests"]
    good = found["status"].null_count()
    print(f"permissions: {good} of {districts} districts at 50 ms, 8 in flight,", end=" ")
    print(f"{asked} requests in {seconds:.1f} s", flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of all measurements these")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--lightbeam", help="the program, where it is installed")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=40_000)
    arguments = parser.parse_args()
    if arguments.serve:
        latency, students, rate = arguments.serve
        serve(float(latency), int(students), int(rate))
        return
    if not DATA.is_dir():
        msg = "this needs the folder of real Ed-Fi data"
        raise SystemExit(msg)
    measurements: dict[str, Callable[[], None]] = {
        "validate": lambda: validate(arguments.rows),
        "compare": lambda: compare(arguments.records),
        "skip_same": lambda: skip_same(arguments.records),
        "limited": limited,
        "permissions": lambda: permissions(500),
    }
    if arguments.lightbeam:
        measurements["lightbeam"] = lambda: beside_lightbeam(arguments.lightbeam)
    for name in arguments.names or measurements:
        measurements[name]()


if __name__ == "__main__":
    main()
