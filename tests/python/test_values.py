"""Random frames and records through every call: as many rows out as in, each value as it was.

Each test is one seed, which stands in its name. ``SOAK=1`` runs many; ``SEED=n`` begins at another
one.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Request, ScriptedOds

SOAK = bool(os.environ.get("SOAK"))
FIRST = int(os.environ.get("SEED", "0"))
SEEDS = range(FIRST, FIRST + (400 if SOAK else 12))

NAMES = ["a", "b c", "ç", 'q"q', "schoolId", "x-y", "Ünï", "0", "_z", "l"]
LETTERS = ["", "a", "ß", '"', "\\", "\n", "日", "x y", "\U0001f600", "null", "1", "{}"]
WORDS = [*LETTERS, "a longer text than a view holds inline, " * 2]
ENUM = pl.Enum(["", "red", "green", "a longer category than a view holds inline"])
SMALL = pl.Categorical(pl.Categories("test_values", physical=pl.UInt8))
WHOLE = {
    pl.Int8: (-(2**7), 2**7 - 1),
    pl.Int16: (-(2**15), 2**15 - 1),
    pl.Int32: (-(2**31), 2**31 - 1),
    pl.Int64: (-(2**63), 2**63 - 1),
    pl.UInt8: (0, 2**8 - 1),
    pl.UInt16: (0, 2**16 - 1),
    pl.UInt32: (0, 2**32 - 1),
    pl.UInt64: (0, 2**64 - 1),
    # Polars does not build nested ones of larger numbers.
    pl.Int128: (-(2**63), 2**63 - 1),
    pl.UInt128: (0, 2**63 - 1),
}
PLAIN: list[Any] = [
    pl.Null(),
    pl.Boolean(),
    pl.String(),
    *(dtype() for dtype in WHOLE if dtype not in (pl.Int128, pl.UInt128)),
    pl.Float16(),
    pl.Float32(),
    pl.Float64(),
    pl.Decimal(38, 9),
    pl.Date(),
    pl.Time(),
    pl.Datetime("ms"),
    pl.Datetime("us", "UTC"),
    pl.Datetime("ns", "America/Chicago"),
    pl.Categorical(),
    SMALL,
    ENUM,
]
NOT_JSON: list[Any] = [pl.Binary(), pl.Duration("us"), pl.Int128(), pl.UInt128()]


class Maker:
    """Frames and JSON by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def dtype(self, depth: int, *, for_json: bool) -> Any:
        """One of all dtypes, nested as deeply as ``depth``."""
        kind = self.random.random()
        if depth == 0 or kind < 0.5:
            return self.random.choice(PLAIN if for_json else PLAIN + NOT_JSON)
        inner = self.dtype(depth - 1, for_json=for_json)
        if kind < 0.7:
            return pl.List(inner)
        if kind < 0.8:
            return pl.Array(inner, self.random.choice([0, 1, 2]))
        fields = self.random.sample(NAMES, self.random.choice([0, 1, 1, 2, 3]))
        return pl.Struct({name: self.dtype(depth - 1, for_json=for_json) for name in fields})

    def value(self, dtype: Any) -> Any:
        """A value, in one of four cases a null."""
        if self.random.random() < 0.25 or dtype == pl.Null:
            return None
        if isinstance(dtype, pl.List):
            return [self.value(dtype.inner) for _ in range(self.random.choice([0, 0, 1, 3]))]
        if isinstance(dtype, pl.Array):
            return [self.value(dtype.inner) for _ in range(dtype.size)]
        if isinstance(dtype, pl.Struct):
            return {field.name: self.value(field.dtype) for field in dtype.fields}
        return self.scalar(dtype)

    def scalar(self, dtype: Any) -> Any:
        r = self.random
        makers: dict[Any, Callable[[], Any]] = {
            pl.Boolean: lambda: r.random() < 0.5,
            pl.String: lambda: r.choice(WORDS),
            pl.Categorical: lambda: r.choice(WORDS),
            pl.Enum: lambda: r.choice(dtype.categories.to_list()),
            pl.Binary: lambda: r.randbytes(r.choice([0, 3, 20])),
            pl.Decimal: lambda: Decimal(r.randint(-(10**37), 10**37)).scaleb(-9),
            pl.Date: lambda: dt.date(1, 1, 1) + dt.timedelta(days=r.randrange(3_000_000)),
            pl.Time: lambda: dt.time(r.randrange(24), r.randrange(60), 1, r.choice([0, 5000, 7])),
            pl.Duration: lambda: dt.timedelta(microseconds=r.randint(-(10**12), 10**12)),
            pl.Datetime: lambda: self.moment(dtype),
        }
        base = dtype.base_type()
        if base in WHOLE:
            least, most = WHOLE[base]
            return r.choice([0, 1, least, most, r.randint(least, most)])
        if dtype.is_float():
            return r.choice([0.0, -0.5, 1.25, 8.0, 1024.5])
        return makers[base]()

    def moment(self, dtype: pl.Datetime) -> dt.datetime:
        """A point in time that every unit holds."""
        zone = None if dtype.time_zone is None else dt.UTC
        seconds = self.random.randint(-(10**9), 4 * 10**9)
        millis = dt.timedelta(seconds=seconds, milliseconds=self.random.choice([0, 250]))
        return dt.datetime(1970, 1, 1, tzinfo=zone) + millis

    def column(self, dtype: Any, lengths: list[int]) -> pl.Series:
        """A column of so many chunks, each of them perhaps cut out of a longer one."""
        chunks = []
        for length in lengths:
            head, tail = self.random.choice([(0, 0), (2, 0), (0, 1), (1, 2)])
            nothing = self.random.random() < 0.3
            values = [None if nothing else self.value(dtype) for _ in range(head + length + tail)]
            chunks.append(pl.Series(values, dtype=dtype).slice(head, length))
        return pl.concat(chunks, rechunk=False)

    def frame(self, *, for_json: bool = False, least: int = 0) -> pl.DataFrame:
        """A frame of a few rows, in chunks that differ from column to column."""
        while True:
            try:
                frame = self.any_frame(for_json=for_json, least=least)
                frame.to_struct()
            except pl.exceptions.PanicException:
                # Polars' own: some Arrays of nested categories cannot be put into a Struct.
                continue
            return frame

    def any_frame(self, *, for_json: bool, least: int) -> pl.DataFrame:
        height = self.random.choice([least, 1, 2, 7, 12])
        names = self.random.sample(NAMES, self.random.choice([1, 2, 4]))
        columns = {}
        for name in names:
            cuts = sorted(self.random.choices(range(height + 1), k=self.random.choice([0, 1, 3])))
            ends = zip([0, *cuts], [*cuts, height], strict=True)
            dtype = self.dtype(3, for_json=for_json)
            columns[name] = self.column(dtype, [end - start for start, end in ends])
        return pl.DataFrame(columns)


