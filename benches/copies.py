"""Copies of whole ODSs beside their targets, as Markdown: nothing changed, a first copy, a merge.

``python benches/copies.py`` after ``make build``; ``--quick`` takes a tenth of the records and
districts. The sandbox is in a process of its own. Figures are ratios where a machine's speed would
say little.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = """
import sys
import polars_edfi as edfi

districts, records, latency = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
names = [str(number) for number in range(districts)]
with edfi.Sandbox(names, records, latency=latency) as ods:
    ods.districts().write_parquet(sys.argv[4])
    print("ready", flush=True)
    for line in sys.stdin:
        district, endpoint, kind, number, times = line.split()
        for n in range(int(times)):
            ods.mutate(district, endpoint, kind, int(number) + n)
        print("done", flush=True)
"""
SCORES = "ed-fi/studentAssessments"


class Server:
    """A sandbox in another process."""

    def __init__(self, process: subprocess.Popen[str], districts: pl.DataFrame) -> None:
        self._process = process
        self.districts = districts

    def client(self) -> edfi.EdFiClient:
        """Give the client of its first district."""
        _, url, key, secret = self.districts.row(0)
        return edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)

    def mutate(self, endpoint: str, kind: str, number: int, times: int) -> None:
        """Change the first district."""
        assert self._process.stdin
        assert self._process.stdout
        print(
            self.districts[0, 0],
            endpoint,
            kind,
            number,
            times,
            file=self._process.stdin,
            flush=True,
        )
        self._process.stdout.readline()


@contextmanager
def server(districts: int, records: int, latency: float) -> Iterator[Server]:
    """Start a sandbox, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "districts.parquet")
        command = [sys.executable, "-c", SERVER, *map(str, (districts, records, latency, file))]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as process:
            assert process.stdout
            process.stdout.readline()
            try:
                yield Server(process, pl.read_parquet(file))
            finally:
                process.kill()


