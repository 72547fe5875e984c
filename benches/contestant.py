"""Does one piece of work in one way, in a process of its own, and says what it took.

Usage: ``contestant.py NAME WORK``, where WORK is a JSON object with ``url``, ``token``,
``districts`` and ``workers``. One line of JSON comes back: the seconds of the call, by the
clock and of all cores, its memory in bytes, and what it brought.
"""

import hashlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

KEY = "District BK"
#: What a result of polars-edfi has beside the key and the records.
RESULT_COLUMNS = ("status", "message", "http_status", "correlation_id")

Work = dict[str, Any]


def rows(work: Work) -> list[dict[str, Any]]:
    """Name one row per district, with the columns that all contestants take."""
    parts = work["districts"]
    return [
        {KEY: str(part), "targetUrl": f"{work['url']}/{part}of{parts}", "EdFi Token": work["token"]}
        for part in range(1, parts + 1)
    ]


def polars_edfi(work: Work) -> Callable[[], pl.DataFrame]:
    """Read with this project."""
    import polars_edfi as edfi

    districts = pl.DataFrame(rows(work))
    client = edfi.StudentAssessment(api_version="v3")
    return lambda: client.batch_get_all(
        districts, key_col=KEY, workers=work["workers"], schema="infer"
    )


def row_dicts(work: Work) -> Callable[[], pl.DataFrame]:
    """Read with tha-edfi-runner, and make a frame of its rows."""
    from tha_edfi_runner import ThaStudentAssessment

    districts = rows(work)
    runner = ThaStudentAssessment(api_version="v3")

    def read() -> pl.DataFrame:
        records = runner.batch_get_all(districts, key_col=KEY, workers=work["workers"])
        return pl.json_normalize(records, infer_schema_length=None)

    return read


CONTESTANTS = {"polars-edfi": polars_edfi, "row dicts": row_dicts}


def memory() -> int:
    """Say what the process has in memory now; where that is unknown, the most it ever had."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return peak()


def peak() -> int:
    """Say the most that the process ever had in memory."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def digest(frame: pl.DataFrame) -> dict[str, str]:
    """Hash which records there are, and every value of them, whatever the order of either."""
    failed = frame.filter(pl.col("status") == "error") if "status" in frame.columns else None
    if failed is not None and not failed.is_empty():
        sys.exit(f"a district failed: {failed.row(0, named=True).get('message')}")
    records = frame.drop(RESULT_COLUMNS, strict=False).sort(KEY, "id")
    lines = io.BytesIO()
    records.select(KEY, "id").write_csv(lines)
    ids = hashlib.sha256(lines.getvalue()).hexdigest()
    lines = io.BytesIO()
    records.select(sorted(records.columns)).write_ndjson(lines)
    return {"ids": ids, "values": hashlib.sha256(lines.getvalue()).hexdigest()}


def main() -> None:
    """Measure the contestant and the work that the arguments name."""
    read = CONTESTANTS[sys.argv[1]](json.loads(sys.argv[2]))
    before = memory()
    start, cpu = time.perf_counter(), time.process_time()
    frame = read()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    outcome = {
        "seconds": seconds,
        "cpu": cpu,
        "before": before,
        "peak": peak(),
        "rows": frame.height,
        "columns": len(set(frame.columns).difference([KEY, *RESULT_COLUMNS])),
    }
    print(json.dumps(outcome | digest(frame)))


if __name__ == "__main__":
    main()
