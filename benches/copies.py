"""Copies of whole ODSs beside their targets, as Markdown: nothing changed, a first copy, a merge.

``python benches/copies.py`` after ``make build``; ``--quick`` takes a tenth of the records and
districts. The sandbox is in a process of its own. Figures are ratios where a machine's speed would
say little.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
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


def many(districts: int, into: str) -> None:
    """Many districts in which nothing changed, and with some of them dead."""
    with server(districts, 8, 0.005) as ods:
        names = ods.client().resources()["endpoint"].to_list()[:20]
        given: Any = {
            "into": into,
            "key_col": "District BK",
            "auth_key_col": "oAuthKey",
            "auth_secret_col": "oAuthSecret",
            "oauth_endpoint": "oauth/token",
            "workers": 32,
        }
        edfi.sync(ods.districts, names, **given)
        peak()
        seconds, report = timed(edfi.sync, ods.districts, names, **given)
        memory = peak()
        assert report["mode"].unique().to_list() == ["unchanged"], report["message"].to_list()[:3]
        ideal = report["requests"].sum() * 0.005 / 32
        what = f"{districts} districts x 20 resources, nothing changed, 5 ms, 32 in flight"
        say(
            what,
            "0.8 of the ideal; 500 MB",
            f"{ideal / seconds:.2f} of {ideal:.1f} s; {memory:.0f} MB",
        )
        dead = pl.when(pl.int_range(pl.len()) < max(districts // 50, 1))
        url = dead.then(pl.lit("http://127.0.0.1:9")).otherwise("targetUrl")
        lame = ods.districts.with_columns(targetUrl=url)
        others, report = timed(
            edfi.sync, lame, names, client=edfi.EdFiClient(max_retries=1), **given
        )
        lost = others / seconds - 1
        say("a fiftieth of them dead", "the others lose 10 %", f"{lost:+.0%}")


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
    """Count what keeping a copy by id alone gets wrong, as recipes for today's clients do."""
    wrong = [0, 0]
    for seed in range(schedules):
        chance = random.Random(seed)
        with edfi.Sandbox(records=40, seed=seed) as ods, tempfile.TemporaryDirectory() as into:
            _, url, key, secret = ods.districts().row(0)
            client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
            naive = client.changes(SCORES)
            copy, since = naive.records, naive.next_version
            edfi.sync(client, SCORES, into=into)
            for _ in range(3):
                for _ in range(chance.randrange(6)):
                    kinds: Any = ["insert", "delete", "edit", "recreate", "rekey"]
                    late = chance.choice([0, 0, 0, 3])
                    ods.mutate(
                        "255901", SCORES, chance.choice(kinds), chance.randrange(40), late=late
                    )
                    ods.mutate("255901", "ed-fi/students", "rekey", chance.randrange(10))
                edfi.sync(client, SCORES, into=into)
                # What there is since the last time takes the place of the same ids; deletes go.
                changed = client.changes(SCORES, since=since, overlap=0)
                since = changed.next_version
                copy = pl.concat(
                    [copy.join(changed.records, on="id", how="anti"), changed.records],
                    how="diagonal_relaxed",
                ).join(changed.deletes, on="id", how="anti")
            for _ in range(3):
                client.count(SCORES)
            edfi.sync(client, SCORES, into=into)
            changed = client.changes(SCORES, since=since, overlap=0)
            copy = pl.concat(
                [copy.join(changed.records, on="id", how="anti"), changed.records],
                how="diagonal_relaxed",
            ).join(changed.deletes, on="id", how="anti")
            there = client.get_all(key="k", endpoint=SCORES)["data"]
            ours = pl.read_parquet(f"{into}/{SCORES}/data.parquet")
            for place, rows in enumerate((ours, copy)):
                columns = there.columns
                same = rows.select(columns).hash_rows().is_in(there.hash_rows().implode())
                wrong[place] += rows.height - same.sum() + max(there.height - rows.height, 0)
    say(f"{schedules} schedules, rows that are wrong", "0", f"{wrong[0]}; by id alone {wrong[1]}")


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
