"""Functions of frames: flat and nested lazy frames, one row per district."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from conftest import Answer, ScriptedOds, district

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable

NESTED = pl.DataFrame({"ref": [{"id": 1, "link": {"rel": "S"}}, None], "scores": [[3, 4], []]})


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_lazy_frames_come_back_lazy(engine: pl._typing.EngineType) -> None:
    flat = edfi.flatten(NESTED.lazy(), explode="scores")
    assert isinstance(flat, pl.LazyFrame)
    eager = edfi.flatten(NESTED, explode="scores")
    assert flat.collect_schema() == eager.schema
    assert flat.collect(engine=engine).equals(eager)
    assert flat.select("scores").head(1).collect(engine=engine).equals(eager.select("scores")[:1])
    back = NESTED.lazy().edfi.flatten().edfi.unflatten(columns=["ref.id", "ref.link.rel"])  # type: ignore[attr-defined]
    assert back.collect(engine=engine)["payload"].to_list()[0] == {"ref": NESTED["ref"][0]}


def test_a_lazy_frame_is_not_run_to_be_flattened(ods: ScriptedOds) -> None:
    client = edfi.Resource(
        "ed-fi/students", base_url=ods.url, api_version="v3", bearer_token="token"
    )
    schema = {"id": pl.String, "ref": pl.Struct({"name": pl.String})}
    flat = edfi.flatten(edfi.scan("ed-fi/students", client=client, schema=schema))
    assert not ods.requests
    assert flat.collect().height == 3
    wrong = edfi.flatten(NESTED.lazy(), columns="nope")
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="nope"):
        wrong.collect()


def test_summary(make_ods: Callable[..., ScriptedOds]) -> None:
    good, empty, broken = make_ods(3), make_ods(0), make_ods(3)
    broken.script = lambda request: (
        Answer(500, {"detail": "Down.", "correlationId": "c"})
        if request.path.startswith("/data")
        else None
    )
    expired = make_ods(3)
    districts = pl.concat(
        [
            district(good, "good"),
            district(good, "good"),
            district(good, "no token"),
            district(empty, "empty"),
            district(broken, "broken"),
            district(expired, "expired", **{"EdFi Token": "old"}),
            district(good, " "),
        ]
    ).with_columns(
        pl.lit("key").alias("oAuthKey"),
        pl.lit("wrong").alias("oAuthSecret"),
        pl.when(pl.col("District BK") == "no token").then(pl.lit("error")).alias("row status"),
        pl.when(pl.col("District BK") == "no token")
        .then(pl.lit("auth error: HTTP 401: nobody"))
        .alias("message"),
    )
    runner = edfi.Resource("ed-fi/students", api_version="v3", max_retries=0, timeout=10)
    records = runner.batch_get_all(
        districts,
        key_col="District BK",
        schema={"id": pl.String},
        auth_key_col="oAuthKey",
        auth_secret_col="oAuthSecret",
        oauth_endpoint="oauth/token",
        refresh_cooldown=0,
    )
    out = edfi.summary(districts, records, key_col="District BK")
    assert out.schema == {
        "District BK": pl.String,
        "status": pl.String,
        "stage": pl.String,
        "message": pl.String,
        "http_status": pl.Int32,
        "records": pl.UInt32,
    }
    assert out.drop("message").rows() == [
        ("good", None, None, 200, 3),
        ("no token", "error", "token", None, 0),
        ("empty", None, None, None, 0),
        ("broken", "error", "read", 500, 0),
        ("expired", "error", "token", 401, 0),
    ]
    assert out["message"][1] == "auth error: HTTP 401: nobody"
    assert out["message"][3] == "HTTP 500 Internal Server Error: Down."


def test_summary_of_other_keys_and_wrong_frames() -> None:
    told = {"status": [None], "message": [None], "http_status": [200]}
    records = pl.DataFrame({"k": ["7"], **told})
    out = edfi.summary(pl.DataFrame({"k": [7, 8]}), records, key_col="k")
    assert out.select("k", "records").rows() == [(7, 1), (8, 0)]
    told = {"status": ["error"], "message": ["Down."], "http_status": [500]}
    failed = pl.DataFrame({"k": ["7"], **told})
    for dtype in (pl.Float64, pl.Float32):
        numbers = pl.DataFrame({"k": [7, 8]}, schema={"k": dtype})
        out = edfi.summary(numbers, failed, key_col="k")
        assert out.select("k", "status").rows() == [(7, "error"), (8, None)]
        out = edfi.summary(failed.select("k"), numbers[:1].hstack(failed.drop("k")), key_col="k")
        assert out.select("k", "status").rows() == [("7", "error")]
    assert edfi.summary(records[:0], records, key_col="k").height == 0
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="nope"):
        edfi.summary(records, records, key_col="nope")
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="http_status"):
        edfi.summary(records, records.drop("http_status"), key_col="k")
    with pytest.raises(edfi.EdFiError, match="key_col"):
        edfi.summary(records, records, key_col="status")
    with pytest.raises(TypeError, match="dict"):
        edfi.summary({}, records, key_col="k")  # type: ignore[arg-type]


def test_a_name_of_too_many_parts_is_refused() -> None:
    name = ".".join(["a"] * 129)
    with pytest.raises(edfi.EdFiError, match=r"129 parts, more than 128"):
        edfi.unflatten(pl.DataFrame({name: [1]}))
    with pytest.raises(edfi.EdFiError, match=r"129 parts, more than 128"):
        edfi.scan(
            "ed-fi/students",
            client=edfi.EdFiClient(base_url="http://127.0.0.1:1", bearer_token="t"),
            schema={name: pl.Int8},
        )
    deep = ".".join(["a"] * 128)
    assert edfi.flatten(edfi.unflatten(pl.DataFrame({deep: [1]}))).columns == [f"payload.{deep}"]
