"""Payloads that are Structs, encoded as JSON."""

import json
import math
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from conftest import ScriptedOds
from polars.exceptions import SchemaError

import polars_edfi as edfi
from writes.support import bodies, frame, post


def sent(
    ods: ScriptedOds, runner: edfi.EdFiClient, column: pl.Series, **arguments: Any
) -> list[str]:
    """What is posted for a Struct column, in the order of its rows."""
    out = post(runner, frame(ods, column), workers=1, **arguments)
    assert out["status"].null_count() == len(column), out["message"].to_list()
    return [body.decode() for body in bodies(ods)]


def test_structs_are_encoded_exactly(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    dtype = pl.Struct(
        {
            "date": pl.Date,
            "naive": pl.Datetime("ms"),
            "utc": pl.Datetime("us", "UTC"),
            "zone": pl.Datetime("ns", "America/Chicago"),
            "time": pl.Time,
            "decimal": pl.Decimal(38, 10),
            "i64": pl.Int64,
            "u64": pl.UInt64,
            "i8": pl.Int8,
            "f64": pl.Float64,
            "f32": pl.Float32,
            "bool": pl.Boolean,
            "text": pl.String,
            "cat": pl.Categorical,
            "enum": pl.Enum(["é"]),
            "null": pl.Null,
            "array": pl.Array(pl.Int16, 2),
        }
    )
    moment = datetime(2024, 2, 29, 13, 5, 6, 123000, UTC)
    row = {
        "date": date(1850, 3, 1),
        "naive": moment.replace(tzinfo=None),
        "utc": moment,
        "zone": moment,
        "time": clock(7, 8, 9, 500000),
        "decimal": Decimal("1234567890123456789012345678.0123456789"),
        "i64": 2**63 - 1,
        "u64": 2**64 - 1,
        "i8": -128,
        "f64": 0.1,
        "f32": 0.1,
        "bool": False,
        "text": '\t"\\\u0001é\u2028\U0001f600',
        "cat": "c",
        "enum": "é",
        "null": None,
        "array": [1, None],
    }
    (text,) = sent(ods, runner, pl.Series([row], dtype=dtype, strict=False))
    found = json.loads(text, parse_float=str, parse_int=str)
    assert found == {
        "date": "1850-03-01",
        "naive": "2024-02-29T13:05:06.123",
        "utc": "2024-02-29T13:05:06.123Z",
        "zone": "2024-02-29T13:05:06.123Z",
        "time": "07:08:09.500",
        "decimal": "1234567890123456789012345678.0123456789",
        "i64": str(2**63 - 1),
        "u64": str(2**64 - 1),
        "i8": "-128",
        "f64": "0.1",
        "f32": "0.1",
        "bool": False,
        "text": row["text"],
        "cat": "c",
        "enum": "é",
        "array": ["1", None],
    }
    assert list(found) == [name for name in row if name != "null"]


def test_nulls_are_left_out_at_every_depth(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    inner = pl.Struct({"x": pl.Int8, "deep": pl.Struct({"y": pl.String})})
    dtype = pl.Struct({"a": inner, "l": pl.List(inner), "s": pl.List(pl.String), "z": pl.Int8})
    rows = [
        {"a": None, "l": None, "s": None, "z": None},
        {"a": {"x": None, "deep": {"y": None}}, "l": [], "s": [], "z": 0},
        {"a": {"x": 1, "deep": {"y": None}}, "l": [None, {"x": None, "deep": None}], "s": [None]},
        {"a": {"x": None, "deep": {"y": ""}}, "l": [{"x": 1, "deep": {"y": None}}], "s": [""]},
    ]
    assert sent(ods, runner, pl.Series(rows, dtype=dtype)) == [
        "{}",
        '{"l":[],"s":[],"z":0}',
        '{"a":{"x":1},"l":[null,{}],"s":[null]}',
        '{"a":{"deep":{"y":""}},"l":[{"x":1}],"s":[""]}',
    ]


def test_rows_of_a_struct_stay_where_they_are(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    """Slices, filters, reversals and chunks: the row of the frame is the row that is sent."""

    def payload(n: int) -> dict[str, Any]:
        fields: dict[str, Any] = {"n": n, "l": [{"v": n}] * (n % 3)}
        if n % 4:
            fields["r"] = {"t": str(n)}
        return fields

    dtype = pl.Struct(
        {
            "n": pl.Int64,
            "l": pl.List(pl.Struct({"v": pl.Int64})),
            "r": pl.Struct({"t": pl.String}),
        }
    )
    df = pl.DataFrame({"payload": pl.Series([payload(n) for n in range(60)], dtype=dtype)})
    chunked = pl.concat([df.slice(0, 7), df.slice(7, 20), df.slice(27)], rechunk=False)
    for part in (
        df.slice(13, 20),
        df.filter(pl.col("payload").struct.field("n") % 7 == 3),
        df.reverse(),
        chunked,
        chunked.slice(5, 40),
        df.head(0),
    ):
        ods.requests.clear()
        expected = [payload(n) for n in part["payload"].struct.field("n").to_list()]
        texts = sent(ods, runner, part["payload"])
        assert [json.loads(text) for text in texts] == expected


def test_a_null_struct_is_missing(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    column = pl.Series([{"a": 1}, None, {"a": None}], dtype=pl.Struct({"a": pl.Int8}))
    out = post(runner, frame(ods, column), workers=1)
    assert out["message"].to_list() == [None, "missing 'payload'", None]
    assert bodies(ods) == [b'{"a":1}', b"{}"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for(
    ods: ScriptedOds, runner: edfi.StudentAssessment, bad: float
) -> None:
    rows = [{"a": {"b": [1.0]}}, {"a": {"b": [2.0, bad]}}, {"a": {"b": [3.0]}}]
    out = post(runner, frame(ods, pl.Series(rows)))
    assert out["status"].to_list() == [None, "error", None]
    assert "a.b" in out["message"][1]
    assert "NaN" in out["message"][1]
    assert sorted(bodies(ods)) == [b'{"a":{"b":[1.0]}}', b'{"a":{"b":[3.0]}}']


@pytest.mark.parametrize(
    "dtype", [pl.Binary, pl.Duration, pl.List(pl.Duration), pl.Struct({"x": pl.Binary})], ids=str
)
@pytest.mark.parametrize("commit", [True, False])
def test_dtypes_that_json_cannot_hold(
    ods: ScriptedOds, runner: edfi.StudentAssessment, dtype: Any, commit: bool
) -> None:
    column = pl.Series([{"a": None}], dtype=pl.Struct({"a": dtype}))
    with pytest.raises(SchemaError, match=r"payload\.a"):
        post(runner, frame(ods, column), commit=commit)
    assert ods.requests == []


def test_server_fields_stay_at_home(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    link = {"rel": "X", "href": "/x"}
    row = {
        "id": "1",
        "_etag": "2",
        "_lastModifiedDate": "3",
        "link": link,
        "aReference": {"k": 1, "link": link},
        "onlyReference": {"link": link},
        "parts": [{"id": "4", "link": link, "bReference": {"k": 2, "link": link}}],
        "other": {"id": "5", "link": link},
    }
    (text,) = sent(ods, runner, pl.Series([row]))
    assert json.loads(text) == {
        "link": link,
        "aReference": {"k": 1},
        "parts": [{"id": "4", "link": link, "bReference": {"k": 2}}],
        "other": {"id": "5", "link": link},
    }
    ods.requests.clear()
    (text,) = sent(ods, runner, pl.Series([row]), keep_server_fields=True)
    assert json.loads(text) == row


def test_what_had_no_column_goes_back(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    original = [
        {
            "id": f"{n}",
            "n": n if n % 2 else f"text {n}",
            "big": 123456789012345678901234567890 + n,
            "ref": {"name": "r", "more": {"x": [1, {"y": n}]}},
            "list": [{"a": 1, "b": n}, {"a": 2}],
            "empty": {},
        }
        for n in range(6)
    ]
    ods.records = original
    schema = {
        "id": pl.String,
        "n": pl.Int64,
        "ref.name": pl.String,
        "list": pl.List(pl.Struct({"a": pl.Int64})),
    }
    read = runner.batch_get_all(frame(ods, ["{}"]), key_col="key", schema=schema)
    assert read["_unknown"].null_count() == 0
    payload = edfi.unflatten(read.select(*schema, "_unknown"))["payload"]
    texts = sent(ods, runner, payload)
    expected = [{k: v for k, v in row.items() if k not in ("id", "empty")} for row in original]
    assert [json.loads(text) for text in texts] == expected
    ods.requests.clear()
    edited = pl.DataFrame(payload).unnest("payload").with_columns(n=pl.lit(7, pl.Int64))
    texts = sent(ods, runner, edfi.unflatten(edited)["payload"], keep_server_fields=True)
    assert [json.loads(text)["n"] for text in texts] == [7] * 6
    assert [json.loads(text)["id"] for text in texts] == [row["id"] for row in original]


@pytest.mark.parametrize("text", ["{", "[1]", "1", ""])
def test_unknown_that_is_not_what_was_read(
    ods: ScriptedOds, runner: edfi.StudentAssessment, text: str
) -> None:
    column = pl.Series([{"a": 1, "_unknown": None}, {"a": 2, "_unknown": text}])
    out = post(runner, frame(ods, column))
    assert out["status"].to_list() == [None, "error"]
    assert bodies(ods) == [b'{"a":1}']


def test_decimals_of_all_scales(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    for scale, text in [(0, "-7"), (2, "-0.05"), (38, "0." + "1" * 38), (1, "9" * 37 + ".9")]:
        ods.requests.clear()
        column = pl.Series([{"d": Decimal(text)}], dtype=pl.Struct({"d": pl.Decimal(38, scale)}))
        assert sent(ods, runner, column) == [f'{{"d":{text}}}']
