"""What changed, merged into a copy as a stream: only the rows that it concerns are held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from polars_edfi._apply import apply_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_edfi._changes import Changes

ID = "id"


@dataclass
class Difference:
    """What became of rows."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    @property
    def written(self) -> int:
        """Rows that are new or changed."""
        return self.added + self.changed

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass
class Merged:
    """A copy with what changed."""

    rows: pl.LazyFrame
    height: int
    difference: Difference
    touched: pl.DataFrame
    """Those of its rows that something concerned, as they are now."""


def merged(
    copy: pl.LazyFrame, changes: Changes, key_fields: Sequence[str] | None, height: int
) -> Merged:
    """Merge what changed into a copy.

    Which rows are concerned, their ids and keys tell; :func:`apply_changes` then does with these
    rows what it would do with the whole copy.
    """
    schema = copy.collect_schema()
    # A part of a key is shared by many records.
    keys = list(key_fields or ()) if set(key_fields or ()) <= set(schema) else []
    ours = copy.select(ID, *keys).collect(engine="streaming")
    narrow = [name for name in (ID, *keys) if name in changes.records.columns]
    about = changes._replace(records=changes.records.select(narrow))
    # Records that lack a column of the key have no key, and cannot replace others by it.
    after = apply_changes(ours, about, key_fields=keys or None)
    ids = pl.concat(
        [
            ours.join(after.select(ID), on=ID, how="anti")[ID],
            changes.records[ID]
            if ID in changes.records.columns
            else pl.Series([], dtype=pl.String),
            changes.key_changes[ID]
            if ID in changes.key_changes.columns
            else pl.Series([], dtype=pl.String),
        ]
    ).unique()
    concerned = ids.filter(ids.is_in(ours[ID].implode())).to_list()
    touched = pl.col(ID).is_in(concerned)
    before = copy.filter(touched).collect(engine="streaming") if concerned else _empty(schema)
    now = apply_changes(before, changes, key_fields=keys or None)
    extra = [
        name for name in now.columns if name not in schema and now[name].null_count() == now.height
    ]
    now = now.drop(extra)
    rest = copy.filter(~touched) if concerned else copy
    if all(now.schema[name] == dtype for name, dtype in schema.items()):
        rows = pl.concat([rest, now.lazy()], how="diagonal")
    else:  # wider columns: all rows are needed
        rows = apply_changes(copy.collect(), changes, key_fields=keys or None).lazy()
    height += now.height - before.height
    return Merged(rows, height, difference(before, now), now)


def _empty(schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(schema=schema)


def difference(before: pl.DataFrame | pl.LazyFrame, now: pl.DataFrame | pl.LazyFrame) -> Difference:
    """Compare rows by their id; a column that is all null is as good as none."""
    ours, theirs = before.lazy(), now.lazy()
    one, two = ours.collect_schema(), theirs.collect_schema()
    if ID not in one or ID not in two:
        return Difference(
            added=theirs.select(pl.len()).collect().item(),
            removed=ours.select(pl.len()).collect().item(),
        )
    common = sorted(set(one) & set(two))
    same = [name for name in common if one[name] == two[name]]
    alone = [
        frame.select(pl.col(n).count().alias(n) for n in names).collect() if names else None
        for frame, names in (
            (ours, sorted(set(one) - set(two))),
            (theirs, sorted(set(two) - set(one))),
        )
    ]
    wider = len(same) < len(common) or any(
        counts is not None and any(counts.row(0)) for counts in alone
    )
    digest = pl.struct(same).hash().alias("digest")
    left = ours.select(ID, digest).collect(engine="streaming")
    right = theirs.select(ID, digest).collect(engine="streaming")
    both = left.join(right, on=ID)
    changed = (
        both.height if wider else both.filter(pl.col("digest") != pl.col("digest_right")).height
    )
    return Difference(
        added=right.height - both.height, changed=changed, removed=left.height - both.height
    )
