"""A whole ODS: every resource in, in any order, and out again.

All of Grand Bend, the Ed-Fi Data Standard's sample district, goes into an empty sandbox together
with the descriptors it uses: 20,303 bodies of 281 resources, shuffled. Without the folder of sample
data beside the project, a sandbox plays the vendor.
"""

import gzip
import json
import random
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
        endpoints = client.resources().filter(kind="resource")["endpoint"]
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


is_there = DATA.is_dir()
bodies = grand_bend() if is_there else made_up()
chance = random.Random(0)  # noqa: S311 - it shuffles
frames = {
    endpoint: pl.DataFrame({"payload": chance.sample(bodies[endpoint], len(bodies[endpoint]))})
    for endpoint in chance.sample(list(bodies), len(bodies))
}
rows = sum(frame.height for frame in frames.values())
print(f"{rows} bodies of {len(frames)} resources, shuffled")

with edfi.Sandbox(districts=["gb"], records=0, documents=DOCUMENTS if is_there else []) as ods:
    url, key, secret = ods.districts().row(0)[1:]
    client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)

    # 1. Look first: nothing is sent without commit=True. A level waits for the one before it.
    plan = client.send(frames)
    level = pl.col("message").str.extract(r"level (\d+)").cast(pl.Int32).alias("level")
    print("\nWhen which rows would go:")
    print(plan.group_by(level).agg(pl.len().alias("rows")).sort("level").head(8))

    # 2. Send. Each row has one result, in the order of the frames and their rows.
    start = time.perf_counter()
    sent = client.send(frames, commit=True, workers=16)
    seconds = time.perf_counter() - start
    print(f"\nSent in {seconds:.1f} s, with {sent['attempts'].sum()} requests:")
    print(sent.group_by("status", "http_status", "round").len().sort("len", descending=True))
    failed = sent.filter(pl.col("status") == "error")
    if failed.height:
        print("What the ODS refuses for good, and why:")
        print(failed.group_by("endpoint", "http_status").agg(pl.len(), pl.col("message").first()))

    # 3. Out again: the other way round, and what is still referred to in a later round.
    ids = sent.drop_nulls("resource_id").select("endpoint", id="resource_id").unique()
    items = {str(name): part for (name,), part in ids.group_by("endpoint")}
    removed = client.remove(items, commit=True, workers=16)
    print("\nRemoved:")
    print(removed.group_by("status", "round").len().sort("round"))