@pytest.fixture(params=SEEDS, ids=lambda seed: f"SEED={seed}")
def maker(request: pytest.FixtureRequest) -> Maker:
    return Maker(request.param)


def crossing(dtype: Any) -> Any:
    """The dtype that comes back: an Array without room for values is a List."""
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: crossing(field.dtype) for field in dtype.fields})
    if isinstance(dtype, pl.Array) and dtype.size:
        return pl.Array(crossing(dtype.inner), dtype.size)
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(crossing(dtype.inner))
    return dtype


def leaves(dtype: Any, rows: list[Any], name: str) -> list[tuple[str, list[Any]]]:
    """What flattened columns should hold."""
    if not isinstance(dtype, pl.Struct):
        return [(name, rows)]
    if not dtype.fields:
        return [(name, [None] * len(rows))]
    columns = []
    for field in dtype.fields:
        values = [None if row is None else row[field.name] for row in rows]
        columns += leaves(field.dtype, values, f"{name}.{field.name}")
    return columns


def expected_json(value: Any, dtype: Any) -> Any:
    """What stands for a value in a payload; ``None`` where a member is left out."""
    if value is None:
        return None
    if isinstance(dtype, pl.List | pl.Array):
        elements = (expected_json(element, dtype.inner) for element in value)
        is_struct = isinstance(dtype.inner, pl.Struct)
        return [
            {} if element is None and is_struct and original is not None else element
            for element, original in zip(elements, value, strict=True)
        ]
    if isinstance(dtype, pl.Struct):
        members = {f.name: expected_json(value[f.name], f.dtype) for f in dtype.fields}
        return {name: member for name, member in members.items() if member is not None} or None
    return expected_scalar(value)


