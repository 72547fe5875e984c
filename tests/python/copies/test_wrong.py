"""What can be wrong with a folder, a copy, a district or an argument: an error that says so."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi
from polars_edfi._sync import parquet
from polars_edfi._sync.lock import only_run

from .test_sync import BOTH, RESULTS, STUDENTS, assert_equal, client_of

NUMBERS = ["mode", "since", "version", "rows", "written", "deleted", "repaired", "requests"]


def refused(report: pl.DataFrame, text: str, rows: int = 1) -> None:
    """The row of a failure says why, and nothing else."""
    wrong = report.filter(pl.col("status") == "error")
    assert wrong.height == rows, report["message"].to_list()
    for message in wrong["message"]:
        assert text in message
    assert wrong.select(NUMBERS).null_count().row(0) == (rows,) * len(NUMBERS)


def rewritten(file: Path, **changed: Any) -> None:
    """Say something else in the state of a copy."""
    state = json.loads(pl.read_parquet_metadata(file)["polars_edfi"]) | changed
    pl.read_parquet(file).write_parquet(file, metadata={"polars_edfi": json.dumps(state)})


@pytest.mark.parametrize("damage", ["foreign", "cut", "inside", "text", "future", "state", "other"])
def test_a_file_that_is_no_copy_is_left_alone(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path, damage: str
) -> None:
    edfi.sync(client, BOTH, into=tmp_path)
    file = tmp_path / STUDENTS / "data.parquet"
    match damage:
        case "foreign":
            pl.DataFrame({"mine": [1]}).write_parquet(file)
        case "cut":
            file.write_bytes(file.read_bytes()[:-100])
        case "inside":
            whole = file.read_bytes()
            file.write_bytes(whole[:40] + b"\xff" * 300 + whole[340:])
        case "text":
            file.write_text("students, by hand")
        case "future":
            rewritten(file, format=99, something={"new": 1})
        case "state":
            rewritten(file, format="?")
        case "other":
            client = client_of(ods, 1)
    found = file.read_bytes()
    report = edfi.sync(client, BOTH, into=tmp_path)
    text = {
        "foreign": "was not written by polars-edfi",
        "future": "later version",
        "state": "later version",
        "other": "is a copy of the ODS",
    }.get(damage, "damaged")
    refused(report, text, 2 if damage == "other" else 1)
    assert file.read_bytes() == found


def test_a_copy_that_lost_a_column(client: edfi.EdFiClient, tmp_path: Path) -> None:
    edfi.sync(client, BOTH, into=tmp_path)
    file = tmp_path / STUDENTS / "data.parquet"
    metadata = {"polars_edfi": pl.read_parquet_metadata(file)["polars_edfi"]}
    pl.read_parquet(file).drop("id").write_parquet(file, metadata=metadata)
    report = edfi.sync(client, BOTH, into=tmp_path)
    assert report["mode"].to_list() == ["full", "unchanged"]
    assert_equal(client, tmp_path, STUDENTS)
    pl.read_parquet(file).drop("firstName").write_parquet(file, metadata=metadata)
    report = edfi.sync(client, BOTH, into=tmp_path)
    assert report["mode"].to_list() == ["full", "unchanged"]
    assert report["written"][0] > 0
    assert_equal(client, tmp_path, STUDENTS)


def test_a_folder_with_something_else(client: edfi.EdFiClient, tmp_path: Path) -> None:
    (tmp_path / STUDENTS / "_delta_log").mkdir(parents=True)
    refused(edfi.sync(client, BOTH, into=tmp_path), "Delta table")
    (tmp_path / "notes" / "ed-fi").mkdir(parents=True)
    (tmp_path / "notes" / STUDENTS).write_text("mine")
    refused(edfi.sync(client, BOTH, into=tmp_path / "notes"), "no folder")
    (tmp_path / "d" / STUDENTS).mkdir(parents=True)
    (tmp_path / "d" / STUDENTS / "data.parquet").write_text("mine")
    refused(edfi.sync(client, BOTH, into=tmp_path / "d", format="delta"), "no Delta table")
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(edfi.EdFiError, match="into"):
        edfi.sync(client, BOTH, into=file)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("damage", ["log", "file"])
def test_a_damaged_table(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path, damage: str
) -> None:
    edfi.sync(client, BOTH, into=tmp_path, format="delta")
    table = tmp_path / STUDENTS
    if damage == "log":
        (table / "_delta_log" / f"{0:020}.json").write_text("{")
    else:
        for file in table.glob("*.parquet"):
            file.write_bytes(b"students, by hand")
    for endpoint in BOTH:
        ods.mutate("255901", endpoint, "edit", 1)
    report = edfi.sync(client, BOTH, into=tmp_path, format="delta")
    refused(report, "")
    assert report["status"].to_list() == ["error", None]


def test_a_wrong_secret_and_a_dead_host_among_districts(ods: edfi.Sandbox, tmp_path: Path) -> None:
    good = ods.districts()
    wrong = good.head(1).with_columns(pl.lit("c").alias("District BK"), oAuthSecret=pl.lit("no"))
    dead = good.head(1).with_columns(
        pl.lit("d").alias("District BK"), targetUrl=pl.lit("http://127.0.0.1:9")
    )
    blank = good.head(1).with_columns(
        pl.lit("e").alias("District BK"), targetUrl=pl.lit(None, pl.String)
    )
    districts = pl.concat([dead, good.head(1), wrong, blank, good.tail(1)])
    report = edfi.sync(
        districts,
        BOTH,
        into=tmp_path,
        key_col="District BK",
        auth_key_col="oAuthKey",
        auth_secret_col="oAuthSecret",
        oauth_endpoint="oauth/token",
        client=edfi.EdFiClient(max_retries=1),
    )
    assert report["District BK"].to_list() == [k for k in districts["District BK"] for _ in BOTH]
    assert report["status"].to_list() == ["error", "error", None, None, *["error"] * 4, None, None]
    assert "401" in report["message"][4]
    assert report["message"][6] == "missing 'targetUrl'"
    assert sorted(file.name for file in (tmp_path / STUDENTS).iterdir()) == [
        "255901.parquet",
        "255902.parquet",
    ]


def test_a_failed_first_read_leaves_no_file(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path
) -> None:
    report = edfi.sync(client, ["ed-fi/nothing", STUDENTS], into=tmp_path)
    assert report["status"].to_list() == ["error", None]
    assert not list((tmp_path / "ed-fi").glob("nothing/*"))
    ods.set_faults("255901", statuses=[400] * 50)
    refused(edfi.sync(client, BOTH, into=tmp_path / "new"), "400", 2)
    assert not list((tmp_path / "new").rglob("*.parquet"))


def test_a_failed_resource_stays_as_it_was(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path
) -> None:
    edfi.sync(client, BOTH, into=tmp_path)
    before = (tmp_path / RESULTS / "data.parquet").read_bytes()
    for endpoint in BOTH:
        ods.mutate("255901", endpoint, "insert", 2)
    ods.load_jsonl("255901", RESULTS, nothing(tmp_path))
    ods.set_faults("255901", statuses=[400])
    report = edfi.sync(client, [RESULTS], into=tmp_path)
    refused(report, "400")
    assert (tmp_path / RESULTS / "data.parquet").read_bytes() == before


def nothing(folder: Path) -> Path:
    path = folder / "nothing.jsonl"
    path.write_text("")
    return path


@pytest.mark.parametrize("full", [False, True])
def test_a_full_disk(
    client: edfi.EdFiClient,
    ods: edfi.Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    full: bool,
) -> None:
    edfi.sync(client, BOTH, into=tmp_path)
    ods.mutate("255901", STUDENTS, "insert", 2)

    def spool(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "spool", spool)
        report = edfi.sync(client, STUDENTS, into=tmp_path, full=full)
    refused(report, "No space left")
    assert [file.name for file in (tmp_path / STUDENTS).iterdir()] == ["data.parquet"]
    edfi.sync(client, STUDENTS, into=tmp_path)
    assert_equal(client, tmp_path, STUDENTS)


def test_a_disk_that_is_full_before_polars_says_so(
    client: edfi.EdFiClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polars' own error speaks of a file out of specification."""
    edfi.sync(client, ["ed-fi/schools"], into=tmp_path)

    def sink(*_: object, **__: object) -> None:
        msg = "parquet: File out of specification: Invalid thrift: transport error"
        raise pl.exceptions.ComputeError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(pl.LazyFrame, "sink_parquet", sink)
        patch.setattr(parquet.shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
        patch.setattr(parquet, "_columns", lambda _: "")
        report = edfi.sync(client, STUDENTS, into=tmp_path)
    refused(report, "No space left")


def test_two_runs_at_once(client: edfi.EdFiClient, tmp_path: Path) -> None:
    with only_run(str(tmp_path)), pytest.raises(edfi.EdFiError, match="another run"):
        edfi.sync(client, STUDENTS, into=tmp_path)
    code = (
        "import os, sys\nfrom polars_edfi._sync.lock import only_run\n"
        f"with only_run({str(tmp_path)!r}): os._exit(3)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
    # Whoever died with it has given it back.
    assert edfi.sync(client, STUDENTS, into=tmp_path)["status"].to_list() == [None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_that_lives_on_keeps_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom polars_edfi._sync.lock import only_run\n"
        f"with only_run({str(tmp_path)!r}):\n"
        "    reader, writer = os.pipe()\n"
        "    if not os.fork():\n"
        "        os.close(writer)\n"
        "        os.read(reader, 1)\n"
        "        os._exit(0)\n"
        f"with only_run({str(tmp_path)!r}): print('again')\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "again\n"


def test_an_ods_that_was_restored_is_read_anew(client: edfi.EdFiClient, tmp_path: Path) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path)
    rewritten(tmp_path / STUDENTS / "data.parquet", version=10_000_000)
    report = edfi.sync(client, STUDENTS, into=tmp_path)
    assert report["mode"].to_list() == ["full"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"format": "csv"}, "format"),
        ({"verify": "yes"}, "verify"),
        ({"overlap": -1}, "overlap"),
        ({"overlap": True}, "overlap"),
        ({"endpoints": ["students"]}, "endpoints"),
        ({"endpoints": ["../etc/passwd"]}, "endpoints"),
        ({"endpoints": [7]}, "endpoints"),
        ({"endpoints": ["ed-fi/.."]}, "endpoints"),
        ({"limit": 0}, "limit"),
        ({"paging": "sideways"}, "paging"),
        ({"schema": {"studentUniqueId": pl.String}}, '"id"'),
        ({"key_col": "District BK"}, "key_col"),
        ({"source": 7}, "source"),
        ({"source": pl.DataFrame({"a": [1]})}, "key_col"),
        ({"params": {"a": 1}}, "params"),
    ],
)
def test_wrong_arguments(
    client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path, given: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {"source": client, "endpoints": STUDENTS} | given
    source, endpoints = arguments.pop("source"), arguments.pop("endpoints")
    before = ods._native.request_count()
    with pytest.raises(edfi.EdFiError, match=text):
        edfi.sync(source, endpoints, into=tmp_path, **arguments)
    assert ods._native.request_count() == before
    assert not list(tmp_path.iterdir())


def test_no_secret_in_copies(client: edfi.EdFiClient, ods: edfi.Sandbox, tmp_path: Path) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path)
    secret = ods.districts()["oAuthSecret"][0]
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes()


