"""A whole ODS: every resource in, in any order, and out again.

All of Grand Bend, the Ed-Fi Data Standard's sample district, goes into an empty sandbox together
with the descriptors it uses: 20,303 bodies of 281 resources, shuffled. The first run is killed on
its way, the second goes on where it was, the next night sends nothing, and in the end everything is
taken out again. Without the folder of sample data beside the project, a sandbox plays the vendor.
"""

import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

import polars_edfi as edfi

pl.Config(tbl_rows=12, tbl_width_chars=140, fmt_str_lengths=100, tbl_hide_dataframe_shape=True)

DATA = Path(__file__).parents[2] / "shared" / "data"
DOCUMENTS = [
    DATA / "openapi" / name for name in ("resources-ds-5.0.json", "descriptor-api-5.0.json")
]


def grand_bend() -> dict[str, list[str]]:
    """Read the bodies of the sample district and the descriptors."""
    bodies: dict[str, list[str]] = {}
    for path in sorted((DATA / "records" / "grandbend").glob("*.jsonl.gz")):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        bodies[f"ed-fi/{path.name.removesuffix('.jsonl.gz')}"] = lines
    descriptors = gzip.decompress((DATA / "records" / "descriptors-ds5.2.jsonl.gz").read_bytes())
    for line in descriptors.decode().splitlines():
        entry = json.loads(line)
        bodies.setdefault(entry["resource"].strip("/"), []).append(json.dumps(entry["body"]))
    return bodies


def made_up() -> dict[str, list[str]]:
    """Let a sandbox make up a district."""
    with edfi.Sandbox(districts=["vendor"], records=400) as vendor:
        url, key, secret = vendor.districts().row(0)[1:]
        client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        # School years are there in every ODS: no document of dependencies lists them.
        listed = client.dependencies()["endpoint"]
        endpoints = client.resources().filter(pl.col("endpoint").is_in(listed.implode()))
        endpoints = endpoints.filter(kind="resource")["endpoint"]
        bodies = {}
        for endpoint in endpoints:
            records = client.get_all(endpoint=endpoint, key=1, links=False)["data"]
            own = ["id", "_etag", "_lastModifiedDate", "_unknown"]
            payloads = edfi.unflatten(records.drop(own))["payload"].to_list()
            bodies[endpoint] = [json.dumps(without_nulls(body), default=str) for body in payloads]
    return bodies


def without_nulls(value: object) -> object:
    """Leave out what a record does not have."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_nulls(part) for part in value]
    return value


def read_frames() -> dict[str, pl.DataFrame]:
    """Give a frame for each resource, everything in any order, but each time in the same."""
    bodies = grand_bend() if DATA.is_dir() else made_up()
    chance = random.Random(0)  # noqa: S311 - it shuffles
    return {
        endpoint: pl.DataFrame(
            {"payload": chance.sample(bodies[endpoint], len(bodies[endpoint]))}
        ).with_row_index("row")
        for endpoint in chance.sample(list(bodies), len(bodies))
    }


def send(
    client: edfi.EdFiClient, frames: dict[str, pl.DataFrame], journal: str, *, commit: bool = True
) -> pl.DataFrame:
    """Send everything that the journal does not know as done."""
    # What was in flight when a run was killed is sent again: a post twice is as good as once.
    return client.send(
        frames, key_col="row", commit=commit, workers=16, journal=journal, retry_broken=True
    )


def main() -> None:
    """Send, be killed, go on, send again, take out."""
    frames = read_frames()
    rows = sum(frame.height for frame in frames.values())
    print(f"{rows} bodies of {len(frames)} resources, shuffled")
    documents = DOCUMENTS if DATA.is_dir() else []
    with (
        edfi.Sandbox(districts=["gb"], records=0, documents=documents) as ods,
        tempfile.TemporaryDirectory() as folder,
    ):
        url, key, secret = ods.districts().row(0)[1:]
        client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        journal = f"{folder}/night.edfi"

        # 1. Look first: nothing is sent without commit=True. A level waits for the one before it.
        plan = send(client, frames, journal, commit=False)
        level = pl.col("message").str.extract(r"level (\d+)").cast(pl.Int32).alias("level")
        print("\nWhen which rows would go:")
        print(plan.group_by(level).agg(pl.len().alias("rows")).sort("level").head(8))

        # 2. A run in a process of its own, which is killed when it has done a part.
        command = [sys.executable, __file__, url, key, secret, journal]
        with subprocess.Popen(command) as process:  # noqa: S603 - it is this file
            some = frames["ed-fi/students"].height // 2
            while process.poll() is None and client.count("ed-fi/students") < some:
                time.sleep(0.05)
            process.kill()
        confirmed = edfi.read_journal(journal).filter(state="confirmed").height
        print(f"\nKilled when the ODS had confirmed {confirmed} rows.")

        # 3. The same call goes on. Each row has one result, in the order of the frames.
        sent = send(client, frames, journal)
        print(f"The same call went on with {sent['attempts'].sum()} requests:")
        print(sent.group_by("status", "http_status", "round").len().sort("len", descending=True))
        failed = sent.filter(pl.col("status") == "error")
        if failed.height:
            print("What the ODS refuses for good, and why:")
            reasons = [pl.len(), pl.col("message").first()]
            print(failed.group_by("endpoint", "http_status").agg(reasons))

        # 4. The next night nothing is new: only what failed is tried again.
        again = send(client, frames, journal)
        print(f"\nThe next night: {again['attempts'].sum()} requests.")

        # 5. Out again: the other way round, and what is still referred to in a later round.
        ids = again.drop_nulls("resource_id").select("endpoint", id="resource_id").unique()
        items = {str(name): part for (name,), part in ids.group_by("endpoint")}
        removed = client.remove(items, commit=True, workers=16)
        print("\nRemoved:")
        print(removed.group_by("status", "round").len().sort("round"))


if len(sys.argv) == 1:
    main()
else:
    url, key, secret, journal = sys.argv[1:]
    runner = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    send(runner, read_frames(), journal)
