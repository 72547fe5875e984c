"""What a call takes: time by the clock and of all cores, and memory."""

import contextlib
import re
import resource
import sys
import time
from pathlib import Path

import polars as pl
from common.work import Call

PROC = Path("/proc/self")


def measured(call: Call) -> tuple[pl.DataFrame, dict[str, float]]:
    """Do it; seconds and bytes."""
    # Where it can be: only what is used from here on counts for the peak.
    with contextlib.suppress(OSError):
        (PROC / "clear_refs").write_text("5")
    before = memory("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    frame = call()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return frame, {"seconds": seconds, "cpu": cpu, "before": before, "peak": memory("VmHWM")}


def memory(name: str) -> int:
    """Read a line of ``/proc/self/status`` in bytes; elsewhere the most there ever was."""
    if (PROC / "status").exists():
        found = re.search(rf"{name}:\s+(\d+) kB", (PROC / "status").read_text())
        if found:
            return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