def test_an_unknown_resource_names_the_nearest(ods: edfi.Sandbox, tmp_path: Path) -> None:
    report = edfi.sync(
        ods.districts(),
        ["ed-fi/student", STUDENTS],
        into=tmp_path,
        key_col="District BK",
        auth_key_col="oAuthKey",
        auth_secret_col="oAuthSecret",
        oauth_endpoint="oauth/token",
    )
    refused(report, f"did you mean {STUDENTS}?", rows=2)


def test_a_district_without_a_token_is_an_error_row(ods: edfi.Sandbox, tmp_path: Path) -> None:
    wrong = pl.when(pl.col("District BK") == "255902").then(pl.lit("no")).otherwise("oAuthSecret")
    districts = ods.districts().with_columns(oAuthSecret=wrong)
    tokens = edfi.EdFiClient().batch_fetch_tokens(
        districts, oauth_endpoint="oauth/token", account_col="District BK"
    )
    districts = districts.join(tokens.drop("oAuthKey"), on="District BK", how="left")
    report = edfi.sync(districts, [STUDENTS], into=tmp_path, key_col="District BK")
    assert report["District BK"].to_list() == ["255901", "255902"]
    refused(report, "not read: 'row status' is 'error': auth error: HTTP 401")
    # With another status, and nothing that says why.
    districts = districts.with_columns(status="row status").drop("row status", "message")
    report = edfi.sync(
        districts,
        [STUDENTS],
        into=tmp_path,
        key_col="District BK",
        status_col="status",
        skip_statuses="error",
    )
    refused(report, "not read: 'status' is 'error'")


class Stream:
    """A frame of another library, of which only its Arrow stream is known."""

    def __init__(self, df: pl.DataFrame) -> None:
        self._df = df

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._df.__arrow_c_stream__(requested_schema)


def test_districts_come_as_any_arrow_stream(ods: edfi.Sandbox, tmp_path: Path) -> None:
    report = edfi.sync(
        Stream(ods.districts()),  # type: ignore[call-overload]
        [STUDENTS],
        into=tmp_path,
        key_col="District BK",
        auth_key_col="oAuthKey",
        auth_secret_col="oAuthSecret",
        oauth_endpoint="oauth/token",
    )
    assert report["status"].is_null().all()
    with pytest.raises(edfi.EdFiError, match=r"got polars.LazyFrame; call .collect\(\) first"):
        edfi.sync(ods.districts().lazy(), into=tmp_path, key_col="District BK")  # type: ignore[call-overload]
