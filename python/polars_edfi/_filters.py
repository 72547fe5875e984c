"""What can be read of a query's filter: equalities and ``is_in``, joined by AND."""

from __future__ import annotations

import polars as pl

#: A filter of more parts is not taken apart to its end.
MOST_PARTS = 100


def parts(predicate: pl.Expr) -> list[pl.Expr]:
    """Take the conjunction apart; what cannot be read is a part."""
    left: list[pl.Expr] = [predicate]
    done: list[pl.Expr] = []
    while left and len(left) + len(done) < MOST_PARTS:
        part = left.pop()
        for one, two in _pairs(part):
            if (one & two).meta.eq(part):
                left += [one, two]
                break
        else:
            done.append(part)
    return done + left


def values(part: pl.Expr) -> pl.DataFrame | None:
    """Give the values of which a row has one, in a column of the name that they have there."""
    inputs = part.meta.pop()
    for column, holds in ((part, True), *((one, False) for one in inputs if len(inputs) == 1)):
        name = _name(column)
        if name is not None and (holds or (~column).meta.eq(part)):
            return pl.DataFrame({name: [holds]})
    for column, value in _pairs(part):
        name = _name(column)
        if name is None or not value.meta.is_literal(allow_aliasing=True):
            continue
        if column.is_in(value).meta.eq(part):
            listed = pl.select(value.alias(name))
            is_list = isinstance(listed.dtypes[0], pl.List | pl.Array)
            if is_list and listed.height == 1:
                listed = listed.explode(name)
            # Rows come value by value; the order of a set is another one in each process.
            return listed.sort(name)
        if (column == value).meta.eq(part) or (value == column).meta.eq(part):
            return pl.select(value.alias(name))
    return None


def chosen(keys: pl.DataFrame, part: pl.Expr) -> list[int] | None:
    """Give the numbers of the rows that fit, where the part is about nothing else."""
    if set(part.meta.root_names()) != set(keys.columns):
        return None
    return keys.select(pl.int_range(pl.len()).filter(part)).to_series().to_list()


def _name(column: pl.Expr) -> str | None:
    """Give the name of a column, where the expression is one and nothing else."""
    name = column.meta.output_name(raise_if_undetermined=False)
    return name if name is not None and pl.col(name).meta.eq(column) else None


def _pairs(part: pl.Expr) -> list[tuple[pl.Expr, pl.Expr]]:
    """Give the two inputs of a part that has two, either way round."""
    match part.meta.pop():
        case [one, two]:
            return [(one, two), (two, one)]
        case _:
            return []


def _is_never(part: pl.Expr) -> bool:
    """Tell whether no row fits, as Polars makes it of ``is_in`` of nothing."""
    return part.meta.is_literal() and pl.select(part.fill_null(False)).item() is False


class Filters:
    """What a scan is told of a filter. An expression that this cannot read is not in it."""

    def __init__(self, predicate: pl.Expr | None, keys: pl.DataFrame | None) -> None:
        self.values: list[pl.DataFrame] = []
        self.districts: list[int] | None = None
        try:
            read = [] if predicate is None else parts(predicate)
        except Exception:  # noqa: BLE001
            # Whatever a version of Polars does here: the filter is applied to what is read.
            return
        for part in read:
            try:
                self._read(part, keys)
            except Exception:  # noqa: BLE001, S112
                continue

    def _read(self, part: pl.Expr, keys: pl.DataFrame | None) -> None:
        if _is_never(part):
            self.districts = []
            return
        numbers = None if keys is None else chosen(keys, part)
        if numbers is not None:
            before = self.districts
            self.districts = [one for one in numbers if before is None or one in before]
            return
        found = values(part)
        if found is not None:
            self.values.append(found)
