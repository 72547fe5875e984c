"""What is another the next night beside the records: keys, years, documents, key columns."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

from .test_sync import FORMATS, STUDENTS, Format
from .test_widening import THINGS, Ods

KEY = "District BK"
LOGIN: dict[str, Any] = {
    "auth_key_col": "oAuthKey",
    "auth_secret_col": "oAuthSecret",
    "oauth_endpoint": "oauth/token",
}
DATE = {"type": "string", "format": "date"}
TEXT = {"type": "string"}


class Documented(Ods):
    """Things of which a document says the columns, and those of the key."""

    def __init__(self, scripted: ScriptedOds, *key: str, data: str = "/data/v3") -> None:
        self.key: tuple[str, ...] = key
        self.data = data
        self.has_document = scripted.serves_metadata = True
        super().__init__(scripted)
        self.items.clear()

    def answer(self, request: Request) -> Answer | None:
        if "metadata" not in request.path or not self.has_document:
            return super().answer(request)
        if not request.path.endswith("swagger.json"):
            address = f"{self.url}/metadata/resources/swagger.json"
            return Answer(200, [{"name": "Resources", "endpointUri": address, "prefix": ""}])
        columns = {"id": TEXT, "a": TEXT, "b": TEXT, "d": DATE, "v": {"type": "integer"}}
        marks = {name: {"x-Ed-Fi-isIdentity": True} for name in self.key}
        properties = {name: kind | marks.get(name, {}) for name, kind in columns.items()}
        record = {"type": "object", "properties": properties, "required": list(self.key)}
        parameters = [
            {"name": name, "in": "query", "schema": TEXT, "x-Ed-Fi-isIdentity": True}
            for name in self.key
        ]
        schema = {"type": "array", "items": {"$ref": "#/components/schemas/thing"}}
        answer = {"200": {"content": {"application/json": {"schema": schema}}}}
        paths = {f"/{THINGS}": {"get": {"parameters": parameters, "responses": answer}}}
        components = {"schemas": {"thing": record}}
        return Answer(200, {"openapi": "3.0.1", "paths": paths, "components": components})

    def client(self) -> edfi.EdFiClient:
        return edfi.EdFiClient(
            base_url=self.url, api_version=self.data.removeprefix("/data/"), bearer_token="token"
        )


NIGHT = """
import sys
import polars_edfi as edfi
url, endpoint, into = sys.argv[1:]
client = edfi.EdFiClient(base_url=url, api_version="v3", bearer_token="token")
print(edfi.sync(client, endpoint, into=into).write_json())
"""


def another_night(ods: Documented, into: Path) -> pl.DataFrame:
    """Run in a process of its own, since documents are kept for an hour in one."""
    arguments = [sys.executable, "-c", NIGHT, ods.url, THINGS, str(into)]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    return pl.read_json(io.StringIO(ran.stdout), infer_schema_length=None)


def copied(into: Path) -> pl.DataFrame:
    return pl.read_parquet(into / THINGS / "data.parquet")


@pytest.mark.parametrize(
    ("key_col", "text"),
    [("id", "records are told apart"), ("status", "the report has"), ("endpoint", "the report")],
)
def test_a_key_column_of_a_name_that_is_taken_is_refused(
    ods: edfi.Sandbox, tmp_path: Path, key_col: str, text: str
) -> None:
    districts = ods.districts().rename({KEY: key_col})
    with pytest.raises(edfi.EdFiError, match=f"key_col must not be '{key_col}': {text}"):
        edfi.sync(districts, STUDENTS, into=tmp_path, key_col=key_col, **LOGIN)
    assert ods._native.request_count() == 0


def test_a_key_column_that_hides_a_part_of_a_natural_key_is_an_error_row(
    ods: edfi.Sandbox, tmp_path: Path
) -> None:
    districts = ods.districts().rename({KEY: "schoolId"})
    both = ["ed-fi/schools", STUDENTS]
    report = edfi.sync(districts, both, into=tmp_path, key_col="schoolId", **LOGIN)
    assert report["status"].to_list() == ["error", None] * 2
    assert report["message"][0].startswith("key_col 'schoolId' is a part of the key")


def test_years_of_one_ods_are_no_copies_of_each_other(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path
) -> None:
    scripted = make_ods()
    Documented(scripted, "a").put("1", a="x", v=1)
    ods = Documented(scripted, "a")
    ods.put("1", a="x", v=1)
    for year, status in ((2025, None), (2025, None), (2026, "error")):
        ods.data = f"/data/v3/{year}"
        report = edfi.sync(ods.client(), THINGS, into=tmp_path)
        assert report["status"].to_list() == [status], report["message"][0]
    assert "is a copy of the ODS" in report["message"][0]
    ods.data = "/data/V3/2025/"
    assert edfi.sync(ods.client(), THINGS, into=tmp_path)["status"].to_list() == [None]


@pytest.mark.parametrize("verify", ["count", None])
def test_a_part_of_a_key_tells_no_rows_apart(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path, verify: Any
) -> None:
    ods = Documented(make_ods(), "a", "b")
    for number in range(6):
        ods.put(str(number), a="same", b=f"b{number}", v=number)
    schema = {"id": pl.String, "a": pl.String, "v": pl.Int64}
    for v in range(3):
        report = edfi.sync(ods.client(), THINGS, into=tmp_path, verify=verify, schema=schema)
        assert report["repaired"].to_list() == [0]
        assert copied(tmp_path).height == 6
        ods.put("1", a="same", b="b1", v=100 + v)


def test_a_key_that_has_grown_is_found_where_a_copy_is_read_in_full(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path
) -> None:
    ods = Documented(make_ods(), "a")
    for number in range(6):
        ods.put(str(number), a=f"a{number}", b="", v=number)
    another_night(ods, tmp_path)
    ods.key = ("a", "b")
    repaired = []
    for night in range(3):
        ods.put(f"new {night}", a="a1", b=f"b{night}", v=night)
        repaired.append(another_night(ods, tmp_path)["repaired"].item())
        assert sorted(copied(tmp_path)["id"]) == sorted(ods.items)
    assert repaired[1:] == [0, 0]


@pytest.mark.parametrize("fmt", FORMATS)
def test_keys_under_another_name_or_of_another_dtype_make_a_copy_anew(
    ods: edfi.Sandbox, tmp_path: Path, fmt: Format
) -> None:
    districts = ods.districts()

    def run(df: pl.DataFrame, key_col: str) -> pl.DataFrame:
        return edfi.sync(df, STUDENTS, into=tmp_path, format=fmt, key_col=key_col, **LOGIN)

    run(districts, KEY)
    assert run(districts, KEY)["mode"].to_list() == ["unchanged"] * 2
    for df, key_col in (
        (districts.rename({KEY: "district"}), "district"),
        (districts.with_columns(pl.col(KEY).cast(pl.Int64)), KEY),
    ):
        report = run(df, key_col)
        if fmt == "delta":  # a table has one key for all
            assert report["status"].to_list() == ["error"] * 2
            continue
        assert report["mode"].to_list() == ["full"] * 2
        rows = pl.scan_parquet(tmp_path / STUDENTS / "*.parquet").collect()
        assert rows.columns[0] == key_col
        assert rows[key_col].unique().sort().to_list() == sorted(df[key_col])


def test_a_night_without_documents_makes_no_texts_of_dates(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path
) -> None:
    ods = Documented(make_ods(), "a")
    for number in range(3):
        ods.put(str(number), a=f"a{number}", d="2025-01-02")
    another_night(ods, tmp_path)
    ods.has_document = False
    ods.put("1", a="a1", d="2025-02-03")
    report = another_night(ods, tmp_path)
    assert "serves no OpenAPI document now" in report["message"][0]
    ods.has_document = True
    assert another_night(ods, tmp_path)["written"].to_list() == [1]
    assert copied(tmp_path).schema["d"] == pl.Date


def test_an_ods_that_was_restored_is_read_anew_in_all_its_resources(
    make_ods: Callable[..., ScriptedOds], tmp_path: Path
) -> None:
    scripted = make_ods()
    ods = Ods(scripted)
    client = edfi.EdFiClient(base_url=ods.url, api_version="v3", bearer_token="token")
    others = {"ed-fi/others": [{"id": "old", "_etag": "1"}]}

    def answer(request: Request) -> Answer | None:
        if not request.path.endswith("ed-fi/others"):
            return ods.answer(request)
        rows = (
            others["ed-fi/others"] if int(request.query.get("minChangeVersion", 0)) < 1003 else []
        )
        return Answer(200, rows, {"Total-Count": str(len(rows))})

    scripted.script = answer
    edfi.sync(client, "ed-fi/others", into=tmp_path, overlap=0)
    ods.version += 50
    edfi.sync(client, THINGS, into=tmp_path, overlap=0)
    # A backup: older than one copy, newer than the other.
    ods.version -= 20
    others["ed-fi/others"] = [{"id": "new", "_etag": "1"}]
    report = edfi.sync(client, [THINGS, "ed-fi/others"], into=tmp_path, overlap=0)
    assert report["mode"].to_list() == ["full", "full"]


def test_a_cleaned_log_still_tells_how_records_became_columns(
    ods: edfi.Sandbox, tmp_path: Path
) -> None:
    deltalake = pytest.importorskip("deltalake")
    districts, table = ods.districts(), tmp_path / STUDENTS

    def run(**options: Any) -> list[str]:
        report = edfi.sync(
            districts, STUDENTS, into=tmp_path, key_col=KEY, format="delta", **LOGIN, **options
        )
        return report["mode"].to_list()

    run()
    for _ in range(2):
        ods.mutate("255901", STUDENTS, "insert", 1)
        run()
    old = time.time() - 90 * 86_400
    for file in (table / "_delta_log").glob("*.json"):
        os.utime(file, (old, old))
    opened = deltalake.DeltaTable(str(table))
    opened.create_checkpoint()
    opened.cleanup_metadata()
    assert len(deltalake.DeltaTable(str(table)).history()) == 1
    assert run()[0] == "unchanged"
    assert run(separator="_") == ["full", "full"]
    columns = pl.read_delta(str(table)).columns
    assert "personReference_personId" in columns
