"""tha-edfi-runner, which works on lists of row dicts, and a frame of what it brings."""

import polars as pl
from common.work import KEY, Call, Work
from tha_edfi_runner import ThaEdfiBase, ThaStudentAssessment


def get_all(work: Work) -> Call:
    districts = work.read_districts()
    runner = ThaStudentAssessment(api_version="v3")

    def call() -> pl.DataFrame:
        records = runner.batch_get_all(
            districts, key_col=KEY, limit=work.limit, workers=work.workers
        )
        return pl.json_normalize(records, infer_schema_length=None)

    return call


def post(work: Work) -> Call:
    rows = work.read_rows().to_dicts()
    runner = ThaStudentAssessment(api_version="v3")
    return lambda: pl.DataFrame(
        runner.batch_post_payload(
            rows, payload_col="payload", key_col="key", workers=work.workers, commit=True
        ),
        infer_schema_length=None,
    )


def get_by_id(work: Work) -> Call:
    rows = work.read_rows().to_dicts()
    runner = ThaStudentAssessment(api_version="v3")

    def call() -> pl.DataFrame:
        items = runner.batch_get_by_id(rows, id_col="id", workers=work.workers)
        return pl.json_normalize([item["data"] for item in items], infer_schema_length=None)

    return call


def tokens(work: Work) -> Call:
    accounts = work.read_accounts()
    runner = ThaEdfiBase()
    return lambda: pl.DataFrame(
        runner.batch_fetch_tokens(
            accounts, oauth_endpoint="oauth/token", account_col=KEY, workers=work.workers
        )
    )