def expected_scalar(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, dt.datetime):
        local = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        return local.isoformat(timespec=precision(value)) + ("Z" if value.tzinfo else "")
    if isinstance(value, dt.time):
        return value.isoformat(timespec=precision(value))
    return value.isoformat() if isinstance(value, dt.date) else value


def precision(value: dt.time | dt.datetime) -> str:
    if value.microsecond == 0:
        return "seconds"
    return "microseconds" if value.microsecond % 1000 else "milliseconds"


def parsed(body: bytes | str) -> Any:
    """JSON with every digit of its numbers."""
    return json.loads(body, parse_float=Decimal, parse_int=Decimal)


def bodies(ods: ScriptedOds) -> list[Any]:
    return [parsed(request.body) for request in ods.paths() if request.method == "POST"]


def with_district(df: pl.DataFrame, ods: ScriptedOds) -> pl.DataFrame:
    return df.with_columns(
        pl.lit(ods.url).alias("targetUrl"), pl.lit("token").alias("EdFi Token")
    ).with_columns(pl.Series("key", [f"k{n}" for n in range(df.height)], dtype=pl.String))


def test_a_frame_is_flattened_and_put_together(maker: Maker) -> None:
    df = maker.frame()
    flat = edfi.flatten(df)
    columns = [leaves(column.dtype, column.to_list(), column.name) for column in df]
    expected = [leaf for column in columns for leaf in column]
    assert flat.height == df.height
    assert [(column.name, column.to_list()) for column in flat] == expected
    again = edfi.unflatten(df, "payload!", separator="")
    assert again["payload!"].to_list() == df.to_dicts()
    assert again.schema == {"payload!": crossing(pl.Struct(df.schema))}


def test_struct_payloads_are_posted_as_they_are(maker: Maker, ods: ScriptedOds) -> None:
    values = maker.frame(for_json=True)
    numbered = values.with_row_index("row!")
    df = with_district(numbered.select(pl.struct(pl.all()).alias("payload")), ods)
    runner = edfi.StudentAssessment(api_version="v3", max_retries=0, timeout=10)
    dry = runner.batch_post_payload(df, payload_col="payload", key_col="key")
    assert dry["status"].to_list() == ["dry_run"] * df.height
    done = runner.batch_post_payload(
        df, payload_col="payload", key_col="key", commit=True, workers=1
    )
    assert done["status"].to_list() == [None] * df.height
    assert done["key"].to_list() == df["key"].to_list()
    dtype = numbered.schema
    rows = [expected_json(row, pl.Struct(dtype)) for row in numbered.to_dicts()]
    assert bodies(ods) == rows


@pytest.mark.parametrize("way", ["expression", "sink"])
def test_payloads_of_plans_are_posted_as_they_are(maker: Maker, ods: ScriptedOds, way: str) -> None:
    values = maker.frame(for_json=True)
    numbered = values.with_row_index("row!")
    df = with_district(numbered.select(pl.struct(pl.all()).alias("payload")), ods)
    if way == "sink":
        done = df.lazy().edfi.sink_post_payload(
            payload_col="payload", key_col="key", commit=True, workers=1
        )
        statuses = done["status"]
    else:
        post = pl.col("payload").edfi.post_payload(
            url="targetUrl", token="EdFi Token", api_version="v3", commit=True, workers=1
        )
        if crossing(pl.Struct(values.schema)) != pl.Struct(values.schema):
            with pytest.raises(pl.exceptions.ComputeError, match="Array of width 0"):
                df.select(post)
            return
        statuses = df.select(post.alias("r"))["r"].struct.field("status")
    assert statuses.to_list() == [None] * df.height
    rows = [expected_json(row, pl.Struct(numbered.schema)) for row in numbered.to_dicts()]
    assert sorted(bodies(ods), key=repr) == sorted(rows, key=repr)


