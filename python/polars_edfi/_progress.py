"""Bars for calls that take a while."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Protocol


class Watched(Protocol):
    """What can tell how far it is."""

    def progress(self) -> tuple[int, int, int]:
        """Tell how much is done, of how much, and how many records were read."""


EVERY = 0.1
"""Seconds between two looks at a call."""
LAST = 1.0
"""Seconds that a call waits at most for its bar to be drawn to the end."""


def _tell_total(bar: Any, total: int) -> None:
    bar.total = total
    if hasattr(bar, "container"):
        # A notebook's: its widget was made for a total that is not known, and keeps its own.
        _, widget, _ = bar.container.children
        widget.max, widget.bar_style, widget.layout.width = total, "", None


class Bar:
    """Draws how far a call is until it is closed.

    A thread of its own draws. So what a signal handler raises, which is always in the main thread,
    ends the call, and what drawing raises (no stderr, a full disk, a closed pipe) ends the bar.
    """

    def __init__(self, watched: Watched, text: str, unit: str) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._draw, args=(watched, text, unit), name="polars-edfi-bar", daemon=True
        )
        self._thread.start()

    def _draw(self, watched: Watched, text: str, unit: str) -> None:
        with contextlib.suppress(Exception):
            from tqdm.auto import tqdm

            # With a delay it is not drawn while it is made: there, and without a lock of one's own,
            # an error leaves tqdm's lock taken, for all other bars.
            with tqdm(desc=text, unit=f" {unit}", delay=1e-9) as bar:
                closed = False
                while not closed:
                    closed = self._closed.wait(EVERY)
                    done, total, records = watched.progress()
                    if total and total != bar.total:
                        _tell_total(bar, total)
                    stage = getattr(watched, "stage", None)
                    told = {"records": records or None, "at": stage and stage()}
                    told = {name: value for name, value in told.items() if value is not None}
                    if told:
                        bar.set_postfix(told, refresh=False)
                    bar.n = done
                    with tqdm.get_lock():  # type: ignore[no-untyped-call]
                        bar.refresh(nolock=True)

    def close(self) -> None:
        """Draw it for the last time."""
        self._closed.set()
        self._thread.join(LAST)
