"""Bars for calls that take a while."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polars_edfi._native import Call, Pages


@contextmanager
def progress(
    call: Call | Pages, *, show: bool, desc: str | None, label: str | None, default: str, unit: str
) -> Iterator[Callable[[], None] | None]:
    """Yield what to call now and then while ``call`` runs; ``None`` where nothing is shown."""
    if not show:
        yield None
        return
    from tqdm.auto import tqdm

    text = default if label is None else label
    with tqdm(desc=f"{desc}: {text}" if desc else text, unit=f" {unit}") as bar:

        def tick() -> None:
            done, total, records = call.progress()
            if total and bar.total != total:
                bar.total = total
            if records:
                bar.set_postfix(records=records, refresh=False)
            bar.n = done
            bar.refresh()

        try:
            yield tick
        finally:
            tick()
