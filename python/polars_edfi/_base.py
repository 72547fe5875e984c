"""What all parts of a client stand on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from polars_edfi import endpoints
from polars_edfi._progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import polars as pl

    from polars_edfi._native import Call, Client

SKIP = ("error", "warning")


class ClientBase:
    """The native client, and the frame of the last batch."""

    rows: pl.DataFrame | None
    _native: Client
    _endpoint: str = endpoints.STUDENT_ASSESSMENTS

    def _finish(self, call: Call, rows: pl.DataFrame) -> pl.DataFrame:
        self.rows = rows
        warn(call)
        raise_if_interrupted(call)
        return rows


def raise_if_interrupted(call: Call) -> None:
    """Raise what Ctrl-C would have, had it come at another time."""
    if call.is_cancelled():
        raise KeyboardInterrupt


def warn(call: Call) -> None:
    """Issue what a call has to say although nothing failed."""
    for text in call.warnings():
        warnings.warn(text, UserWarning, stacklevel=4)


Bar = tuple[bool, str | None, str | None]


def watched(
    call: Call, bar: Bar, default: str, unit: str
) -> AbstractContextManager[Callable[[], None] | None]:
    """Draw the bar of a call if it was asked for: ``(show_progress, progress_desc, label)``."""
    show, desc, label = bar
    return progress(call, show=show, desc=desc, label=label, default=default, unit=unit)
