"""Changes merged into a copy: no server takes part."""

from __future__ import annotations

import os
import time
from typing import Any

import polars as pl
import pytest

import polars_edfi as edfi

from .model import Model

KEY = ["name", "ref.n"]
NONE = pl.DataFrame()
SCHEDULES = 10_000 if os.environ.get("SOAK") else 1_000


def changes(
    records: pl.DataFrame = NONE,
    deletes: pl.DataFrame = NONE,
    key_changes: pl.DataFrame = NONE,
) -> edfi.Changes:
    return edfi.Changes(records, deletes, key_changes, 0)


def gone(*ids: str) -> pl.DataFrame:
    return pl.DataFrame({"id": ids, "changeVersion": range(len(ids))})


@pytest.fixture
def copy() -> pl.DataFrame:
    return pl.DataFrame(
        {"id": ["a", "b", "c"], "name": ["x", "y", "z"], "ref.n": [1, 2, 3], "value": [7, 8, 9]},
        schema_overrides={"value": pl.Int32},
    )


@pytest.mark.timeout(3_600)
def test_copies_follow_a_moving_ods() -> None:
    """Thousands of schedules; after the last quiet window each copy is what the server has."""
    for seed in range(SCHEDULES):
        model = Model(seed)
        for _ in range(model.random.randint(0, 12)):
            model.step()
        since, copy = model.version + 1, frame(model.records(0, model.version))
        for window in range(4):
            quiet = window == 3
            for _ in range(0 if quiet else model.random.randint(0, 15)):
                model.step()
            if quiet:
                model.settle()
            low, high = max(since - 30, 0), model.version
            # Somebody writes between the reads of a window, too.
            parts = []
            for read in (model.told_key_changes, model.records, model.told_deletes):
                parts.append(frame(read(low, high)))
                if not quiet and model.random.random() < 0.3:
                    model.step()
            key_changes, records, deletes = parts
            window_read = changes(records, deletes, key_changes)
            copy = edfi.apply_changes(copy, window_read, key_fields=KEY)
            if window == seed % 4:
                assert edfi.apply_changes(copy, window_read, key_fields=KEY).equals(copy), seed
            since = high + 1
        expected = sorted(tuple(one.values()) for one in model.records(0, model.version))
        assert sorted(copy.rows()) == expected, f"seed {seed}"


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None) if rows else NONE


def test_records_replace_by_id_and_by_key(copy: pl.DataFrame) -> None:
    new = pl.DataFrame({"id": ["a", "d"], "name": ["x", "y"], "ref.n": [1, 2], "value": [70, 80]})
    now = edfi.apply_changes(copy, changes(new), key_fields=KEY)
    assert now.rows() == [("c", "z", 3, 9), ("a", "x", 1, 70), ("d", "y", 2, 80)]
    by_id = edfi.apply_changes(copy, changes(new))
    assert by_id["id"].to_list() == ["b", "c", "a", "d"]


def test_deletes_always_win(copy: pl.DataFrame) -> None:
    new = pl.DataFrame({"id": ["d"], "name": ["x"], "ref.n": [1], "value": [1]})
    now = edfi.apply_changes(copy, changes(new, gone("d", "c")), key_fields=KEY)
    assert now["id"].to_list() == ["a", "b"]


def test_a_renamed_and_deleted_item_gives_way_to_who_takes_its_key(copy: pl.DataFrame) -> None:
    """B was renamed onto K and deleted, C then took K: only the key change tells of B's end."""
    new = pl.DataFrame({"id": ["d"], "name": ["k"], "ref.n": [9], "value": [1]})
    renamed = pl.DataFrame(
        {"id": ["b"], "changeVersion": [5], "newKeyValues.name": ["k"], "newKeyValues.n": [9]}
    )
    now = edfi.apply_changes(copy, changes(new, key_changes=renamed), key_fields=KEY)
    assert now["id"].to_list() == ["a", "c", "d"]


