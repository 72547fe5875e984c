"""Arguments that Python users write in more than one way."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import polars as pl

from polars_edfi._errors import EdFiError

_LEAST_STATUS, _MOST_STATUS = 100, 599
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


def whole(argument: str, value: object, least: int) -> int:
    """Check a whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        msg = f"{argument} must be a whole number >= {least}, got {value!r}"
        raise EdFiError(msg)
    return value


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


def retrying(
    retry_statuses: Collection[int] | None,
    retry_messages: Collection[str] | None,
    allow_statuses: Mapping[int, str | None] | None,
    **plain: Any,
) -> dict[str, Any]:
    """Check what is posted again, and put it together."""
    codes = [] if retry_statuses is None else retry_statuses
    if isinstance(codes, str) or not isinstance(codes, Collection):
        msg = f"retry_statuses must be a collection of HTTP statuses, got {codes!r}"
        raise EdFiError(msg)
    texts = [] if retry_messages is None else retry_messages
    texts = [texts] if isinstance(texts, str) else texts
    if not all(isinstance(text, str) for text in texts):
        msg = f"retry_messages must be a collection of texts, got {texts!r}"
        raise EdFiError(msg)
    allowed = {} if allow_statuses is None else allow_statuses
    if not isinstance(allowed, Mapping):
        msg = f"allow_statuses must map HTTP statuses to row statuses, got {allowed!r}"
        raise EdFiError(msg)
    for code in [*codes, *allowed]:
        if (
            isinstance(code, bool)
            or not isinstance(code, int)
            or not _LEAST_STATUS <= code <= _MOST_STATUS
        ):
            msg = f"retry_statuses and allow_statuses hold HTTP statuses, not {code!r}"
            raise EdFiError(msg)
    if not all(status is None or isinstance(status, str) for status in allowed.values()):
        msg = "allow_statuses maps to row statuses: texts, or None"
        raise EdFiError(msg)
    return plain | {
        "retry_statuses": list(codes),
        "retry_messages": list(texts),
        "allow_statuses": list(allowed.items()),
    }
