"""Keys of people, authorization, counts that lie: an ODS in the test's own hands."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

ENROLLMENTS = "ed-fi/studentSchoolAssociations"


class Ods:
    """Students and their enrollments, with change versions; no metadata."""

    def __init__(self, scripted: ScriptedOds) -> None:
        self.scripted = scripted
        self.version = 1000
        self.students = {"s": "A"}
        self.key_changes: list[dict[str, Any]] = []
        self.enrollments = {f"{n:032x}": 1 for n in range(30)}
        """The versions of those that there are."""
        self.holders = dict.fromkeys(list(self.enrollments)[:2], "s")
        self.hidden: set[str] = set()
        self.has_changes = True
        self.surplus = 0
        self.during: Callable[[Request], object] = lambda _: None
        scripted.script = self.answer

    def rename(self, student: str, key: str) -> None:
        """Give a student another key; enrollments show it without a version of their own."""
        self.version += 1
        change = {
            "id": student,
            "changeVersion": self.version,
            "oldKeyValues": {"studentUniqueId": self.students[student]},
            "newKeyValues": {"studentUniqueId": key},
        }
        self.students[student] = key
        self.key_changes.append(change)

    def records(self) -> list[dict[str, Any]]:
        return [
            {
                "id": id_,
                "_etag": str(version),
                "studentReference": {"studentUniqueId": self.student(id_)},
                "v": version,
            }
            for id_, version in self.enrollments.items()
            if id_ not in self.hidden
        ]

    def student(self, id_: str) -> str:
        return self.students[self.holders[id_]] if id_ in self.holders else f"other {id_}"

    def answer(self, request: Request) -> Answer | None:
        self.during(request)
        path, query = request.path, request.query
        if path.endswith("availableChangeVersions"):
            versions = {"oldestChangeVersion": 0, "newestChangeVersion": self.version}
            return Answer(200, versions) if self.has_changes else Answer(404, {})
        low = int(query.get("minChangeVersion", 0))
        high = int(query.get("maxChangeVersion", 1 << 40))
        if path.endswith("ed-fi/students/keyChanges"):
            return self.page(self.told(low, high), query)
        if path.endswith(("/keyChanges", "/deletes")):
            return (
                Answer(404, {})
                if "students" not in path and "Assoc" not in path
                else self.page([], query)
            )
        if path.endswith(ENROLLMENTS):
            rows = [row for row in self.records() if low <= row["v"] <= high]
            return self.page(rows, query, 0 if low else self.surplus)
        if ENROLLMENTS in path:
            found = [row for row in self.records() if path.endswith(row["id"])]
            return Answer(200, found[0]) if found else Answer(404, {})
        return None

    def told(self, low: int, high: int) -> list[dict[str, Any]]:
        """Of each student the first and the last key."""
        told: dict[str, dict[str, Any]] = {}
        for change in self.key_changes:
            if low <= change["changeVersion"] <= high:
                first = told.get(change["id"], change)["oldKeyValues"]
                told[change["id"]] = change | {"oldKeyValues": first}
        return list(told.values())

    @staticmethod
    def page(rows: list[dict[str, Any]], query: dict[str, str], surplus: int = 0) -> Answer:
        offset = int(query.get("offset", 0))
        part = rows[offset : offset + int(query["limit"])]
        return Answer(200, part, {"Total-Count": str(len(rows) + surplus)})


@pytest.fixture
def ods(make_ods: Callable[..., ScriptedOds]) -> Ods:
    return Ods(make_ods())


@pytest.fixture
def client(ods: Ods) -> edfi.EdFiClient:
    return edfi.EdFiClient(
        base_url=ods.scripted.url, api_version="v3", bearer_token="token", max_retries=0
    )


def sync(client: edfi.EdFiClient, into: Path, **options: Any) -> dict[str, Any]:
    report = edfi.sync(client, ENROLLMENTS, into=into, **options)
    assert report["status"].to_list() == [None], report["message"].to_list()
    return report.row(0, named=True)


def copied(into: Path) -> list[tuple[str, str]]:
    rows = pl.read_parquet(into / ENROLLMENTS / "data.parquet").sort("id")
    return rows.select("id", "studentReference.studentUniqueId").rows()


def expected(ods: Ods) -> list[tuple[str, str]]:
    return [(row["id"], row["studentReference"]["studentUniqueId"]) for row in ods.records()]


def test_a_row_that_holds_a_key_in_between_is_read_again(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    """A range tells A and C only; the row was read when the student was B."""

    def rename_while_read(request: Request) -> None:
        if request.path.endswith(ENROLLMENTS) and ods.students["s"] == "A":
            ods.rename("s", "B")

    ods.during = rename_while_read
    sync(client, tmp_path)
    assert ("0" * 32, "B") in copied(tmp_path)
    ods.rename("s", "C")
    row = sync(client, tmp_path)
    assert (row["mode"], row["written"], row["repaired"]) == ("changes", 2, 0)
    assert copied(tmp_path) == expected(ods)
    assert sync(client, tmp_path)["requests"] == 2


def test_two_people_who_swap_their_keys(ods: Ods, client: edfi.EdFiClient, tmp_path: Path) -> None:
    ods.students["t"] = "B"
    ods.holders |= dict.fromkeys(list(ods.enrollments)[2:4], "t")
    sync(client, tmp_path)
    for student, key in (("s", "aside"), ("t", "A"), ("s", "B")):
        ods.rename(student, key)
    assert sync(client, tmp_path)["written"] == 4
    assert copied(tmp_path) == expected(ods)


def test_many_renamed_people_have_everything_read(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    for number, id_ in enumerate(ods.enrollments):
        ods.students[f"s{number}"] = f"old {number}"
        ods.holders[id_] = f"s{number}"
    for number in range(30, 90):
        ods.students[f"s{number}"] = f"old {number}"
    sync(client, tmp_path)
    for number in range(90):
        ods.rename(f"s{number}", f"new {number}")
    row = sync(client, tmp_path)
    assert (row["mode"], row["written"]) == ("full", 30)
    assert copied(tmp_path) == expected(ods)
    assert sync(client, tmp_path)["mode"] == "unchanged"


def test_key_changes_that_fail_are_an_error(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    sync(client, tmp_path)
    inner = ods.answer

    def script(request: Request) -> Answer | None:
        failed = request.path.endswith("students/keyChanges")
        return Answer(500, {"message": "deadlock"}) if failed else inner(request)

    ods.scripted.script = script
    report = edfi.sync(client, ENROLLMENTS, into=tmp_path)
    assert report["status"].to_list() == ["error"]
    assert "key changes of ed-fi/students" in report["message"][0]


def test_what_comes_into_sight_and_goes_out_of_it(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    """Records that a change of authorization shows or hides keep their version."""
    first, second, third = list(ods.enrollments)[:3]
    ods.hidden = {first}
    sync(client, tmp_path)
    ods.hidden = set()
    row = sync(client, tmp_path)
    assert (row["rows"], row["repaired"]) == (30, 1)
    ods.hidden = {second}
    assert sync(client, tmp_path)["repaired"] == 1
    assert copied(tmp_path) == expected(ods)
    # As many come as go: no count tells.
    ods.hidden = {third}
    assert sync(client, tmp_path)["mode"] == "unchanged"
    row = sync(client, tmp_path, verify="full")
    assert row["repaired"] == 2
    assert copied(tmp_path) == expected(ods)


@pytest.mark.parametrize("surplus", [3, -5])
def test_a_count_that_always_lies_costs_one_reading(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path, surplus: int
) -> None:
    sync(client, tmp_path)
    ods.surplus = surplus
    if surplus > 0:
        # More records counted than there are: no reading can be proven whole.
        report = edfi.sync(client, ENROLLMENTS, into=tmp_path)
        assert report["status"].to_list() == ["error"]
    else:
        assert sync(client, tmp_path)["repaired"] == 0
        assert sync(client, tmp_path)["requests"] == 2
    assert copied(tmp_path) == expected(ods)


def test_a_count_that_lies_about_a_snapshot_costs_one_reading(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    """Whatever is written to the ODS meanwhile, the snapshot stands still."""
    sync(client, tmp_path, snapshot=True)
    ods.surplus = -5
    inner = ods.answer

    def script(request: Request) -> Answer | None:
        if (
            request.path.endswith("availableChangeVersions")
            and "use-snapshot" not in request.headers
        ):
            return Answer(200, {"oldestChangeVersion": 0, "newestChangeVersion": next(versions)})
        return inner(request)

    versions = itertools.count(5000)
    ods.scripted.script = script
    assert sync(client, tmp_path, snapshot=True)["repaired"] == 0
    assert sync(client, tmp_path, snapshot=True)["requests"] == 2
    assert copied(tmp_path) == expected(ods)


@pytest.mark.parametrize("full", [False, True])
def test_an_ods_without_change_queries_is_read_whole(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path, full: bool
) -> None:
    ods.has_changes = False
    assert sync(client, tmp_path)["mode"] == "full"
    ods.enrollments.popitem()
    row = sync(client, tmp_path, full=full)
    assert (row["mode"], row["since"], row["version"]) == ("full", None, None)
    assert (row["rows"], row["written"], row["deleted"]) == (29, 0, 1)
    assert copied(tmp_path) == expected(ods)
    # From the day on that it has them, windows do.
    ods.has_changes = True
    assert sync(client, tmp_path)["version"] == ods.version + 1
    assert sync(client, tmp_path)["mode"] == "unchanged"


def test_a_client_that_may_not_read_changes_reads_everything(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    sync(client, tmp_path)
    inner = ods.answer

    def script(request: Request) -> Answer | None:
        refused = request.path.endswith(("/keyChanges", "/deletes"))
        return Answer(403, {"message": "no"}) if refused else inner(request)

    ods.scripted.script = script
    assert sync(client, tmp_path)["mode"] == "unchanged"
    ods.enrollments.popitem()
    row = sync(client, tmp_path)
    assert (row["mode"], row["rows"], row["deleted"]) == ("full", 29, 1)
    assert copied(tmp_path) == expected(ods)


def test_the_key_of_a_district_keeps_its_dtype(ods: Ods, tmp_path: Path) -> None:
    districts = pl.DataFrame(
        {"lea": pl.Series([255901], dtype=pl.Int32), "targetUrl": [ods.scripted.url]}
    ).with_columns(pl.lit("token").alias("EdFi Token"), v=pl.lit("v3"))
    given: Any = {"key_col": "lea", "api_version_col": "v"}
    for format in ("parquet", "delta"):  # noqa: A001
        for _ in range(2):
            report = edfi.sync(
                districts, ENROLLMENTS, into=tmp_path / format, format=format, **given
            )
            assert report.schema["lea"] == pl.Int32
            assert report["status"].to_list() == [None], report["message"].to_list()
            ods.version += 1
            ods.enrollments[f"{ods.version:032x}"] = ods.version
    copy = pl.read_parquet(tmp_path / "parquet" / ENROLLMENTS / "255901.parquet")
    assert copy.columns[:2] == ["lea", "id"]
    assert copy.schema["lea"] == pl.Int32
    assert pl.read_delta(str(tmp_path / "delta" / ENROLLMENTS)).schema["lea"] == pl.Int32


def test_a_key_that_cascades_with_a_version_and_without_an_etag_is_copied(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path
) -> None:
    """An etag follows the last modification, and no key of something else."""
    first, last = next(iter(ods.enrollments)), list(ods.enrollments)[-1]
    etags = dict.fromkeys(ods.enrollments, "1")
    sections = dict.fromkeys(ods.enrollments, "A")
    plain = ods.records

    def records() -> list[dict[str, Any]]:
        return [
            row
            | {
                "_etag": etags[row["id"]],
                "classes": [{"sectionReference": {"sectionName": sections[row["id"]]}}],
            }
            for row in plain()
        ]

    ods.records = records  # type: ignore[method-assign]
    for id_ in ods.enrollments:
        ods.enrollments[id_] = 900
    sync(client, tmp_path)
    assert sync(client, tmp_path)["requests"] == 2
    for id_ in (first, last, first):
        ods.version += 1
        ods.enrollments[id_], sections[id_] = ods.version, f"B {ods.version}"
        assert sync(client, tmp_path)["written"] == 1
        rows = pl.read_parquet(tmp_path / ENROLLMENTS / "data.parquet")
        names = [row[0]["sectionReference"]["sectionName"] for row in rows["classes"]]
        assert dict(zip(rows["id"], names, strict=True)) == sections
        report = sync(client, tmp_path)
        assert (report["mode"], report["requests"]) == ("unchanged", 2)


REFERENCE = pl.Struct({"studentUniqueId": pl.String})
GIVEN = [{}, {"studentReference": REFERENCE}, {"studentReference": pl.String}]


@pytest.mark.parametrize("columns", GIVEN)
def test_keys_of_people_are_replaced_where_no_column_is_theirs(
    ods: Ods, client: edfi.EdFiClient, tmp_path: Path, columns: dict[str, Any]
) -> None:
    schema = {"id": pl.String, "_etag": pl.String, "v": pl.Int64} | columns
    sync(client, tmp_path, schema=schema)
    ods.rename("s", "B")
    report = sync(client, tmp_path, schema=schema)
    assert (report["mode"], report["written"]) == ("changes", 2)
    rows = pl.read_parquet(tmp_path / ENROLLMENTS / "data.parquet").rows()
    assert sum('"B"' in repr(row) or "'B'" in repr(row) for row in rows) == 2
    assert not any('"A"' in repr(row) or "'A'" in repr(row) for row in rows)
    assert sync(client, tmp_path, schema=schema)["written"] == 0
