"""The options of a Spark source: texts by name, as Spark has them, and what they mean."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from polars_edfi import _native
from polars_edfi._errors import EdFiError, UnknownOptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Nobody looks at a task's bar.
BARS = {"show_progress", "progress_desc", "label"}
#: Rows are Spark's own to filter and to explode.
WITHOUT = {*BARS, "row_id_col", "pushdown", "explode"}
CLIENT = _native.defaults("EdFiClient")
READ = {name: at for name, at in _native.defaults("scan_all").items() if name not in WITHOUT}
WRITE = {
    name: at
    for name, at in _native.defaults("batch_post_payload").items()
    if name not in {*BARS, "endpoint"}
}
#: What the job itself is told, and not a call of it.
JOB_READ = {"endpoint": None, "columns": None, "partitions": None, "tasks": None}
JOB_WRITE = {
    "endpoint": None,
    "payload_col": None,
    "key_col": None,
    "results": None,
    "job": None,
    "tasks": None,
}
STREAM = {"overlap": None, "start_version": None, "stream": False}
#: Whose default does not tell what they are.
KINDS: dict[str, type] = {
    "max_rate": float,
    "min_change_version": int,
    "max_change_version": int,
    "resend_after": float,
    "partitions": int,
    "tasks": int,
    "overlap": int,
    "start_version": int,
}
#: What nobody but the ODS may read.
SECRETS = {"client_secret", "bearer_token", "headers"}
LISTS = {"columns", "explode", "skip_statuses", "retry_messages"}


def parse(given: Mapping[str, str], *known: Mapping[str, Any], path: bool = True) -> dict[str, Any]:
    """Give the options by their own names, as values; an unknown one names the nearest.

    Spark's users write ``baseUrl`` where Python's write ``base_url``: both are the same.
    """
    defaults = {name: default for some in known for name, default in some.items()}
    names = {_plain(name): name for name in defaults}
    values: dict[str, Any] = {}
    for given_name, text in given.items():
        name = "endpoint" if path and given_name == "path" else names.get(_plain(given_name))
        if name is None:
            raise UnknownOptionError(_unknown(given_name, names))
        if name in values:
            msg = f"option {name!r} is given twice"
            raise EdFiError(msg)
        values[name] = _value(name, text, defaults[name])
    return values


def said(given: Mapping[str, Any], *known: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a call in Python was told; ``None`` is the default of what is known."""
    values = parse(given, *known, path=False)
    return {name: value for name, value in values.items() if value is not None}


def refuse_secrets(given: Mapping[str, str]) -> None:
    """Refuse options that hold a secret, where Spark shows options."""
    plain = {_plain(name): name for name in SECRETS}
    for name in given:
        if (secret := plain.get(_plain(name))) is not None:
            msg = (
                f"option {secret!r}: Spark Connect writes the options of a query into its event "
                f"log and UI, where this one now stands: give it to register(session, "
                f"{secret}=...), and have a new one made"
            )
            raise EdFiError(msg)


def of(values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the options that a call takes."""
    return {name: value for name, value in values.items() if name in known}


def at_least_one(values: Mapping[str, Any], *names: str) -> None:
    """Refuse numbers below 1."""
    for name in names:
        value = values.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            msg = f"option {name!r} must be at least 1, got {value!r}"
            raise EdFiError(msg)


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _unknown(name: str, names: Mapping[str, str]) -> str:
    nearest = difflib.get_close_matches(_plain(name), names, n=1)
    meant = (
        f"did you mean {names[nearest[0]]!r}?" if nearest else f"there are {sorted(names.values())}"
    )
    return f"unknown option {name!r}; {meant}"


def _value(name: str, text: object, default: object) -> Any:
    kind = KINDS.get(name, type(default))
    if not isinstance(text, str) or kind is str:
        return text
    if name in LISTS and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.strip().lower()]
        if kind in (int, float):
            return kind(text)
        is_json = name in LISTS or text.lstrip()[:1] in ("{", "[")
        value = json.loads(text) if is_json else text
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "an integer", float: "a number"}.get(kind, "JSON")
        # The text may be a secret.
        msg = f"option {name!r} must be {wanted}"
        raise EdFiError(msg) from None
    if name == "allow_statuses" and isinstance(value, dict):
        return {int(status): row_status for status, row_status in value.items()}
    return value
