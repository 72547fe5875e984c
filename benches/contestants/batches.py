"""This project: frames in, frames out."""

import polars as pl
from common.work import KEY, Call, Work

import polars_edfi as edfi


def get_all(work: Work) -> Call:
    districts = pl.DataFrame(work.read_districts())
    client = edfi.StudentAssessment(api_version="v3")
    return lambda: client.batch_get_all(
        districts, key_col=KEY, limit=work.limit, workers=work.workers, schema="infer"
    )


def post(work: Work) -> Call:
    rows = work.read_rows()
    client = edfi.StudentAssessment(api_version="v3")
    return lambda: client.batch_post_payload(
        rows, payload_col="payload", key_col="key", workers=work.workers, commit=True
    )


def get_by_id(work: Work) -> Call:
    rows = work.read_rows()
    client = edfi.StudentAssessment(api_version="v3")
    return lambda: client.batch_get_by_id(rows, id_col="id", workers=work.workers, flatten=True)


def tokens(work: Work) -> Call:
    accounts = pl.DataFrame(work.read_accounts())
    client = edfi.EdFiClient()
    return lambda: client.batch_fetch_tokens(
        accounts, oauth_endpoint="oauth/token", account_col=KEY, workers=work.workers
    )
