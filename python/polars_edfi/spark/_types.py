"""Polars' columns as Spark's, and frames as the record batches that Spark takes."""

from __future__ import annotations

from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Any

import polars as pl
from pyspark.sql import types as st
from pyspark.sql.pandas.types import to_arrow_schema

from polars_edfi._errors import EdFiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

#: PySpark 4.0 knows no other time zone, and no parameter for it.
_IN_UTC: dict[str, Any] = (
    {"timezone": "UTC"} if "timezone" in signature(to_arrow_schema).parameters else {}
)
_PLAIN: dict[Any, st.DataType] = {
    pl.Boolean: st.BooleanType(),
    pl.Int8: st.ByteType(),
    pl.Int16: st.ShortType(),
    pl.Int32: st.IntegerType(),
    pl.Int64: st.LongType(),
    pl.UInt8: st.ShortType(),
    pl.UInt16: st.IntegerType(),
    pl.UInt32: st.LongType(),
    pl.UInt64: st.DecimalType(20, 0),
    pl.Float32: st.FloatType(),
    pl.Float64: st.DoubleType(),
    pl.Date: st.DateType(),
    pl.Binary: st.BinaryType(),
}


def spark_schema(schema: Mapping[str, Any]) -> st.StructType:
    """Give the columns as Spark has them; what it has no type for is a string."""
    return st.StructType([st.StructField(name, _spark(dtype)) for name, dtype in schema.items()])


def _spark(dtype: Any) -> st.DataType:
    match dtype:
        case pl.Datetime():
            return st.TimestampNTZType() if dtype.time_zone is None else st.TimestampType()
        case pl.Decimal():
            return st.DecimalType(dtype.precision or 38, dtype.scale)
        case pl.List() | pl.Array():
            return st.ArrayType(_spark(dtype.inner))
        case pl.Struct():
            return spark_schema({field.name: field.dtype for field in dtype.fields})
        case _:
            return _PLAIN.get(dtype, st.StringType())


def arrow_schema(schema: st.StructType) -> pa.Schema:
    """Give the columns exactly as Spark expects them in a record batch."""
    return to_arrow_schema(schema, **_IN_UTC)


def refuse_maps(schema: st.StructType, payload_col: str) -> None:
    """Refuse payloads with maps, which Arrow has as lists of entries and JSON as objects."""
    for field in schema:
        if field.name == payload_col and (where := _map_in(field.dataType, payload_col)):
            msg = f"{where!r} is a map: make text of the payload, to_json(`{payload_col}`)"
            raise EdFiError(msg)


def _map_in(dtype: st.DataType, where: str) -> str | None:
    match dtype:
        case st.MapType():
            return where
        case st.ArrayType():
            return _map_in(dtype.elementType, where)
        case st.StructType():
            found = (_map_in(field.dataType, f"{where}.{field.name}") for field in dtype)
            return next((name for name in found if name), None)
        case _:
            return None


@lru_cache(maxsize=64)
def polars_schema(schema: pa.Schema) -> pl.Schema:
    """Give Spark's columns as Polars has them."""
    frame = pl.from_arrow(schema.empty_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table is never a column
    return frame.schema


def record_batches(frame: pl.DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Give a frame of these columns as record batches of exactly these types."""
    wanted = polars_schema(schema)
    differing = [name for name, dtype in frame.schema.items() if _differs(dtype, wanted[name])]
    frame = frame.with_columns(pl.col(name).cast(wanted[name]) for name in differing)
    yield from frame.to_arrow().cast(schema).to_batches()


def _differs(dtype: Any, wanted: Any) -> bool:
    return dtype != wanted and not isinstance(dtype, pl.Null)


def empty(schema: pa.Schema) -> pl.DataFrame:
    """Give a frame of these columns without rows."""
    return pl.DataFrame(schema=polars_schema(schema))


def spark_part(schema: st.StructType, without: str) -> st.StructType:
    """Give the columns but one."""
    return st.StructType([field for field in schema if field.name != without])