def test_keys_change_in_the_order_of_their_versions(copy: pl.DataFrame) -> None:
    renamed = pl.DataFrame(
        {"id": ["b", "b"], "changeVersion": [9, 5], "newKeyValues.name": ["last", "first"]}
    )
    for key_fields in (KEY, None):
        now = edfi.apply_changes(copy, changes(key_changes=renamed), key_fields=key_fields)
        assert now["name"].to_list() == ["x", "last", "z"]
        assert now["ref.n"].to_list() == [1, 2, 3]


def test_key_values_are_found_by_the_role_of_their_reference() -> None:
    copy = pl.DataFrame(
        {
            "id": ["a"],
            "educationOrganizationReference.educationOrganizationId": [1],
            "programReference.educationOrganizationId": [2],
            "beginDate": ["2024-08-01"],
        }
    ).with_columns(pl.col("beginDate").str.to_date())
    renamed = pl.DataFrame(
        {
            "id": ["a"],
            "changeVersion": [1],
            "newKeyValues.educationOrganizationId": [10],
            "newKeyValues.programEducationOrganizationId": [20],
            "newKeyValues.beginDate": ["2025-08-01"],
        }
    )
    now = edfi.apply_changes(copy, changes(key_changes=renamed), key_fields=copy.columns[1:])
    assert now.drop("beginDate").row(0) == ("a", 10, 20)
    assert str(now["beginDate"][0]) == "2025-08-01"
    # Nobody can say which of the two is meant.
    unsaid = edfi.apply_changes(copy, changes(key_changes=renamed))
    assert unsaid.drop("beginDate").row(0) == ("a", 1, 2)


def test_of_two_records_with_one_key_the_later_one_stays(copy: pl.DataFrame) -> None:
    new = pl.DataFrame(
        {
            "id": ["d", "e"],
            "name": ["k", "k"],
            "ref.n": [9, 9],
            "_lastModifiedDate": ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"],
        }
    )
    now = edfi.apply_changes(copy, changes(new), key_fields=KEY)
    assert now["id"].to_list() == ["a", "b", "c", "d"]
    undated = new.drop("_lastModifiedDate")
    assert edfi.apply_changes(copy, changes(undated), key_fields=KEY)["id"][-1] == "e"


def test_ids_are_matched_as_reads_match_them() -> None:
    copy = pl.DataFrame({"id": ["0" * 31 + "a", "0" * 31 + "b"], "n": [1, 2]})
    told = f"{'0' * 8}-0000-0000-0000-{'0' * 11}A"
    assert edfi.apply_changes(copy, changes(deletes=gone(told)))["n"].to_list() == [2]
    new = pl.DataFrame({"id": [told], "n": [3]})
    assert edfi.apply_changes(copy, changes(new))["n"].to_list() == [2, 3]


def test_a_row_without_a_whole_key_is_told_apart_by_its_id(copy: pl.DataFrame) -> None:
    copy = copy.with_columns(pl.lit(None, pl.String).alias("name"))
    new = pl.DataFrame(
        {"id": ["d"], "name": [None], "ref.n": [1]},
        {"id": pl.String, "name": pl.String, "ref.n": pl.Int64},
    )
    assert edfi.apply_changes(copy, changes(new), key_fields=KEY).height == 4


def test_what_is_no_changes_is_named(copy: pl.DataFrame) -> None:
    wrong: Any
    for wrong in (3, copy, {"records": copy}):
        with pytest.raises(
            edfi.EdFiError, match=r"client.changes\(\) gives, got .*without records"
        ):
            edfi.apply_changes(copy, wrong)


