"""Commits of Delta copies: killed in the middle, refused, and beside what others ask of a table."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi

from .test_sync import STUDENTS, assert_equal

deltalake = pytest.importorskip("deltalake")

KILLED = """
import os, signal, sys

import deltalake.transaction
import polars_edfi as edfi

url, key, secret, into = sys.argv[1:]


def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)


deltalake.transaction.create_table_with_add_actions = kill
deltalake.DeltaTable.create_write_transaction = kill
client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
edfi.sync(client, "ed-fi/students", into=into, format="delta")
"""


def kill_at_the_commit(ods: edfi.Sandbox, into: Path) -> None:
    """Run until the new rows are in their place, and no commit names them."""
    account = ods.districts().row(0)[1:]
    command = [sys.executable, "-c", KILLED, *account, str(into)]
    child = subprocess.run(command, timeout=300, check=False)
    assert child.returncode == -9


def files_of(table: Path) -> set[Path]:
    return {path.relative_to(table) for path in table.rglob("*.parquet")}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_run_killed_at_its_first_commit_is_gone_on_with(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    kill_at_the_commit(ods, tmp_path)
    table = tmp_path / STUDENTS
    assert len(files_of(table)) == 1
    # What deltalake leaves of a commit that it was killed in.
    (table / "_delta_log").mkdir()
    (table / "_delta_log" / "_commit_0.json.tmp").touch()
    report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert report["message"].to_list() == [None]
    assert_equal(client, tmp_path, STUDENTS, "delta")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_run_killed_at_a_commit_leaves_the_table_as_it_was(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    table = tmp_path / STUDENTS
    before = pl.read_delta(str(table))
    ods.mutate("255901", STUDENTS, "edit", 1)
    kill_at_the_commit(ods, tmp_path)
    assert pl.read_delta(str(table)).equals(before)
    left = files_of(table) - {Path(path) for path in deltalake.DeltaTable(table).file_uris()}
    report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert report.select("mode", "written").row(0) == ("changes", 1)
    assert_equal(client, tmp_path, STUDENTS, "delta")
    options: Any = {"retention_hours": 0, "enforce_retention_duration": False, "dry_run": False}
    deltalake.DeltaTable(table).vacuum(full=True, **options)
    assert not left & files_of(table) - {Path(deltalake.DeltaTable(table).file_uris()[0])}
    assert len(files_of(table)) == 1
    assert_equal(client, tmp_path, STUDENTS, "delta")


def test_a_refused_commit_leaves_no_file(
    ods: edfi.Sandbox,
    client: edfi.EdFiClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "somebody else has committed"
        raise deltalake.exceptions.CommitFailedError(msg)

    with monkeypatch.context() as patch:
        patch.setattr("deltalake.transaction.create_table_with_add_actions", refuse)
        report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
        assert "somebody else" in report["message"][0]
        assert files_of(tmp_path) == set()
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    ods.mutate("255901", STUDENTS, "edit", 1)
    before = files_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("deltalake.DeltaTable.create_write_transaction", refuse)
        report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
        assert "somebody else" in report["message"][0]
        assert files_of(tmp_path) == before
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert_equal(client, tmp_path, STUDENTS, "delta")


def test_what_others_ask_of_rows_holds(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    deltalake.DeltaTable(tmp_path / STUDENTS).alter.add_constraint({"named": "id is not null"})
    ods.mutate("255901", STUDENTS, "insert", 1)
    report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert report.select("mode", "written").row(0) == ("changes", 1)
    assert_equal(client, tmp_path, STUDENTS, "delta")
    few = f"\"_etag\" <= '{pl.read_delta(str(tmp_path / STUDENTS))['_etag'].max()}'"
    deltalake.DeltaTable(tmp_path / STUDENTS).alter.add_constraint({"few": few})
    before = pl.read_delta(str(tmp_path / STUDENTS))
    for _ in range(12):  # one of the new ones is beyond those that there were
        ods.mutate("255901", STUDENTS, "insert", 1)
    report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert report["status"].to_list() == ["error"]
    assert "failed validation check" in report["message"][0]
    names = [*client.get_all(key="k", endpoint=STUDENTS)["data"]["studentUniqueId"]]
    assert not any(name in report["message"][0] for name in names)
    assert pl.read_delta(str(tmp_path / STUDENTS)).equals(before)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda table: table.optimize.z_order(["id"]),
        lambda table: table.delete("\"District BK\" = '255901'"),
        lambda table: pl.read_delta(table).head(1).write_delta(table, mode="append"),
    ],
)
def test_what_others_commit_before_a_commit_is_seen(
    ods: edfi.Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[deltalake.DeltaTable], Any],
) -> None:
    given: Any = {"into": tmp_path, "format": "delta", "key_col": "District BK"}
    given |= {"auth_key_col": "oAuthKey", "auth_secret_col": "oAuthSecret"}
    given |= {"oauth_endpoint": "oauth/token"}
    edfi.sync(ods.districts(), STUDENTS, **given)
    before = pl.read_delta(str(tmp_path / STUDENTS)).sort("District BK", "id")
    for key in before["District BK"].unique():
        ods.mutate(key, STUDENTS, "edit", 1)
    commit, seen = deltalake.DeltaTable.create_write_transaction, []

    def overtaken(table: deltalake.DeltaTable, *arguments: Any, **options: Any) -> None:
        if not seen:
            seen.append(meanwhile(deltalake.DeltaTable(tmp_path / STUDENTS)))
        commit(table, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(deltalake.DeltaTable, "create_write_transaction", overtaken)
        report = edfi.sync(ods.districts(), STUDENTS, **given)
    assert report["mode"].to_list() == ["changes", "changes"], report["message"].to_list()
    edfi.sync(ods.districts(), STUDENTS, **given)
    rows = pl.read_delta(str(tmp_path / STUDENTS)).sort("District BK", "id")
    assert rows["id"].equals(before["id"])
    assert (rows["_etag"] != before["_etag"]).sum() == 2


def test_a_commit_whose_answer_is_lost_is_not_tried_again(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    ods.mutate("255901", STUDENTS, "edit", 1)
    commit = deltalake.DeltaTable.create_write_transaction

    def lost(*arguments: Any, **options: Any) -> None:
        commit(*arguments, **options)
        msg = "the answer is lost"
        raise deltalake.exceptions.CommitFailedError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(deltalake.DeltaTable, "create_write_transaction", lost)
        report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert "the answer is lost" in report["message"][0]
    report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert report["mode"].to_list() == ["unchanged"]
    assert_equal(client, tmp_path, STUDENTS, "delta")


def altered(table: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the columns of a table as other writers do."""
    log = sorted((table / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for file in log for line in file.read_text().splitlines()]
    metadata = [action["metaData"] for action in actions if "metaData" in action][-1]
    schema = json.loads(metadata["schemaString"])
    change({field["name"]: field for field in schema["fields"]})
    told = {"timestamp": 1, "operation": "CHANGE COLUMN", "operationParameters": {}}
    lines = [{"commitInfo": told}, {"metaData": metadata | {"schemaString": json.dumps(schema)}}]
    new = table / "_delta_log" / f"{len(log):020}.json"
    new.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


NOBODY = {"delta.invariants": json.dumps({"expression": {"expression": "id = 'nobody'"}})}


@pytest.mark.parametrize("asked", [{"nullable": False}, {"metadata": NOBODY}])
def test_rows_that_others_have_ruled_out_are_refused(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, asked: dict[str, Any]
) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    before = pl.read_delta(str(tmp_path / STUDENTS))
    empty = next(name for name in before.columns if before[name].null_count())
    column = empty if "nullable" in asked else "id"
    altered(tmp_path / STUDENTS, lambda columns: columns[column].update(asked))
    ods.mutate("255901", STUDENTS, "edit", 1)
    report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta")
    assert "failed validation check" in report["message"][0]
    assert pl.read_delta(str(tmp_path / STUDENTS)).equals(before)


@pytest.mark.parametrize("has_keys", [False, True])
def test_a_table_that_others_have_divided_otherwise_is_left_as_it_is(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, has_keys: bool
) -> None:
    keys: Any = {"key_col": "District BK", "auth_key_col": "oAuthKey"}
    keys |= {"auth_secret_col": "oAuthSecret", "oauth_endpoint": "oauth/token"}
    source: Any = ods.districts() if has_keys else client
    given: Any = {"into": tmp_path, "format": "delta"} | (keys if has_keys else {})
    edfi.sync(source, STUDENTS, **given)
    table = str(tmp_path / STUDENTS)
    options: Any = {"partition_by": ["birthSexDescriptor"], "schema_mode": "overwrite"}
    pl.read_delta(table).write_delta(table, mode="overwrite", delta_write_options=options)
    before = pl.read_delta(table)
    ods.mutate("255901", STUDENTS, "edit", 1)
    for full in (False, True):
        report = edfi.sync(source, STUDENTS, full=full, **given)
        assert report["status"].unique().to_list() == ["error"]
        assert "is partitioned by ['birthSexDescriptor']" in report["message"][0]
    assert pl.read_delta(table).equals(before)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (pl.UInt64, pl.Int64),
        (pl.Datetime("ns"), pl.Datetime("us")),
        (pl.Datetime("ns", "America/Chicago"), pl.Datetime("us", "UTC")),
    ],
)
def test_dtypes_that_tables_do_not_know_are_kept_as_others(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, dtype: Any, kept: Any
) -> None:
    name = "studentUniqueId" if dtype == pl.UInt64 else "_lastModifiedDate"
    schema = {"id": pl.String, "_etag": pl.String, name: dtype}
    for mode in ("full", "changes"):
        report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta", schema=schema)
        assert report["mode"].to_list() == [mode], report["message"].to_list()
        rows = pl.read_delta(str(tmp_path / STUDENTS))
        assert rows.schema[name] == kept
        ods.mutate("255901", STUDENTS, "edit", 1)


