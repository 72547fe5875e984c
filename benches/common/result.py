"""What a contestant brought, so that it can be compared."""

import hashlib
import io

import polars as pl
from common.work import KEY, Work

#: What a result of polars-edfi has beside the records.
OWN = ["status", "message", "http_status", "correlation_id", "row_index", "row_id", "id_record"]


def digest(frame: pl.DataFrame, work: Work) -> str:
    """Hash all values that every contestant has to bring, whatever the order of rows and columns.

    Raises
    ------
    ValueError
        Something failed, or the number of rows is not the expected one.
    """
    if "status" in frame.columns:
        failed = frame.filter(pl.col("status") == "error")
        if not failed.is_empty():
            msg = f"{failed.height} rows failed, the first: {failed.row(0, named=True)}"
            raise ValueError(msg)
    expected = work.count if work.job != "get_all" else work.districts * work.records // work.parts
    if frame.height != expected:
        msg = f"{frame.height} rows instead of {expected}"
        raise ValueError(msg)
    if work.job == "post":
        compared = frame.select(pl.col("key", "http_status").cast(pl.Int64)).sort("key")
        compared = compared.head(work.common)
    elif work.job == "tokens":
        compared = frame.select(pl.col(KEY).cast(pl.Int64), "EdFi Token").sort(KEY)
        compared = compared.head(work.common)
    else:
        compared = frame.drop(OWN, strict=False)
        if "_unknown" in compared.columns and compared["_unknown"].null_count() == frame.height:
            compared = compared.drop("_unknown")
        if work.job == "get_by_id":
            taken = pl.read_ndjson(work.rows, n_rows=work.common)
            compared = compared.join(taken, on="id", how="semi")
        compared = compared.sort([name for name in (KEY, "id") if name in compared.columns])
    lines = io.BytesIO()
    compared.select(sorted(compared.columns)).write_ndjson(lines)
    return hashlib.sha256(lines.getvalue()).hexdigest()
