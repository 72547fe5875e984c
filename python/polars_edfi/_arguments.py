"""Arguments that Python users write in more than one way."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import polars as pl

from polars_edfi._errors import EdFiError

SchemaArgument = str | pl.Schema | pl.Struct | Mapping[str, Any]


def frame(df: object) -> pl.DataFrame:
    """Give the frame itself, or raise a ``TypeError`` that says what to do."""
    if isinstance(df, pl.DataFrame):
        return df
    hint = "; call .collect() first" if isinstance(df, pl.LazyFrame) else ""
    msg = f"expected a polars DataFrame, got {type(df).__name__}{hint}"
    raise TypeError(msg)


def names(argument: str, value: str | Sequence[str] | None) -> list[str] | None:
    """One name or many, as a list."""
    if value is None:
        return None
    listed = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) for name in listed):
        msg = f"{argument} must be a column name or a list of them"
        raise EdFiError(msg)
    return listed


def batch_arguments(skip_statuses: Sequence[str], **plain: Any) -> dict[str, Any]:
    """Put together what every batch has."""
    return plain | {"skip_statuses": names("skip_statuses", skip_statuses) or []}


def choice(argument: str, value: object, choices: Sequence[str]) -> str:
    """Check a word out of a few."""
    if value not in choices:
        msg = f"{argument} must be one of {', '.join(map(repr, choices))}, got {value!r}"
        raise EdFiError(msg)
    return cast("str", value)


def params(value: Mapping[str, object] | None) -> list[tuple[str, str]]:
    """Query parameters as the server reads them; ``None`` values are left out."""
    pairs = []
    for name, item in (value or {}).items():
        if item is None:
            continue
        if not isinstance(name, str) or not isinstance(item, str | int | float):
            msg = f"params[{name!r}] must be a text, a number or a boolean"
            raise EdFiError(msg)
        text = str(item).lower() if isinstance(item, bool) else str(item)
        pairs.append((name, text))
    return pairs


def schema(value: SchemaArgument) -> tuple[str, pl.DataFrame | None]:
    """Give a word, or an empty frame with the columns that were asked for."""
    if isinstance(value, str):
        return choice("schema", value, ["auto", "infer", "openapi"]), None
    if isinstance(value, pl.Struct):
        value = value.to_schema()
    if not isinstance(value, Mapping):
        msg = (
            "schema must be 'auto', 'infer', 'openapi', a Schema, a Struct or a dict, "
            f"not {type(value).__name__}"
        )
        raise EdFiError(msg)
    return "given", pl.DataFrame(schema=dict(value))