def test_what_json_cannot_hold_is_refused_before_anything_is_sent(
    maker: Maker, ods: ScriptedOds
) -> None:
    dtype = maker.random.choice(NOT_JSON)
    nested = maker.random.choice(
        [dtype, pl.List(dtype), pl.Array(dtype, 2), pl.Struct({"a": dtype})]
    )
    values = pl.DataFrame({"v": maker.column(nested, [2, 1])})
    df = with_district(values.select(pl.struct(pl.all()).alias("payload")), ods)
    runner = edfi.StudentAssessment(api_version="v3")
    with pytest.raises(pl.exceptions.SchemaError, match="JSON cannot hold"):
        runner.batch_post_payload(df, payload_col="payload", key_col="key", commit=True)
    assert not ods.requests


@pytest.mark.parametrize("call", ["get", "delete"])
def test_rows_are_named_by_any_column(maker: Maker, ods: ScriptedOds, call: str) -> None:
    values = maker.frame(least=1)
    df = with_district(values, ods)
    ods.items = {key: json.dumps({"id": key}).encode() for key in df["key"]}
    runner = edfi.StudentAssessment(api_version="v3", max_retries=0, timeout=10)
    column = values.columns[0]
    if call == "get":
        out = runner.batch_get_by_id(df, id_col="key", row_id_col=column)
        assert out["data"].to_list() == [{"id": key} for key in df["key"]]
    else:
        out = runner.batch_delete_by_id(
            df, id_col="key", key_col="key", row_id_col=column, commit=True
        )
        assert out["status"].to_list() == ["deleted"] * df.height
        assert not ods.items
    assert out["id"].to_list() == df["key"].to_list()
    assert out["row_index"].to_list() == list(range(df.height))
    assert out["row_id"].to_list() == df[column].to_list()
    assert out.schema["row_id"] == crossing(df.schema[column])


def test_districts_are_read_whatever_stands_beside_them(
    maker: Maker, make_ods: Callable[..., ScriptedOds]
) -> None:
    ods = make_ods(2)
    df = with_district(maker.frame(least=1), ods)
    out = edfi.StudentAssessment(api_version="v3", timeout=10).batch_get_all(df, key_col="key")
    assert out["key"].to_list() == [key for key in df["key"] for _ in range(2)]
    assert out["n"].to_list() == [0, 1] * df.height


class Records:
    """Records of one shape, and what else may stand in them."""

    def __init__(self, maker: Maker) -> None:
        self.random = maker.random
        self.shape = {name: self.kind(3) for name in self.random.sample(NAMES, 5)}

    def kind(self, depth: int) -> Any:
        """A kind of value: a word, a list of one kind, or the kinds of an object's members."""
        chance = self.random.random()
        if depth == 0 or chance < 0.6:
            return self.random.choice(["text", "whole", "number", "truth"])
        if chance < 0.8:
            return [self.kind(depth - 1)]
        return {
            n: self.kind(depth - 1)
            for n in self.random.sample(NAMES, self.random.choice([0, 1, 3]))
        }

    def value(self, kind: Any) -> str:
        """JSON text of a kind."""
        r = self.random
        if isinstance(kind, list):
            return "[" + ",".join(self.value(kind[0]) for _ in range(r.choice([0, 1, 2]))) + "]"
        if isinstance(kind, dict):
            members = [(name, self.value(inner)) for name, inner in kind.items()]
            kept = [member for member in members if r.random() < 0.8]
            return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in kept) + "}"
        return {
            "text": lambda: json.dumps(r.choice(WORDS)),
            "whole": lambda: str(r.choice([0, -1, 2**53 + 1, -(2**63), r.randint(-99, 99)])),
            "number": lambda: r.choice(["0.5", "-1.25", "100.0", "8.0"]),
            "truth": lambda: r.choice(["true", "false"]),
        }[kind]()

    def anything(self) -> str:
        """JSON text of whatever kind, numbers beyond all types among them."""
        odd = ["922337203685477.5807", "1e400", str(10**30), "0.10000000000000000001", "{}", "[]"]
        if self.random.random() < 0.5:
            return self.random.choice(odd)
        return self.value(self.kind(2))


