"""edfi-api-client, which sends one request after another, and a frame of what it brings."""

import logging
from typing import Any

import polars as pl
from common.work import KEY, Call, Work
from edfi_api_client import EdFiClient

# It says at every read that this server has no page tokens.
logging.getLogger("edfi_api_client").setLevel(logging.ERROR)


def connect(url: str, key: str = "key") -> Any:
    """Make a client as its documentation does; this asks the server what it is."""
    client = EdFiClient(url, key, "secret")
    client.connect()
    return client


def get_all(work: Work) -> Call:
    districts = [
        (row[KEY], connect(row["targetUrl"]).resource("student_assessments"))
        for row in work.read_districts()
    ]

    def call() -> pl.DataFrame:
        records = []
        for key, resource in districts:
            for record in resource.get_rows(page_size=work.limit):
                record[KEY] = key
                records.append(record)
        return pl.json_normalize(records, infer_schema_length=None)

    return call


def post(work: Work) -> Call:
    client = connect(work.ods)
    url = client.resource("student_assessments").url
    rows = work.read_rows().select("key", "payload").rows()
    return lambda: pl.DataFrame(
        [
            {"key": key, "http_status": client.session.post_response(url, payload).status_code}
            for key, payload in rows
        ]
    )


def get_by_id(work: Work) -> Call:
    resource = connect(work.ods).resource("student_assessments")
    ids = work.read_rows()["id"].to_list()
    return lambda: pl.json_normalize(
        [resource.get_by_id(id_) for id_ in ids], infer_schema_length=None
    )


def tokens(work: Work) -> Call:
    accounts = work.read_accounts()
    # To name the mode keeps it from asking the server first.
    clients = [
        EdFiClient(row["targetUrl"], row["oAuthKey"], row["oAuthSecret"], api_mode="sandbox")
        for row in accounts
    ]
    return lambda: pl.DataFrame(
        [
            {KEY: row[KEY], "EdFi Token": client.connect().access_token}
            for row, client in zip(accounts, clients, strict=True)
        ]
    )
