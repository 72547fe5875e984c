"""This project, inside a query: one expression per row."""

import polars as pl
from common.work import Call, Work

import polars_edfi as edfi


def post(work: Work) -> Call:
    rows = work.read_rows()
    sent = edfi.post_payload(
        "payload", url="targetUrl", token="EdFi Token", workers=work.workers, commit=True
    )
    return lambda: rows.select("key", sent.alias("sent")).unnest("sent")


def get_by_id(work: Work) -> Call:
    rows = work.read_rows()
    schema = pl.read_parquet_schema(work.schema)
    read = edfi.get_by_id(
        "id", url="targetUrl", token="EdFi Token", workers=work.workers, schema=schema
    )
    return lambda: rows.select(read.alias("read")).unnest("read").unnest("data")
