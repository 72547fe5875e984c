"""A model of an ODS for tests of copies: it moves by itself, and knows what is right."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, int]


@dataclass
class Item:
    id: str
    key: Key
    value: int
    version: int


@dataclass
class Write:
    """A transaction that has taken its version, and is not committed yet."""

    kind: str
    id: str
    key: Key
    version: int
    left: int


@dataclass
class Model:
    """One resource: items with natural keys, deletes that hide, key changes, late commits."""

    seed: int
    items: dict[str, Item] = field(default_factory=dict)
    deletes: list[tuple[str, int, Key]] = field(default_factory=list)
    key_changes: list[tuple[str, int, Key, Key]] = field(default_factory=list)
    version: int = 0
    pending: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.made = 0

    def some_key(self) -> Key:
        # Few keys, so that those of deleted items live again.
        return (self.random.choice("abcd"), self.random.randint(1, 4))

    def step(self) -> None:
        """Let somebody write; what began before may be committed now."""
        for write in self.pending:
            write.left -= 1
        for write in [write for write in self.pending if write.left <= 0]:
            self.pending.remove(write)
            self.commit(write)
        locked = {write.id for write in self.pending}
        taken = {item.key for item in self.items.values()} | {w.key for w in self.pending}
        free = [item for item in self.items.values() if item.id not in locked]
        kind = self.random.choices(
            ["insert", "edit", "delete", "rename", "remake"], [5, 4, 4, 3, 2]
        )[0]
        item = self.random.choice(free) if free else None
        key = self.some_key()
        self.version += 1
        late = self.random.randint(1, 6) if self.random.random() < 0.2 else 0
        if kind == "insert" and key not in taken:
            self.made += 1
            write = Write("insert", f"{self.made:032x}", key, self.version, late)
        elif kind in ("edit", "delete") and item:
            write = Write(kind, item.id, item.key, self.version, late)
        elif kind == "rename" and item and key not in taken:
            write = Write("rename", item.id, key, self.version, late)
        elif kind == "remake" and item:
            self.commit(Write("delete", item.id, item.key, self.version, 0))
            self.version += 1
            self.made += 1
            write = Write("insert", f"{self.made:032x}", item.key, self.version, late)
        else:
            return
        self.pending.append(write) if late else self.commit(write)

    def commit(self, write: Write) -> None:
        value = self.random.randint(0, 999)
        if write.kind == "insert":
            self.items[write.id] = Item(write.id, write.key, value, write.version)
        elif write.kind == "delete":
            gone = self.items.pop(write.id)
            self.deletes.append((gone.id, write.version, gone.key))
        else:
            item = self.items[write.id]
            if write.kind == "rename":
                self.key_changes.append((item.id, write.version, item.key, write.key))
            self.items[write.id] = Item(item.id, write.key, value, write.version)

    def settle(self) -> None:
        for write in self.pending:
            self.commit(write)
        self.pending = []

    def records(self, low: int, high: int) -> list[dict[str, Any]]:
        items = sorted(self.items.values(), key=lambda item: item.id)
        return [row(item) for item in items if low <= item.version <= high]

    def told_deletes(self, low: int, high: int) -> list[dict[str, Any]]:
        """Deletes of a range, but those whose key lives again."""
        alive = {item.key for item in self.items.values()}
        return [
            {"id": id_, "changeVersion": version, **named("keyValues.", key)}
            for id_, version, key in self.deletes
            if low <= version <= high and key not in alive
        ]

    def told_key_changes(self, low: int, high: int) -> list[dict[str, Any]]:
        """Of each item the first and the last key of a range."""
        told: dict[str, dict[str, Any]] = {}
        for id_, version, old, new in sorted(self.key_changes, key=lambda one: one[1]):
            if low <= version <= high:
                one = told.setdefault(id_, {"id": id_, **named("oldKeyValues.", old)})
                one |= {"changeVersion": version, **named("newKeyValues.", new)}
        return list(told.values())


def row(item: Item) -> dict[str, Any]:
    return {"id": item.id, "name": item.key[0], "ref.n": item.key[1], "value": item.value}


def named(prefix: str, key: Key) -> dict[str, Any]:
    return {f"{prefix}name": key[0], f"{prefix}n": key[1]}
