"""Changed keys of people, which change other resources without a change version there."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polars_edfi._sync.asker import Asker
    from polars_edfi._sync.state import State

PEOPLE = {
    "ed-fi/students": "studentUniqueId",
    "ed-fi/staffs": "staffUniqueId",
    "ed-fi/contacts": "contactUniqueId",
    "ed-fi/parents": "parentUniqueId",
}
UNKNOWN = "_unknown"
FEW = 50
"""So many renamed people have every key that they had looked up."""
MOST_HANDLED = 2_000
"""How many changes a copy remembers to have followed."""


@dataclass(frozen=True)
class Renamed:
    """One change of one person's key."""

    endpoint: str
    id: str
    version: int
    keys: frozenset[str]
    whole: bool
    """Whether these are all keys that the person had meanwhile."""

    @property
    def name(self) -> str:
        """What a copy remembers it by."""
        return f"{self.endpoint}:{self.id}:{self.version}"


@dataclass
class People:
    """The people of one ODS whose keys changed; read when somebody needs to know."""

    asker: Callable[[str], Asker]
    renamed: Sequence[tuple[str, int]]
    """The resources of people, each with the version from which on to look."""
    _found: list[Renamed] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def all(self) -> list[Renamed]:
        """Give all changes since the oldest copy."""
        with self._lock:
            if self._found is None:
                found: list[Renamed] = []
                for endpoint, since in self.renamed:
                    found += _changes(self.asker(endpoint), since)
                self._found = found
            return self._found

    def since(self, state: State, overlap: int) -> list[Renamed]:
        """Give the changes that a copy may not show yet."""
        if not self.renamed:
            return []
        begin = max((state.version or 0) - overlap, 0)
        return [
            one
            for one in self.all()
            if one.version >= begin
            and one.name not in state.handled
            and one.endpoint in state.people
            and one.endpoint != state.endpoint
        ]

    def handled(self, state: State | None, version: int, overlap: int) -> tuple[str, ...]:
        """Give what a copy remembers that shows all of them."""
        if not self.renamed:
            return ()
        names = {one.name for one in self.all() if one.version >= version - overlap}
        if state is not None:
            names |= {
                name for name in state.handled if int(name.rpartition(":")[2]) >= version - overlap
            }
        newest = sorted(names, key=lambda name: int(name.rpartition(":")[2]))
        return tuple(newest[-MOST_HANDLED:])


def _changes(asker: Asker, since: int) -> list[Renamed]:
    """Read the changes of one kind of people.

    A range tells of each person the first and the last key only. Rows that were read between two
    changes hold one between these: it is asked for in the range before the last change.
    """
    name = PEOPLE[asker.endpoint]
    told = asker.key_changes(since)
    old, new = f"oldKeyValues.{name}", f"newKeyValues.{name}"
    if not told.height or old not in told.columns or new not in told.columns:
        return []
    few = told.height <= FEW
    found = []
    for id_, version, first, last in told.select("id", "changeVersion", old, new).iter_rows():
        keys = {first, last} - {None}
        until = version - 1
        while few and until >= since:
            before = asker.keys_before(since, until).filter(id=id_)
            if not before.height or new not in before.columns:
                break
            keys |= set(before.select(old, new).row(0)) - {None}
            until = before["changeVersion"][0] - 1
        found.append(Renamed(asker.endpoint, id_, version, frozenset(map(str, keys)), few))
    return found


def held(schema: pl.Schema, *, in_texts: bool = False) -> tuple[str, ...]:
    """Tell the resources of people whose ids records of these columns hold.

    ``in_texts``: columns were given, and may hold any of them within JSON.
    """
    if in_texts:
        return tuple(PEOPLE)
    names = set()
    for column, dtype in schema.items():
        names |= {_last(column)} | set(_fields(dtype))
    return tuple(endpoint for endpoint, name in PEOPLE.items() if name in names)


def holding(schema: pl.Schema, renamed: Iterable[Renamed], *, in_texts: bool = False) -> pl.Expr:
    """Give what tells the rows that hold a key of one of these people."""
    keys: dict[str, set[str]] = {}
    for one in renamed:
        keys.setdefault(PEOPLE[one.endpoint], set()).update(one.keys)
    hits = [
        hit
        for column, dtype in schema.items()
        for name, values in keys.items()
        if (hit := _hit(pl.col(column), dtype, _last(column), name, sorted(values))) is not None
    ]
    quoted = sorted({json.dumps(key, ensure_ascii=False) for some in keys.values() for key in some})
    hits += [
        pl.col(column).str.contains_any(quoted)
        for column, dtype in schema.items()
        if quoted and dtype == pl.String and (in_texts or column == UNKNOWN)
    ]
    return pl.any_horizontal([hit.fill_null(value=False) for hit in hits] or [pl.lit(value=False)])


def _hit(expr: pl.Expr, dtype: Any, field: str, name: str, keys: list[str]) -> pl.Expr | None:
    if isinstance(dtype, pl.Struct):
        inner = [
            hit
            for part in dtype.fields
            if (hit := _hit(expr.struct.field(part.name), part.dtype, part.name, name, keys))
            is not None
        ]
        return pl.any_horizontal(inner) if inner else None
    if isinstance(dtype, pl.List):
        element = _hit(pl.element(), dtype.inner, field, name, keys)
        return None if element is None else expr.list.eval(element).list.any()
    return expr.cast(pl.String).is_in(keys) if field == name else None


def _fields(dtype: Any) -> list[str]:
    if isinstance(dtype, pl.Struct):
        return [name for part in dtype.fields for name in (part.name, *_fields(part.dtype))]
    return _fields(dtype.inner) if isinstance(dtype, pl.List) else []


def _last(column: str) -> str:
    """Give the last part of a column's name, whatever separates the parts."""
    end = len(column)
    while end and column[end - 1].isalnum():
        end -= 1
    return column[end:]
