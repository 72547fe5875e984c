"""Frames on their way to Rust and back; called from there."""

import operator
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl


def columns(df: pl.DataFrame) -> list[pl.Series]:
    """Give the columns of a frame in dtypes that can cross; refuse those that cannot."""
    return [_ready(series) for series in df.get_columns()]


def empty(schema: Any) -> pl.DataFrame:
    """Give a frame without rows; what cannot cross is refused before Polars makes columns of it."""
    dtypes = dict(schema)
    for name, dtype in dtypes.items():
        _check_name(name)
        _crossing(dtype, name)
    return pl.DataFrame(schema=dtypes)


def frame(columns: dict[str, pl.Series], height: int) -> pl.DataFrame:
    """Put columns together; without any, the frame keeps its height."""
    # As a dict, for the sake of a column without a name: in a list Polars would give it one.
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=height)


def unnested(fields: pl.Series) -> pl.DataFrame:
    """Give the fields of a Struct as columns."""
    return fields.struct.unnest()


def _ready(series: pl.Series) -> pl.Series:
    _check_name(series.name)
    dtype = _crossing(series.dtype, series.name)
    return series if dtype == series.dtype else series.cast(dtype)


def _check_name(name: str) -> None:
    if "\0" in name:
        msg = f"the name {name!r} holds a NUL character, which no name in Arrow can; rename it"
        raise pl.exceptions.SchemaError(msg)


def _crossing(dtype: Any, column: str) -> Any:
    """Give the dtype in which a column crosses.

    An Array without room for values is a List: Polars loses its rows on the way.
    """
    if dtype == pl.Object:
        msg = f"column {column!r} holds Python objects (Object); cast it or drop it"
        raise pl.exceptions.SchemaError(msg)
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            _check_name(field.name)
        return pl.Struct({field.name: _crossing(field.dtype, column) for field in dtype.fields})
    if isinstance(dtype, pl.List):
        return pl.List(_crossing(dtype.inner, column))
    if isinstance(dtype, pl.Array):
        inner = _crossing(dtype.inner, column)
        return pl.Array(inner, dtype.size) if dtype.size else pl.List(inner)
    return dtype


def parameter(value: object) -> str | None:
    """Give the text of a query parameter that is no text, truth, int or float; or None."""
    match value:
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():  # a datetime is one, too
            return value.isoformat()
        case Decimal() if value.is_finite():
            return format(value, "f")
        case _ if hasattr(value, "__index__"):  # a whole number of NumPy's
            return str(operator.index(value))
    return None


def kind(value: object) -> str:
    """Name the class of a value with the package that people import it from."""
    cls = type(value)
    package = cls.__module__.split(".")[0]
    if package == "builtins":
        return cls.__qualname__
    is_public = getattr(sys.modules.get(package), cls.__name__, None) is cls
    return f"{package if is_public else cls.__module__}.{cls.__qualname__}"
