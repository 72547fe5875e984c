"""This project, as a lazy frame that is collected."""

import polars as pl
from common.work import KEY, RESOURCE, Call, SkipError, Work

import polars_edfi as edfi

ENDPOINT = RESOURCE.removeprefix("data/v3/")


def get_all(work: Work) -> Call:
    if not hasattr(edfi, "scan"):
        msg = "there is no edfi.scan here"
        raise SkipError(msg)
    rows = work.read_districts()
    if len(rows) > 1:
        districts = pl.DataFrame(rows)
        client = edfi.EdFiClient(api_version="v3")
        # Not in the call: Polars imports PyArrow with the first scan, where that is installed.
        scanned = edfi.scan_all(
            districts,
            ENDPOINT,
            key_col=KEY,
            client=client,
            schema="infer",
            limit=work.limit,
            workers=work.workers,
        )
        return scanned.collect
    client = edfi.EdFiClient(
        base_url=rows[0]["targetUrl"], bearer_token=work.token, api_version="v3"
    )
    scanned = edfi.scan(
        ENDPOINT, client=client, schema="infer", limit=work.limit, workers=work.workers
    )
    return lambda: scanned.with_columns(pl.lit(rows[0][KEY]).alias(KEY)).collect()
