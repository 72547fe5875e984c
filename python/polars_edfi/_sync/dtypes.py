"""The dtypes that a Delta table has for those of Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping


def storable(dtype: Any) -> Any:
    """Give the dtype that a table has for one."""
    if isinstance(dtype, pl.List):
        return pl.List(storable(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({part.name: storable(part.dtype) for part in dtype.fields})
    if dtype in (pl.Null, pl.Categorical, pl.Time) or isinstance(dtype, pl.Enum):
        return pl.String
    if dtype in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64):
        return pl.Int64
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", None if dtype.time_zone is None else "UTC")
    return dtype


def storable_schema(schema: Mapping[str, Any]) -> dict[Any, Any]:
    """Give the dtypes that a table has for these columns."""
    return {name: storable(dtype) for name, dtype in schema.items()}


def has_zoneless(dtype: Any) -> bool:
    """Tell whether there are times without a zone in one."""
    if isinstance(dtype, pl.List):
        return has_zoneless(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return any(has_zoneless(part.dtype) for part in dtype.fields)
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is None