def peak() -> float:
    """Tell the most memory that this process had since the last call, in MB."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1]) / 1000


def timed(work: Any, *arguments: Any, **options: Any) -> tuple[float, Any]:
    """Do something, and tell how long it took."""
    begin = time.perf_counter()
    result = work(*arguments, **options)
    return time.perf_counter() - begin, result


def say(what: str, target: str, reached: str) -> None:
    """Print a row of the table."""
    print(f"| {what} | {target} | {reached} |", flush=True)


def unchanged(endpoints: int, into: str) -> None:
    """One ODS in which nothing changed."""
    with server(1, 200, 0.005) as ods:
        client = ods.client()
        names = client.resources()["endpoint"].to_list()[:endpoints]
        edfi.sync(client, names, into=into)
        seconds, report = timed(edfi.sync, client, names, into=into)
    assert report["mode"].unique().to_list() == ["unchanged"]
    each = report["requests"].sum() / report.height
    what = f"{report.height} resources, nothing changed, 5 ms, 8 in flight"
    say(what, "2 requests each; 2 s for 100", f"{each:.2f} requests each, {seconds:.2f} s")


ANSWERS = (
    "",
    "metadata",
    "metadata/data/v3/resources/swagger.json",
    "metadata/data/v3/descriptors/swagger.json",
    "metadata/data/v3/dependencies",
    "changeQueries/v1/availableChangeVersions",
)


def record(file: Path) -> list[str]:
    """Write down what a small ODS answers, for a server that is not the limit."""
    with edfi.Sandbox(["0"], 8) as ods:
        _, url, key, secret = ods.districts().row(0)
        client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        names = client.resources()["endpoint"].to_list()[:20]
        account = f"grant_type=client_credentials&client_id={key}&client_secret={secret}"
        with urllib.request.urlopen(f"{url}/oauth/token", account.encode()) as answer:
            token = json.load(answer)["access_token"]
        lines = []
        for path in (*ANSWERS, *(f"data/v3/{name}" for name in names)):
            asked = urllib.request.Request(
                f"{url}/{path}?totalCount=true", headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(asked) as answer:
                body = json.dumps(json.load(answer)).replace(url, "{base}")
                lines.append(f"{path}\t{answer.headers.get('Total-Count', 0)}\t{body}\n")
    file.write_text("".join(lines))
    return names


@contextmanager
def ready(program: Path, answers: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a server that has its answers ready."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([program, answers, "5000"], **pipes) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def busy(url: str) -> tuple[int, float]:
    """Tell how often a server was asked, and from when to when, in seconds."""
    with urllib.request.urlopen(f"{url}/busy") as answer:
        requests, seconds = answer.read().split()
    return int(requests), float(seconds)


def many(districts: int, into: str) -> None:
    """Many districts in which nothing changed, and with a fiftieth of them dead."""
    Path(into).mkdir()
    program, answers = Path(into, "ods"), Path(into, "answers")
    source = Path(__file__).parent / "native" / "ods.rs"
    subprocess.run(["rustc", "-O", "--edition", "2024", source, "-o", program], check=True)
    names = record(answers)
    given: Any = {
        "into": f"{into}/lake",
        "key_col": "district",
        "auth_key_col": "key",
        "auth_secret_col": "secret",
        "oauth_endpoint": "oauth/token",
        "workers": 32,
    }
    with ready(program, answers) as (_, url), ready(program, answers) as (other, dying):
        df = pl.DataFrame({"district": [str(number) for number in range(districts)]})
        is_dying = pl.int_range(pl.len()) % 50 == 0
        base = pl.when(is_dying).then(pl.lit(dying)).otherwise(pl.lit(url))
        df = df.with_columns(
            targetUrl=base + "/" + pl.col("district"), key=pl.lit("k"), secret=pl.lit("s")
        )
        edfi.sync(df, names, **given)
        peak()
        for one in (url, dying):
            busy(one)
        seconds, report = timed(edfi.sync, df, names, **given)
        memory = peak()
        (some, whole), (others, _) = busy(url), busy(dying)
        assert report["mode"].unique().to_list() == ["unchanged"], report["message"].to_list()[:3]
        # Tokens and what is asked of a whole district count as well.
        ideal = (some + others) * 0.005 / 32
        what = f"{districts} districts x 20 resources, nothing changed, 5 ms, 32 in flight"
        reached = f"{ideal / seconds:.2f} of {ideal:.1f} s; {memory:.0f} MB"
        say(what, "0.8 of the ideal; 500 MB", reached)
        for how in (signal.SIGSTOP, signal.SIGKILL):
            other.send_signal(how)
            client = edfi.EdFiClient(max_retries=1, timeout=5, connect_timeout=2)
            report = edfi.sync(df, names, client=client, **given)
            assert report["status"].drop_nulls().len() == 20 * df.filter(is_dying).height
            lost = busy(url)[1] / whole - 1
            dead = "silent" if how == signal.SIGSTOP else "dead"
            say(f"a fiftieth of them {dead}", "the others lose 10 %", f"{lost:+.0%}")


def first(records: int, into: str) -> None:
    """A first copy beside a scan of the same, and a merge into it."""
    with server(1, records, 0) as ods:
        client = ods.client()
        scanned = Path(into, "scanned.parquet")
        plain, _ = timed(
            edfi.scan(SCORES, client=client).sink_parquet, scanned, row_group_size=16_384
        )
        for format_ in ("parquet", "delta"):
            place = f"{into}/{format_}"
            peak()
            seconds, report = timed(edfi.sync, client, SCORES, into=place, format=format_)
            assert report["rows"].to_list() == [records], report["message"].to_list()
            say(
                f"first copy of {records:,} records, {format_}",
                "0.7 of scan and sink; 350 MB",
                f"{plain / seconds:.2f}; {peak():.0f} MB",
            )
        changes = min(10_000, records // 10)
        ods.mutate(SCORES, "edit", 0, changes * 8 // 10)
        ods.mutate(SCORES, "delete", records // 2, changes // 10)
        ods.mutate(SCORES, "insert", changes // 10, 1)
        for format_, most in (("parquet", 10), ("delta", 15)):
            place = f"{into}/{format_}"
            peak()
            seconds, report = timed(edfi.sync, client, SCORES, into=place, format=format_)
            row = report.row(0, named=True)
            assert row["mode"] == "changes", row
            say(
                f"{row['written'] + row['deleted']:,} changes into it, {format_}",
                f"{most} s for 10,000 into 1,000,000; 1 GB",
                f"{seconds:.1f} s; {peak():.0f} MB",
            )


def by_id(schedules: int) -> None:
    """Count the rows that a copy has wrong: ours, and one that is kept as others' users keep it."""
    from edfi_api_client import EdFiClient as OtherClient

    logging.getLogger("edfi_api_client").setLevel(logging.ERROR)
    ours = others = rows = 0
    for seed in range(schedules):
        chance = random.Random(seed)
        with edfi.Sandbox(records=40, seed=seed) as ods, tempfile.TemporaryDirectory() as into:
            _, url, key, secret = ods.districts().row(0)
            client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
            other = OtherClient(url, key, secret)
            recipe = Recipe(other)
            for changes in (*(chance.randrange(6) for _ in range(3)), 0):
                edfi.sync(client, SCORES, into=into)
                recipe.run()
                for _ in range(changes):
                    kinds: Any = ["insert", "delete", "edit", "recreate", "rekey"]
                    late = chance.choice([0, 0, 0, 3])
                    ods.mutate(
                        "255901", SCORES, chance.choice(kinds), chance.randrange(40), late=late
                    )
                    ods.mutate("255901", "ed-fi/students", "rekey", chance.randrange(10))
            for _ in range(3):  # what began late is committed before one of these
                client.count(SCORES)
            edfi.sync(client, SCORES, into=into)
            recipe.run()
            there = client.get_all(key="k", endpoint=SCORES)["data"]
            copy = pl.read_parquet(f"{into}/{SCORES}/data.parquet").select(there.columns)
            same = copy.hash_rows().is_in(there.hash_rows().implode()).sum()
            rows += there.height
            ours += copy.height - same + max(there.height - copy.height, 0)
            others += recipe.wrong(list(other.resource("studentAssessments").get_rows()))
    what = f"{schedules} schedules, {rows:,} rows in the end, those that are wrong"
    say(what, "0", f"{ours}; edfi-api-client, delete by id and append: {others}")


class Recipe:
    """A copy as users of edfi-api-client keep it: a window each night, deletes by id, appends."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._copy: list[dict[str, Any]] = []
        self._since = 0

    def run(self) -> None:
        """Read the window since the last run."""
        newest = self._client.get_newest_change_version()
        window = {"minChangeVersion": self._since, "maxChangeVersion": newest}
        records = list(self._client.resource("studentAssessments", **window).get_rows())
        deletes = self._client.resource("studentAssessments", get_deletes=True, **window).get_rows()
        gone = {row["id"] for row in (*records, *deletes)}
        self._copy = [row for row in self._copy if row["id"] not in gone] + records
        self._since = newest

    def wrong(self, there: list[dict[str, Any]]) -> int:
        """Count the rows that are not there, or not so, and those that are missing."""
        now = {row["id"]: row for row in there}
        wrong = sum(now.get(row["id"]) != row for row in self._copy)
        return wrong + len(now.keys() - {row["id"] for row in self._copy})


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    part = 10 if parser.parse_args().quick else 1
    print("| what | to be reached | reached |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as into:
        unchanged(100, f"{into}/one")
        many(500 // part, f"{into}/many")
        first(1_000_000 // part, into)
    by_id(200 // part)


if __name__ == "__main__":
    main()
