"""Copies in an object store, beside a stand-in for S3: commits, states, failures."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi

from .test_sync import BOTH, FORMATS, STUDENTS, Format, client_of, there

pytest.importorskip("moto.server", reason="moto[server] is not installed")
boto3 = pytest.importorskip("boto3", reason="moto[server] is not installed")

BUCKET = "lake"
SERVER = """
import sys
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
"""


@dataclass
class Store:
    """A bucket of S3."""

    url: str
    bucket: Any

    @property
    def options(self) -> dict[str, str]:
        return {
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            "aws_region": "us-east-1",
            "aws_endpoint_url": self.url,
            "aws_allow_http": "true",
        }

    def names(self) -> list[str]:
        return sorted(one.key for one in self.bucket.objects.all())

    def read(self, endpoint: str, fmt: Format, into: str = "edfi") -> pl.DataFrame:
        place = f"s3://{BUCKET}/{into}/{endpoint}"
        if fmt == "delta":
            return pl.read_delta(place, storage_options=self.options).sort("id")
        file = f"{place}/data.parquet"
        return pl.read_parquet(file, storage_options=self.options, glob=False).sort("id")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    # In a process of its own: deltalake holds the GIL while it waits for an answer.
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SERVER], **pipes) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def store(server: str) -> Iterator[Store]:
    s3 = boto3.resource(
        "s3",
        endpoint_url=server,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    bucket = s3.create_bucket(Bucket=BUCKET)
    yield Store(server, bucket)
    bucket.objects.all().delete()
    bucket.delete()


def given(store: Store, fmt: Format, into: str = "edfi") -> dict[str, Any]:
    return {
        "into": f"s3://{BUCKET}/{into}",
        "format": fmt,
        "storage_options": store.options,
    }


def assert_equal(client: edfi.EdFiClient, copy: pl.DataFrame, endpoint: str) -> None:
    now = there(client, endpoint)
    same = [name for name, dtype in now.schema.items() if copy.schema.get(name) == dtype]
    assert {"id", "_etag"} <= set(same)
    assert copy.select(same).equals(now.select(same))


@pytest.mark.parametrize("fmt", FORMATS)
def test_copies_in_a_bucket(
    store: Store, ods: edfi.Sandbox, client: edfi.EdFiClient, fmt: Format
) -> None:
    first = edfi.sync(client, BOTH, **given(store, fmt))
    assert first["mode"].to_list() == ["full", "full"], first["message"].to_list()
    for kind in ("insert", "edit", "delete", "recreate", "rekey"):
        for endpoint in BOTH:
            ods.mutate("255901", endpoint, kind, 1)  # type: ignore[arg-type]
    second = edfi.sync(client, BOTH, **given(store, fmt))
    assert second["mode"].to_list() == ["changes", "changes"], second["message"].to_list()
    assert second["since"].to_list() == first["version"].to_list()
    for endpoint in BOTH:
        assert_equal(client, store.read(endpoint, fmt), endpoint)
    names = store.names()
    third = edfi.sync(client, BOTH, **given(store, fmt))
    assert third["mode"].to_list() == ["unchanged", "unchanged"]
    assert third["requests"].to_list() == [2, 2]
    assert store.names() == names
    if fmt == "parquet":
        assert names == [f"edfi/{endpoint}/data.parquet" for endpoint in sorted(BOTH)]


@pytest.mark.parametrize("key_col", ["district", "District BK"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_districts_in_a_bucket(store: Store, ods: edfi.Sandbox, fmt: Format, key_col: str) -> None:
    accounts: Any = {
        "key_col": key_col,
        "auth_key_col": "oAuthKey",
        "auth_secret_col": "oAuthSecret",
        "oauth_endpoint": "oauth/token",
    }
    districts = ods.districts().rename({"District BK": key_col})
    districts = districts.with_columns(pl.Series(key_col, ["a/b c é", "255902"]))
    edfi.sync(districts, BOTH, **given(store, fmt), **accounts)
    ods.mutate("255902", STUDENTS, "insert", 2)
    report = edfi.sync(districts, BOTH, **given(store, fmt), **accounts)
    assert report["mode"].to_list() == ["unchanged", "unchanged", "changes", "unchanged"]
    place = f"s3://{BUCKET}/edfi/{STUDENTS}"
    if fmt == "parquet":
        rows = pl.read_parquet(f"{place}/*.parquet", storage_options=store.options)
    elif " " in key_col:  # Polars finds no column of this name in the URLs of the table's files
        assert report["rows"].to_list() == [10, 40, 12, 40]
        return
    else:
        rows = pl.read_delta(place, storage_options=store.options)
    assert dict(rows.group_by(key_col).len().iter_rows()) == {"a/b c é": 10, "255902": 12}


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_store_that_refuses(store: Store, client: edfi.EdFiClient, fmt: Format) -> None:
    """A bucket that is not there is each resource's own error, and nothing is kept of it."""
    wrong = given(store, fmt) | {"into": "s3://nobody/edfi"}
    report = edfi.sync(client, BOTH, **wrong)
    assert report["status"].to_list() == ["error", "error"]
    for message in report["message"]:
        assert "secret" not in message
        assert len(message) <= 500
    assert store.names() == []


@pytest.mark.parametrize("damage", ["foreign", "text", "future", "other"])
def test_an_object_that_is_no_copy(
    store: Store, ods: edfi.Sandbox, client: edfi.EdFiClient, damage: str
) -> None:
    edfi.sync(client, BOTH, **given(store, "parquet"))
    name = f"edfi/{STUDENTS}/data.parquet"
    place = f"s3://{BUCKET}/{name}"
    match damage:
        case "foreign":
            pl.DataFrame({"mine": [1]}).write_parquet(place, storage_options=store.options)
        case "text":
            store.bucket.put_object(Key=name, Body=b"students, by hand")
        case "future":
            metadata = pl.read_parquet_metadata(place, storage_options=store.options)
            state = json.loads(metadata["polars_edfi"]) | {"format": 99}
            rows = pl.read_parquet(place, storage_options=store.options)
            rows.write_parquet(
                place, metadata={"polars_edfi": json.dumps(state)}, storage_options=store.options
            )
        case "other":
            client = client_of(ods, 1)
    before = store.bucket.Object(name).get()["Body"].read()
    report = edfi.sync(client, STUDENTS, **given(store, "parquet"))
    text = {
        "foreign": "was not written by polars-edfi",
        "text": "damaged",
        "future": "later version",
        "other": "is a copy of the ODS",
    }[damage]
    assert report["status"].to_list() == ["error"]
    assert text in report["message"][0]
    assert store.bucket.Object(name).get()["Body"].read() == before


def test_two_runs_into_one_bucket(store: Store, client: edfi.EdFiClient) -> None:
    from polars_edfi._sync.lock import only_run

    place = f"s3://{BUCKET}/edfi"
    with only_run(place), pytest.raises(edfi.EdFiError, match="another run"):
        edfi.sync(client, STUDENTS, **given(store, "parquet"))
    assert store.names() == []
