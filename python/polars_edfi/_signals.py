"""Whom Ctrl-C is for while a query of Polars reads."""

from __future__ import annotations

import signal
import sys
import threading


def is_for_python() -> bool:
    """Tell whether an interrupt is for Python, and none of the threads of Polars takes it.

    So it is where Python's main thread waits for no query of Polars, and where somebody has put a
    handler of their own, which Python runs once the query is done.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return True
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001
    name = "" if frame is None else frame.f_globals.get("__name__", "")
    return not name.startswith("polars.")
