"""Wrong calls raise where they are written; wrong columns when the query runs."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from conftest import ScriptedOds

import polars_edfi as edfi
from expressions.support import ENGINES, payloads

BARE = edfi.EdFiClient()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: edfi.post_payload("p"), "url is missing"),
        (lambda: edfi.post_payload("p", url="u"), "token is missing"),
        (edfi.get_all, "url is missing"),
        (lambda: edfi.get_all(client=BARE), "url is missing"),
        (lambda: edfi.get_all("u", client=BARE), "token is missing"),
        (lambda: edfi.get_by_id("p", url="u", token="t", workers=0), "workers"),
        (lambda: edfi.get_by_id("p", url="u", token="t", workers=True), "workers"),
        (lambda: edfi.get_by_id("p", url="u", token="t", client="c"), "client must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", endpoint="a/../b"), "endpoint"),
        (lambda: edfi.get_by_id("p", url="u", token="t", schema="infer"), "schema must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", schema={}), "schema must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", schema={"a": pl.Binary}), "Binary|binary"),
        (lambda: edfi.get_by_id(1, url="u", token="t"), "id must be"),
        (lambda: edfi.get_by_id("p", url="u", token="t", api_version=7.1), "api_version"),
        (lambda: edfi.get_all("u", token="t", limit=0), "limit"),
        (lambda: edfi.get_all("u", token="t", params={"a": []}), "params"),
        (lambda: edfi.post_payload("p", url="u", token="t", retry_statuses=[401]), "401"),
        (lambda: edfi.post_payload("p", url="u", token="t", retry_backoff=-1), "retry_backoff"),
        (
            lambda: edfi.post_payload("p", url="u", token="t", retry_backoff=float("nan")),
            "retry_backoff",
        ),
        (lambda: edfi.post_payload("p", url="u", token="t", max_retries=-1), "max_retries"),
        (
            lambda: edfi.fetch_token("u", client_id="k", client_secret="s", oauth_endpoint=1),
            "oauth",
        ),
    ],
)
def test_wrong_calls_raise_where_they_are_written(wrong: Callable[[], pl.Expr], text: str) -> None:
    with pytest.raises(edfi.EdFiError, match=text):
        wrong()


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unknown"):
        edfi.get_all("u", token="t", unknown=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown"):
        pl.col("u").edfi.get_all(token="t", unknown=1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_of_a_wrong_type_raise(ods: ScriptedOds, engine: Any) -> None:
    lf = payloads(ods, 2).lazy().with_columns(id=pl.lit([1]))
    for call in [
        edfi.post_payload("n", url="targetUrl", token="EdFi Token", commit=True),
        edfi.get_by_id("payload", url="n", token="EdFi Token"),
        edfi.get_by_id("id", url="targetUrl", token="EdFi Token"),
        edfi.delete_by_id("payload", url="targetUrl", token="n", commit=True),
    ]:
        with pytest.raises(pl.exceptions.ComputeError, match=r"must be String|a key is"):
            lf.select(call).collect(engine=engine)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        lf.select(edfi.get_by_id("nothing", url="targetUrl", token="EdFi Token")).collect(
            engine=engine
        )
    assert ods.requests == []


def test_every_dtype_is_an_answer_or_an_error() -> None:
    code = """
import datetime as dt, decimal
import polars as pl
import polars_edfi as edfi

columns = [
    pl.Series("a", [None, None]),
    *(pl.Series("a", [1, None], dtype=dtype) for dtype in [
        pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128,
        pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128,
    ]),
    *(pl.Series("a", [1.5, None], dtype=dtype) for dtype in [pl.Float16, pl.Float32, pl.Float64]),
    pl.Series("a", [True, None]),
    pl.Series("a", ["x", None]),
    pl.Series("a", ["x", None], dtype=pl.Categorical),
    pl.Series("a", ["x", None], dtype=pl.Enum(["x"])),
    pl.Series("a", [b"x", None]),
    pl.Series("a", [dt.date(2024, 1, 1), None]),
    pl.Series("a", [dt.time(1), None]),
    pl.Series("a", [dt.datetime(2024, 1, 1), None]),
    pl.Series("a", [dt.datetime(2024, 1, 1), None]).dt.replace_time_zone("Europe/Berlin"),
    pl.Series("a", [dt.timedelta(1), None]),
    pl.Series("a", [decimal.Decimal("1.5"), None]),
    pl.Series("a", [[1], None]),
    pl.Series("a", [[1], None], dtype=pl.Array(pl.Int64, 1)),
    pl.Series("a", [{"x": 1}, None]),
    pl.Series("a", [object(), None], dtype=pl.Object),
]
client = edfi.EdFiClient(base_url="http://127.0.0.1:9", bearer_token="t", max_retries=0)
calls = {
    "payload": edfi.post_payload("a", client=client),
    "post url": edfi.post_payload("b", url="a", token="b"),
    "post token": edfi.post_payload("b", url="b", token="a"),
    "id": edfi.get_by_id("a", client=client),
    "id typed": edfi.get_by_id("a", client=client, schema={"x": pl.Int64}),
    "get url": edfi.get_by_id("b", url="a", token="b"),
    "delete": edfi.delete_by_id("a", client=client),
    "all": edfi.get_all("a", token="b"),
    "all typed": edfi.get_all("b", token="a", schema={"x": pl.Int64}),
    "token": edfi.fetch_token("a", client_id="b", client_secret="b"),
    "secret": edfi.fetch_token("b", client_id="b", client_secret="a"),
}
for column in columns:
    df = pl.DataFrame([column, pl.Series("b", ["y", "y"])])
    for name, call in calls.items():
        for frame in [df, df.clear()]:
            try:
                out = frame.select(call)
            except Exception as error:
                assert "panic" not in str(error).lower(), (name, column.dtype, error)
            else:
                assert out.width == 1, (name, column.dtype)
                assert out.height in (0, 2), (name, column.dtype)
print("done", len(columns))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stderr.decode()[-3000:]
    assert run.stdout.split()[0] == b"done"
    assert int(run.stdout.split()[1]) > 28