def test_a_table_learns_of_times_without_a_zone(client: edfi.EdFiClient, tmp_path: Path) -> None:
    small = {"id": pl.String, "_etag": pl.String}
    zoneless = small | {"_lastModifiedDate": pl.Datetime("us")}
    for schema in (small, zoneless, zoneless):
        report = edfi.sync(client, STUDENTS, into=tmp_path, format="delta", schema=schema)
        assert report["message"].to_list() == [None]
    table = deltalake.DeltaTable(tmp_path / STUDENTS)
    assert "timestampNtz" in table.protocol().writer_features
    rows = pl.read_delta(str(tmp_path / STUDENTS))
    assert rows.schema["_lastModifiedDate"] == pl.Datetime("us")
    assert rows["_lastModifiedDate"].null_count() == 0


def test_a_table_is_opened_once_however_many_look_at_it(
    ods: edfi.Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = pl.DataFrame({"key": [f"d{number}" for number in range(24)]})
    districts = keys.join(ods.districts().head(1), how="cross")
    given: Any = {
        "into": tmp_path,
        "format": "delta",
        "key_col": "key",
        "auth_key_col": "oAuthKey",
        "auth_secret_col": "oAuthSecret",
        "oauth_endpoint": "oauth/token",
        "workers": 24,
    }
    edfi.sync(districts, STUDENTS, **given)
    opened = []

    class Counted(deltalake.DeltaTable):  # type: ignore[misc,name-defined]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            opened.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(deltalake, "DeltaTable", Counted)
    report = edfi.sync(districts, STUDENTS, **given)
    assert report["mode"].to_list() == ["unchanged"] * 24
    assert len(opened) == 1