@pytest.mark.parametrize("dtype", [pl.Null, pl.Int64, pl.Date, pl.List(pl.Struct({"a": pl.Int64}))])
def test_dtypes_of_the_copy_are_kept(dtype: Any) -> None:
    copy = pl.DataFrame({"id": ["a"], "v": [None]}, {"id": pl.String, "v": dtype})
    for new in (NONE, copy.with_columns(id=pl.lit("b")), copy.clear(), copy.select(id=pl.lit("b"))):
        now = edfi.apply_changes(copy, changes(new, gone("zzz")))
        assert now.schema == copy.schema
    assert (
        edfi.apply_changes(copy.clear(), changes(gone("q").drop("changeVersion"))).schema
        == copy.schema
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "dtype", "values"),
    [
        (pl.Series([1], dtype=pl.Int32), [2**40], pl.Int64, [1, 2**40]),
        (pl.Series([1]), pl.Series([2], dtype=pl.Int32), pl.Int64, [1, 2]),
        (pl.Series([1]), [2.5], pl.Float64, [1.0, 2.5]),
        (pl.Series([2**53 + 1]), [2.5], pl.String, ["9007199254740993", "2.5"]),
        (pl.Series(["t"]), [True], pl.String, ["t", "true"]),
        (pl.Series([{"a": 1}]), ["t"], pl.String, ['{"a":1}', "t"]),
        (pl.Series([{"a": 1}]), [{"b": "t"}], None, [{"a": 1, "b": None}, {"a": None, "b": "t"}]),
        (pl.Series([[{"a": 1}]]), [[{"a": 0.5}]], None, [[{"a": 1.0}], [{"a": 0.5}]]),
        (pl.Series([[]], dtype=pl.List(pl.Null)), [["t"]], pl.List(pl.String), [[], ["t"]]),
        (pl.Series([None]), [1], pl.Int64, [None, 1]),
    ],
)
def test_columns_are_widened_as_everywhere(
    ours: pl.Series, theirs: Any, dtype: Any, values: list[Any]
) -> None:
    copy = pl.DataFrame({"id": ["a"], "v": ours})
    new = changes(pl.DataFrame({"id": ["b"], "v": theirs, "new": [1]}))
    now = edfi.apply_changes(copy, new)
    assert dtype is None or now.schema["v"] == dtype
    assert now["v"].to_list() == values
    assert now["new"].to_list() == [None, 1]
    assert edfi.apply_changes(now, new).equals(now)


def test_frames_without_columns_are_empty(copy: pl.DataFrame) -> None:
    assert edfi.apply_changes(NONE, changes()).shape == (0, 0)
    assert edfi.apply_changes(NONE, changes(copy), key_fields=KEY).equals(copy)
    assert edfi.apply_changes(copy, changes(), key_fields=KEY).equals(copy)
    assert edfi.apply_changes(copy, changes(pl.DataFrame(height=3))).equals(copy)


def test_what_cannot_be_merged_is_refused(copy: pl.DataFrame) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="schoolId"):
        edfi.apply_changes(copy, changes(copy), key_fields=["schoolId"])
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match='"id"'):
        edfi.apply_changes(copy.drop("id"), changes(copy))
    with pytest.raises(edfi.EdFiError, match="key_fields"):
        edfi.apply_changes(copy, changes(copy), key_fields=7)  # type: ignore[arg-type]


def test_ten_thousand_changes_into_a_million_rows_take_seconds() -> None:
    rows = 1_000_000
    numbers = pl.Series(range(rows))
    copy = pl.DataFrame(
        {"id": numbers.cast(pl.String), "name": numbers.cast(pl.String), "ref.n": numbers}
    )
    new = copy.head(8_000).with_columns(id=pl.lit("new") + pl.col("id"))
    window = changes(new, copy.tail(2_000).select("id"))
    begin = time.perf_counter()
    now = edfi.apply_changes(copy, window, key_fields=KEY)
    assert time.perf_counter() - begin < 10
    assert now.height == rows - 2_000


def test_records_without_an_id_are_not_lost() -> None:
    copy = pl.DataFrame({"id": ["1"], "v": [1]})
    records = pl.DataFrame(
        {"id": [None, None], "v": [2, 3]}, schema={"id": pl.String, "v": pl.Int64}
    )
    now = edfi.apply_changes(copy, changes(records))
    assert now["v"].to_list() == [1, 2, 3]
