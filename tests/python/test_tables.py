"""Lists as JSON, and lists as tables: nothing is lost, and joined they are the frame again."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from conftest import ScriptedOds, district

import polars_edfi as edfi

RECORDS: list[dict[str, Any]] = [
    {"id": "a", "ref": {"n": 1}, "scores": [
        {"result": 18, "id": "x", "levels": [{"met": True}, {"met": False}]},
        {"result": 21, "id": "y"},
    ], "tags": ["one", None]},
    {"id": "b", "scores": [], "tags": ['ü"\\']},
    {"id": "c", "ref": {"n": 3}},
    {"id": "d", "scores": [{"result": 3, "levels": [], "period": {"begin": "2025-01-01"}}]},
]  # fmt: skip


def read(ods: ScriptedOds, **options: Any) -> pl.DataFrame:
    ods.records = RECORDS
    client = edfi.StudentAssessment(api_version="v3")
    return client.batch_get_all(district(ods), key_col="District BK", **options)


def bare(value: Any) -> Any:
    """A value without the members of objects that are null."""
    if isinstance(value, dict):
        return {name: bare(inner) for name, inner in value.items() if bare(inner) is not None}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def test_lists_as_json_are_what_the_server_sent(ods: ScriptedOds) -> None:
    df = read(ods, lists="json")
    assert df.schema["scores"] == df.schema["tags"] == pl.String
    assert not any(isinstance(dtype, pl.List) for dtype in df.dtypes)
    for record, row in zip(RECORDS, df.to_dicts(), strict=True):
        for name in ("scores", "tags"):
            if name not in record:
                assert row[name] is None
            else:
                assert json.loads(row[name]) == bare(record[name])
                assert ", " not in row[name]
    assert edfi.flatten(read(ods), lists="json").equals(df)
    assert read(ods, lists="list").equals(read(ods))
    with pytest.raises(edfi.EdFiError, match="lists must be one of 'list', 'json'"):
        read(ods, lists="text")


def test_scans_know_it_before_they_read(ods: ScriptedOds) -> None:
    ods.records = RECORDS
    client = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    for schema in ("infer", {"id": pl.String, "scores": pl.List(pl.Struct({"result": pl.Int64}))}):
        lf = edfi.scan("ed-fi/studentAssessments", client=client, schema=schema, lists="json")
        assert lf.collect_schema()["scores"] == pl.String
        df = lf.collect()
        assert json.loads(df["scores"][0])[1]["result"] == 21
        assert lf.select("scores").collect().equals(df.select("scores"))
    whole = client.get_all(key=1, lists="json")["data"]
    assert whole is not None
    assert json.loads(whole["scores"][0])[0]["levels"] == [{"met": True}, {"met": False}]
    each = edfi.scan_all(district(ods), "ed-fi/studentAssessments", key_col="District BK",
                         lists="json", schema="infer", explode="scores")  # fmt: skip
    assert each.collect_schema()["scores.levels"] == pl.String
    assert each.collect().height == 5


def test_tables_are_the_lists(ods: ScriptedOds) -> None:
    found = edfi.tables(read(ods).drop("status", "message", "http_status", "correlation_id"))
    assert list(found) == ["", "scores", "scores.levels", "tags"]
    assert found[""].columns == ["District BK", "id", "ref.n"]
    assert found["scores"].columns == [
        "District BK", "id", "_index", "result", "id_record", "period.begin",
    ]  # fmt: skip
    assert found["scores"].schema["_index"] == pl.UInt32
    assert found["scores.levels"].rows() == [("a", "a", 0, 0, True), ("a", "a", 0, 1, False)]
    assert found["scores.levels"].columns[2:4] == ["_index", "_index_2"]
    assert found["tags"].rows() == [
        ("a", "a", 0, "one"),
        ("a", "a", 1, None),
        ("a", "b", 0, 'ü"\\'),
    ]


def joined(found: dict[str, pl.DataFrame], path: str, key: list[str]) -> pl.DataFrame:
    """Put the lists of a table back into it, the innermost first."""
    df = found[path]
    for inner in found:
        parents = [name for name in found if name and inner.startswith(f"{name}.")]
        if inner == "" or max(parents, key=len, default="") != path:
            continue
        name = inner.removeprefix(f"{path}.")
        elements = joined(found, inner, [*key, "_index"] if path == "" else [*key, "_index_2"])
        own = [c for c in elements.columns if c not in key and not c.startswith("_index")]
        value = pl.col("value") if own == ["value"] else pl.struct(own)
        lists = elements.group_by(key, maintain_order=True).agg(value.alias(name))
        df = df.join(lists, on=key, how="left", maintain_order="left")
    return df


def test_joined_back_they_are_the_frame_again() -> None:
    with edfi.Sandbox(districts=["255901"], records=60) as ods:
        url, key, secret = ods.districts().row(0)[1:]
        client = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        df = client.get_all(key=1, schema="infer")["data"]
    assert df is not None
    found = edfi.tables(df)
    lists = [name for name, dtype in df.schema.items() if isinstance(dtype, pl.List)]
    assert set(lists) <= set(found)
    again = joined(found, "", ["id"])
    flat = {name: edfi.flatten(df.select("id", name), explode=name) for name in lists}
    for name, rows in flat.items():
        back = edfi.flatten(again.select("id", name), explode=name)
        assert back.height == rows.height
        for column in rows.columns:
            plain = column if column in back.columns else f"{column}_record"
            if not isinstance(rows.schema[column], pl.List):
                assert back[plain].to_list() == rows[column].to_list()
    assert again.drop(lists).equals(df.drop(lists))


def test_a_key_must_tell_rows_apart(ods: ScriptedOds) -> None:
    df = pl.DataFrame({"k": ["a", "a"], "s": [[1], [2]]})
    with pytest.raises(edfi.EdFiError, match="there is no column 'id': give key="):
        edfi.tables(df)
    with pytest.raises(edfi.EdFiError, match=r"row 1 has the same key \(k\)"):
        edfi.tables(df, key="k")
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="no column 'x'"):
        edfi.tables(df, key=["k", "x"])
    with pytest.raises(pl.exceptions.SchemaError, match="a key is no list"):
        edfi.tables(df, key="s")
    arrays = df.cast({"s": pl.Array(pl.Int64, 1)})
    with pytest.raises(pl.exceptions.SchemaError, match="a key is no list"):
        edfi.tables(arrays, key="s")
    assert edfi.tables(df.with_row_index("n"), key=["k", "n"])["s"]["value"].to_list() == [1, 2]
    sliced = pl.DataFrame({"id": [1, 2, 3], "s": [[1], None, [3, 4]]}).slice(1)
    assert edfi.tables(sliced)["s"].rows() == [(3, 0, 3), (3, 1, 4)]
    # A district that failed is a row of the first table.
    error = read(ods, on_short="warn").clear()
    assert edfi.tables(error)[""].height == 0


def test_a_key_may_have_the_name_of_a_place() -> None:
    df = pl.DataFrame({"_index": [7], "l": [[{"x": [1, 2]}]]})
    found = edfi.tables(df, key=["_index"])
    assert found["l"].rows(named=True) == [{"_index": 7, "_index_record": 0}]
    assert found["l.x"].columns == ["_index", "_index_record", "_index_2", "value"]
    assert found["l.x"].rows() == [(7, 0, 0, 1), (7, 0, 1, 2)]
    with pytest.raises(edfi.EdFiError, match="key: '_index' stands in it twice"):
        edfi.tables(df, key=["_index", "_index"])


def test_arrays_are_lists() -> None:
    dtype = pl.Array(pl.Int8, 2)
    df = pl.DataFrame({"id": [1, 2], "at": pl.Series([[3, 4], None], dtype=dtype)})
    text = edfi.flatten(df, lists="json")
    assert text.schema["at"] == pl.String
    assert text["at"].to_list() == ["[3,4]", None]
    found = edfi.tables(df)
    assert found[""].columns == ["id"]
    assert found["at"].rows() == [(1, 0, 3), (1, 1, 4)]
    inner = edfi.tables(df.select("id", l=pl.concat_list("at")))
    assert inner["l"].columns == ["id", "_index"]
    assert inner["l.value"].rows() == [(1, 0, 0, 3), (1, 0, 1, 4)]
