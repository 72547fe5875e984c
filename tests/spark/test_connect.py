"""Spark Connect, which writes the options of a query into its event log and its UI."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import auth_of

import polars_edfi as edfi
from polars_edfi.spark import _options

NEEDS = ("grpc", "grpc_status", "google.rpc")

# A process has one kind of Spark at a time, and a server of Connect is one.
PROGRAM = """
import json, sys
from pathlib import Path

import polars as pl
from pyspark.sql import SparkSession
from polars_edfi import spark as edfi_spark

given = json.load(sys.stdin)
events = Path(given["folder"], "events")
events.mkdir()
session = (
    SparkSession.builder.remote("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.dir", events.as_uri())
    .config("spark.eventLog.compress", "false")
    .config("spark.log.level", "ERROR")
    .getOrCreate()
)
auth, found = given["auth"], {}
edfi_spark.register(session, **auth)
found["read"] = session.read.format("edfi").load("ed-fi/students").count()
districts = pl.DataFrame(given["districts"])
many = edfi_spark.read(session, districts, "ed-fi/students", key_col="District BK")
found["many"] = many.count()
payload = {"studentUniqueId": "7", "firstName": "a", "lastSurname": "b", "birthDate": "2015-01-01"}
frame = session.createDataFrame([(1, json.dumps(payload))], ["k", "payload"])
names = {"endpoint": "ed-fi/students", "payload_col": "payload", "key_col": "k", "tasks": "2"}
results = str(Path(given["folder"], "results"))
frame.write.format("edfi").options(**names, results=results).mode("append").save()
found["written"] = pl.read_parquet(f"{results}/*.parquet")["http_status"].to_list()
changes = session.readStream.format("edfi").load("ed-fi/students")
found["change"] = changes.columns[0]
try:
    shown = {"client_secret": "shown"}
    session.read.format("edfi").options(**shown).load("ed-fi/students").count()
except Exception as error:
    found["refused"] = str(error)
session.stop()
print(json.dumps(found))
"""


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name.partition(".")[0]) for name in NEEDS),
    reason='Spark Connect is not installed: pip install "pyspark[connect]"',
)
def test_no_log_of_connect_shows_a_secret(tmp_path: Path) -> None:
    with edfi.Sandbox(districts=["1", "2"], records=40) as ods:
        districts = ods.districts()
        secrets = districts["oAuthSecret"].to_list()
        given = {
            "auth": auth_of(ods),
            "districts": districts.to_dict(as_series=False),
            "folder": str(tmp_path),
        }
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=json.dumps(given),
            env={**os.environ, "PYTHONPATH": str(Path(edfi.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        found = json.loads(ran.stdout.splitlines()[-1])
    assert (found["read"], found["many"], found["written"]) == (10, 20, [201])
    assert found["change"] == "_change"
    assert "give it to register(session, client_secret=...)" in found["refused"]
    logs = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    shown = [*logs, ran.stdout, ran.stderr]
    assert any("SparkListenerConnectOperationStarted" in text for text in logs)
    for secret in secrets:
        assert not [text for text in shown if secret in text]


def test_a_secret_is_refused_however_it_is_spelt() -> None:
    for name in ("client_secret", "clientSecret", "BEARERTOKEN", "headers"):
        with pytest.raises(edfi.EdFiError, match="writes the options"):
            _options.refuse_secrets({"base_url": "x", name: "planted"})
    _options.refuse_secrets({"base_url": "x", "client_id": "y"})
