"""Copies of whole ODSs, from the first reading on, against the sandbox."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

import polars_edfi as edfi

STUDENTS, RESULTS = "ed-fi/students", "ed-fi/studentAssessments"
BOTH = [STUDENTS, RESULTS]
Format = Literal["parquet", "delta"]
FORMATS: list[Format] = ["parquet", "delta"]


@pytest.fixture
def ods() -> Iterator[edfi.Sandbox]:
    with edfi.Sandbox(districts=["255901", "255'902"], records=80) as ods:
        yield ods


@pytest.fixture
def client(ods: edfi.Sandbox) -> edfi.EdFiClient:
    return client_of(ods)


def client_of(ods: edfi.Sandbox, row: int = 0, **options: Any) -> edfi.EdFiClient:
    _, url, key, secret = ods.districts().row(row)
    return edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret, **options)


def there(client: edfi.EdFiClient, endpoint: str) -> pl.DataFrame:
    """Read what the ODS has now."""
    result = client.get_all(key="k", endpoint=endpoint)
    assert result["data"] is not None, result["message"]
    return result["data"].sort("id")


def copied(into: Path, endpoint: str, fmt: Format = "parquet", name: str = "data") -> pl.DataFrame:
    if fmt == "delta":
        return pl.read_delta(str(into / endpoint)).sort("id")
    return pl.read_parquet(into / endpoint / f"{name}.parquet").sort("id")


def assert_equal(
    client: edfi.EdFiClient, into: Path, endpoint: str, fmt: Format = "parquet"
) -> None:
    """Every record of the ODS, and no other, with the same values."""
    now = there(client, endpoint)
    copy = copied(into, endpoint, fmt)
    assert copy["id"].to_list() == now["id"].to_list()
    # Without a document columns are those of some records, and without any a table has texts.
    same = [name for name, dtype in now.schema.items() if copy.schema.get(name) == dtype]
    assert {"id", "_etag"} <= set(same)
    assert copy.select(same).equals(now.select(same))


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_first_run_reads_everything(
    client: edfi.EdFiClient, tmp_path: Path, fmt: Format
) -> None:
    report = edfi.sync(client, into=tmp_path, format=fmt)
    listed = client.resources()
    assert report["endpoint"].to_list() == listed["endpoint"].to_list()
    assert report["status"].null_count() == report.height
    assert report["mode"].unique().to_list() == ["full"]
    assert report["since"].null_count() == report.height
    for endpoint in BOTH:
        assert_equal(client, tmp_path, endpoint, fmt)
    assert report.schema == {
        "endpoint": pl.String,
        "status": pl.String,
        "message": pl.String,
        "mode": pl.String,
        **dict.fromkeys(
            ["since", "version", "rows", "written", "deleted", "repaired", "requests"], pl.Int64
        ),
        "seconds": pl.Float64,
    }


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("kind", ["insert", "delete", "edit", "recreate", "rekey"])
def test_what_changed_comes_over(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, kind: Any, fmt: Format
) -> None:
    first = edfi.sync(client, BOTH, into=tmp_path, format=fmt)
    for endpoint in BOTH:
        ods.mutate("255901", endpoint, kind, 3)
    second = edfi.sync(client, BOTH, into=tmp_path, format=fmt)
    assert second["mode"].to_list() == ["changes", "changes"]
    assert second["since"].to_list() == first["version"].to_list()
    assert second["repaired"].to_list() == [0, 0]
    numbers = {
        "insert": (3, 0),
        "delete": (0, 1),
        "edit": (1, 0),
        "recreate": (1, 1),
        "rekey": (1, 0),
    }[kind]
    assert second.row(0, named=True)["written"] == numbers[0]
    assert second.row(0, named=True)["deleted"] == numbers[1]
    for endpoint in BOTH:
        assert_equal(client, tmp_path, endpoint, fmt)
    third = edfi.sync(client, BOTH, into=tmp_path, format=fmt)
    assert third["mode"].to_list() == ["unchanged", "unchanged"]
    assert third["since"].to_list() == second["version"].to_list()


def test_an_unchanged_resource_costs_two_requests(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    endpoints = client.resources()["endpoint"].to_list()
    edfi.sync(client, endpoints, into=tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    before = ods._native.request_count()
    report = edfi.sync(client, endpoints, into=tmp_path)
    sent = ods._native.request_count() - before
    assert report["mode"].unique().to_list() == ["unchanged"]
    assert report["requests"].to_list() == [2] * len(endpoints)
    # Beside them the change versions, and the changed keys of four kinds of people.
    assert sent <= 2 * len(endpoints) + 6
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == files


@pytest.mark.parametrize("fmt", FORMATS)
def test_people_get_their_new_keys_everywhere(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path, fmt: Format
) -> None:
    """Also where people themselves are not copied."""
    edfi.sync(client, RESULTS, into=tmp_path, format=fmt)
    ods.mutate("255901", STUDENTS, "rekey", 0)
    ods.mutate("255901", STUDENTS, "rekey", 0)
    report = edfi.sync(client, RESULTS, into=tmp_path, format=fmt)
    assert report["mode"].to_list() == ["changes"]
    assert report["written"][0] > 0
    assert report["repaired"].to_list() == [0]
    assert_equal(client, tmp_path, RESULTS, fmt)
    again = edfi.sync(client, RESULTS, into=tmp_path, format=fmt)
    assert again["requests"].to_list() == [2]


def test_a_late_commit_is_in_the_next_window(
    ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path)
    # It takes its version now; the next run sees the version, and not the record.
    ods.mutate("255901", STUDENTS, "edit", 1, late=4)
    second = edfi.sync(client, STUDENTS, into=tmp_path)
    assert second["mode"].to_list() == ["unchanged"]
    for _ in range(4):
        client.count(STUDENTS)
    third = edfi.sync(client, STUDENTS, into=tmp_path)
    assert third.select("mode", "written").row(0) == ("changes", 1)
    assert_equal(client, tmp_path, STUDENTS)


@pytest.mark.parametrize("fmt", FORMATS)
def test_many_districts(ods: edfi.Sandbox, tmp_path: Path, fmt: Format) -> None:
    given: Any = {
        "into": tmp_path,
        "format": fmt,
        "key_col": "District BK",
        "auth_key_col": "oAuthKey",
        "auth_secret_col": "oAuthSecret",
        "oauth_endpoint": "oauth/token",
    }
    districts = ods.districts()
    report = edfi.sync(districts, BOTH, **given)
    keys = districts["District BK"].to_list()
    assert report.select("District BK", "endpoint").rows() == [(k, e) for k in keys for e in BOTH]
    assert report["rows"].to_list() == [20, 80, 20, 80]
    ods.mutate(keys[1], STUDENTS, "insert", 2)
    report = edfi.sync(districts, BOTH, **given)
    assert report["mode"].to_list() == ["unchanged", "unchanged", "changes", "unchanged"]
    if fmt == "delta":
        rows = pl.read_delta(str(tmp_path / STUDENTS))
    else:
        rows = pl.read_parquet(tmp_path / STUDENTS)
        assert rows.columns[:2] == ["District BK", "id"]
    assert dict(rows.group_by("District BK").len().iter_rows()) == {keys[0]: 20, keys[1]: 22}
    # A district alone is no reason to touch the others.
    report = edfi.sync(districts.head(1), BOTH, full=True, **given)
    assert report["mode"].to_list() == ["full", "full"]
    assert report["written"].to_list() == [0, 0]


@pytest.mark.parametrize("verify", ["count", "full", None])
def test_what_a_copy_lacks_is_repaired(
    client: edfi.EdFiClient, tmp_path: Path, verify: Any
) -> None:
    edfi.sync(client, STUDENTS, into=tmp_path)
    file = tmp_path / STUDENTS / "data.parquet"
    metadata = pl.read_parquet_metadata(file)
    state = json.loads(metadata["polars_edfi"])
    state["rows"] -= 2
    # A copy that lost two rows by itself, and knows nothing of it.
    rows = pl.read_parquet(file)[2:]
    rows.write_parquet(file, metadata={"polars_edfi": json.dumps(state)})
    report = edfi.sync(client, STUDENTS, into=tmp_path, verify=verify, overlap=0)
    assert report["repaired"].to_list() == [0 if verify is None else 2]
    if verify is not None:
        assert_equal(client, tmp_path, STUDENTS)
        assert edfi.sync(client, STUDENTS, into=tmp_path)["mode"].to_list() == ["unchanged"]


@pytest.mark.parametrize("release", ["5.2", "5.3", "6.1", "7.1", "7.3"])
def test_releases(tmp_path: Path, release: str) -> None:
    with edfi.Sandbox(records=80, release=release) as ods:
        client = client_of(ods)
        edfi.sync(client, BOTH, into=tmp_path)
        for endpoint in BOTH:
            for kind in ("insert", "delete", "edit", "recreate"):
                ods.mutate("255901", endpoint, kind, 2)  # type: ignore[arg-type]
        report = edfi.sync(client, BOTH, into=tmp_path)
        assert report["mode"].to_list() == ["changes", "changes"]
        for endpoint in BOTH:
            assert_equal(client, tmp_path, endpoint)


def test_options_of_reads(ods: edfi.Sandbox, client: edfi.EdFiClient, tmp_path: Path) -> None:
    for _ in range(2):
        report = edfi.sync(
            client, STUDENTS, into=tmp_path, schema="infer", links=False, separator="_", limit=7
        )
        assert report["status"].to_list() == [None]
        ods.mutate("255901", STUDENTS, "edit", 1)
    copy = copied(tmp_path, STUDENTS)
    assert not any("link" in name or "." in name for name in copy.columns)
    # Another shape of the same records is read anew.
    report = edfi.sync(client, STUDENTS, into=tmp_path)
    assert report["mode"].to_list() == ["full"]
    assert_equal(client, tmp_path, STUDENTS)


def test_a_copy_is_never_empty_for_want_of_columns(tmp_path: Path) -> None:
    with edfi.Sandbox(records=0) as ods:
        client = client_of(ods)
        for _ in range(2):
            report = edfi.sync(client, STUDENTS, into=tmp_path, schema="infer")
            assert report.select("status", "rows").row(0) == (None, 0)
        assert "id" in copied(tmp_path, STUDENTS).columns
