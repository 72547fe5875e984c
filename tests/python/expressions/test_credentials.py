"""No plan holds a secret."""

import io
import pickle
import subprocess
import sys
from collections.abc import Callable

import polars as pl
import pytest
from conftest import ScriptedOds

import polars_edfi as edfi
from expressions.support import ids

SECRETS = ["the-secret-of-a-client", "the-token-of-a-client"]


def client_with_secrets(ods: ScriptedOds) -> list[edfi.EdFiClient]:
    return [
        edfi.StudentAssessment(base_url=ods.url, client_id="k", client_secret=SECRETS[0]),
        edfi.StudentAssessment(base_url=ods.url, bearer_token=SECRETS[1]),
    ]


def test_plans_hold_no_secret(ods: ScriptedOds) -> None:
    df = pl.DataFrame({"id": ["a"], "payload": ["{}"]})
    for client in client_with_secrets(ods):
        expressions = [
            edfi.post_payload("payload", client=client, commit=True),
            edfi.delete_by_id("id", client=client, commit=True),
            edfi.get_by_id("id", client=client, schema={"id": pl.String}),
            edfi.get_all(client=client),
        ]
        for expr in expressions:
            lf = df.lazy().with_columns(expr.alias("x"))
            written = [
                pickle.dumps(expr),
                pickle.dumps(lf),
                lf.serialize(),
                str(expr).encode(),
                repr(expr).encode(),
                lf.explain().encode(),
                expr.meta.serialize(),
                expr.meta.tree_format(return_as_string=True).encode(),
            ]
            for text in written:
                assert not any(secret.encode() in text for secret in SECRETS)


def test_a_plan_goes_on_in_its_own_process(ods: ScriptedOds) -> None:
    client = edfi.Resource("ed-fi/students", base_url=ods.url, bearer_token="token")
    lf = ids(ods, 2).lazy().select(edfi.get_by_id("id", client=client))
    again = pl.LazyFrame.deserialize(io.BytesIO(lf.serialize()))
    assert again.collect().unnest("id")["http_status"].to_list() == [200, 200]


def test_another_process_says_what_is_missing(ods: ScriptedOds) -> None:
    client = edfi.Resource("ed-fi/students", base_url=ods.url, bearer_token="token")
    lf = ids(ods, 2).lazy().select(edfi.get_by_id("id", client=client))
    code = """
import io, sys
import polars as pl
try:
    pl.LazyFrame.deserialize(io.BytesIO(sys.stdin.buffer.read())).collect()
except pl.exceptions.ComputeError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=lf.serialize(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"lives in another process" in run.stdout
    assert ods.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: edfi.post_payload("p", url="u", token=pl.lit("secret")),
        lambda: edfi.get_by_id("p", url="u", token=pl.lit("sec") + "ret"),
        lambda: edfi.fetch_token("u", client_id="k", client_secret=pl.lit("secret")),
    ],
)
def test_literal_secrets_are_refused(wrong: Callable[[], pl.Expr]) -> None:
    with pytest.raises(edfi.EdFiError, match="column, or give client=") as raised:
        wrong()
    assert "secret'" not in str(raised.value)