def without_nothing(value: Any, *, is_element: bool = False) -> Any:
    """A record as it is posted: no nulls, no empty objects but in lists."""
    if isinstance(value, list):
        return [without_nothing(element, is_element=True) for element in value]
    if not isinstance(value, dict):
        return value
    members = {name: without_nothing(inner) for name, inner in value.items()}
    kept = {name: inner for name, inner in members.items() if inner is not None}
    return kept if kept or is_element else None


def read_and_post(
    maker: Maker, ods: ScriptedOds, texts: list[str], schema: Any
) -> tuple[pl.DataFrame, list[Any]]:
    """Read records page by page, put them together again, post them."""
    limit = maker.random.choice([1, 2, 5, 50])

    def script(request: Request) -> Any:
        if request.method == "GET" and "limit" in request.query:
            at, most = int(request.query["offset"]), int(request.query["limit"])
            page = ods.page(request)
            page.body = "[" + ",".join(texts[at : at + most]) + "]"
            return page
        return None

    ods.records = [{} for _ in texts]
    ods.script = script
    runner = edfi.StudentAssessment(base_url=ods.url, bearer_token="token", api_version="v3")
    df = runner.get_all(key="k", limit=limit, schema=schema)["data"]
    assert df.height == len(texts)
    payloads = edfi.unflatten(df) if df.width else df
    if not df.width:
        return df, []
    runner.batch_post_payload(
        with_district(payloads, ods),
        payload_col="payload",
        key_col="key",
        commit=True,
        workers=1,
        keep_server_fields=True,
    )
    return df, bodies(ods)


def test_records_of_one_shape_come_back_as_they_were(maker: Maker, ods: ScriptedOds) -> None:
    records = Records(maker)
    texts = [records.value(records.shape) for _ in range(maker.random.choice([1, 3, 12]))]
    df, posted = read_and_post(maker, ods, texts, "infer")
    expected = [without_nothing(parsed(text), is_element=True) for text in texts]
    assert posted == (expected if df.width else [])


def test_what_a_schema_has_no_place_for_comes_back_as_it_was(
    maker: Maker, ods: ScriptedOds
) -> None:
    records = Records(maker)
    texts = []
    for _ in range(maker.random.choice([1, 3, 12])):
        members = {name: records.value(kind) for name, kind in records.shape.items()}
        members |= {name: records.anything() for name in maker.random.sample(NAMES, 2)}
        texts.append("{" + ",".join(f"{json.dumps(n)}:{t}" for n, t in members.items()) + "}")
    schema = {name: maker.dtype(2, for_json=True) for name in maker.random.sample(NAMES, 4)}
    _, posted = read_and_post(maker, ods, texts, {n: d for n, d in schema.items() if readable(d)})
    expected = [without_nothing(parsed(text), is_element=True) for text in texts]
    assert posted == expected


def readable(dtype: Any) -> bool:
    """Whether values read into a dtype are written as they came."""
    if isinstance(dtype, pl.List):
        return readable(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return all(readable(field.dtype) for field in dtype.fields)
    # A float holds some digits of a number, texts may be of another form than what is written.
    lossy = (
        pl.Float64,
        pl.Float16,
        pl.Float32,
        pl.Array,
        pl.Datetime,
        pl.Time,
        pl.Date,
        pl.Decimal,
        pl.String,
    )
    return dtype.base_type() not in lossy
