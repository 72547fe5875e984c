"""What a copy says of itself: whose it is, and from which change version on it goes on."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import Any

from polars_edfi._errors import EdFiError

FORMAT = 1
OTHER = "other columns"
"""The shape of a copy that somebody has changed."""
NAME = "polars_edfi"
"""The name under which the state stands in a file's or a commit's own metadata."""


class CopyError(EdFiError):
    """A copy that cannot be gone on with."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of the copy of one resource of one ODS, as it stands in the same commit."""

    endpoint: str
    source: str
    """The base URL of the ODS."""
    key: str | None
    """The district's key; none for a client's own ODS."""
    rows: int
    version: int | None
    """Where the next window begins; none where the ODS had no change queries."""
    key_fields: tuple[str, ...] | None
    shape: str
    """How records became columns."""
    people: tuple[str, ...] = ()
    """The resources of people whose ids its rows hold."""
    handled: tuple[str, ...] = ()
    """The changed keys of people that its rows show already."""
    surplus: int = 0
    """How many records more the ODS counts than it gives."""
    columns: str = ""
    """A digest of the columns that the file was written with."""
    stamps: str = ""
    """What its newest rows are known by, in Base64."""

    @property
    def known(self) -> bytes:
        """What its newest rows are known by."""
        try:
            return base64.b64decode(self.stamps)
        except ValueError:
            return b""

    def with_stamps(self, stamps: bytes) -> State:
        """Give the same state, with other rows known."""
        return replace(self, stamps=base64.b64encode(stamps).decode())

    def to_json(self) -> str:
        """Give the text that stands in the metadata."""
        values = {name: getattr(self, name) for name in NAMES}
        return json.dumps({"format": FORMAT} | values, separators=(",", ":"))


def number_of(shape: str) -> int:
    """Give a number that stands for a shape, where a text would not last."""
    return int.from_bytes(hashlib.sha256(shape.encode()).digest()[:7])


def digest_of(number: int) -> str:
    """Give what stands for a shape of which only this number is left."""
    return f"{number:x}"


NAMES = tuple(field.name for field in fields(State))
LISTS = ("key_fields", "people", "handled")


def from_json(text: str, where: str) -> State:
    """Read a state; one of a later version is refused, and so is what is none."""
    try:
        found: dict[str, Any] = json.loads(text)
        written = found.pop("format")
    except (ValueError, TypeError, AttributeError, KeyError):
        msg = f"{where} is damaged: it does not say what it is a copy of; remove it to read it anew"
        raise CopyError(msg) from None
    if not isinstance(written, int) or written > FORMAT:
        msg = (
            f"{where} was written by a later version of polars-edfi (format {written}); update it,"
            " or copy into another folder"
        )
        raise CopyError(msg)
    for name in LISTS:
        if found.get(name) is not None:
            found[name] = tuple(found[name])
    try:
        # An earlier version may have said more.
        return State(**{name: found[name] for name in NAMES if name in found})
    except TypeError:
        msg = f"{where} is damaged: its state lacks something; remove it to read it anew"
        raise CopyError(msg) from None


def check_owner(state: State, endpoint: str, source: str, key: str | None, where: str) -> None:
    """Refuse the copy of another resource, ODS or district."""
    mine = (endpoint, source, key)
    its = (state.endpoint, state.source, state.key)
    if mine != its:
        names = ("resource", "ODS", "district")
        what = next(
            f"{name} {was!r}, not {is_!r}"
            for name, was, is_ in zip(names, its, mine, strict=True)
            if was != is_
        )
        msg = f"{where} is a copy of the {what}; remove it, or copy into another folder"
        raise CopyError(msg)
