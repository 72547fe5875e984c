"""The namespaces of frames, and sinks."""

import os
import signal
from typing import Any

import polars as pl
import pytest
from conftest import Request, ScriptedOds

import polars_edfi as edfi
from expressions.support import ENGINES, ids, payloads, sent


def test_frames_have_the_namespace() -> None:
    df = pl.DataFrame({"ref": [{"id": 1}], "n": [2]})
    flat = df.edfi.flatten()  # type: ignore[attr-defined]
    assert flat.columns == ["ref.id", "n"]
    assert flat.edfi.unflatten()["payload"].to_list() == [{"ref": {"id": 1}, "n": 2}]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sink_sends_each_row_once(ods: ScriptedOds, monkeypatch: Any, engine: Any) -> None:
    monkeypatch.setattr("polars_edfi._namespaces.CHUNK", 60)
    pl.Config.set_engine_affinity(engine)
    try:
        df = payloads(ods).with_columns(key=pl.col("n") * 2)
        lf = df.lazy().filter(pl.col("n") >= 50)
        out = lf.edfi.sink_post_payload(payload_col="payload", key_col="key", commit=True)  # type: ignore[attr-defined]
    finally:
        pl.Config.set_engine_affinity(None)
    assert sent(ods) == list(range(50, 200))
    assert out["key"].to_list() == list(range(100, 400, 2))
    assert out["row_index"].to_list() == list(range(150))
    assert (
        out.schema
        == edfi.StudentAssessment()
        .batch_post_payload(df, payload_col="payload", key_col="key")
        .schema
    )
    assert out["http_status"].unique().to_list() == [201]


def test_a_sink_deletes(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    lf = ids(ods, 30).lazy()
    out = lf.edfi.sink_delete_by_id(client=runner, id_col="id", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert out["status"].unique().to_list() == ["deleted"]
    assert runner.rows is not None
    assert runner.rows.equals(out)
    assert ods.items == {}


def test_a_sink_checks_before_it_begins(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ran = []
    lf = payloads(ods, 3).lazy().map_batches(lambda df: ran.append(1) or df)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        lf.edfi.sink_post_payload(client=runner, payload_col="nothing", key_col="n")  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="unknown"):
        lf.edfi.sink_post_payload(payload_col="payload", key_col="n", unknown=1)  # type: ignore[attr-defined]
    assert ran == []
    out = lf.clear().edfi.sink_post_payload(payload_col="payload", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert out.height == 0
    assert ods.requests == []


def test_a_query_that_fails_leaves_what_was_sent(
    ods: ScriptedOds, runner: edfi.StudentAssessment, monkeypatch: Any
) -> None:
    monkeypatch.setattr("polars_edfi._namespaces.CHUNK", 10)

    def broken(df: pl.DataFrame) -> pl.DataFrame:
        if df["n"].max() >= 40:
            msg = "the query broke"
            raise ValueError(msg)
        return df

    pieces = [payloads(ods)[i : i + 10].lazy() for i in range(0, 60, 10)]
    lf = pl.concat([piece.map_batches(broken, streamable=True) for piece in pieces])
    with pytest.raises(Exception, match="the query broke"):
        lf.edfi.sink_post_payload(client=runner, payload_col="payload", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert runner.rows is not None
    assert runner.rows["key"].to_list() == sent(ods)


def test_a_sink_can_be_interrupted(
    ods: ScriptedOds, runner: edfi.StudentAssessment, monkeypatch: Any
) -> None:
    monkeypatch.setattr("polars_edfi._namespaces.CHUNK", 20)

    def script(_: Request) -> None:
        if len(ods.requests) == 30:
            os.kill(os.getpid(), signal.SIGINT)

    ods.script = script
    lf = payloads(ods, 2_000).lazy()
    with pytest.raises(KeyboardInterrupt) as raised:
        lf.edfi.sink_post_payload(client=runner, payload_col="payload", key_col="n", commit=True)  # type: ignore[attr-defined]
    assert "client.rows" in raised.value.__notes__[0]
    assert runner.rows is not None
    rows = runner.rows
    assert rows.height < 2_000
    assert rows.filter(pl.col("status").is_null())["key"].to_list() == sent(ods)
    assert rows["status"].is_in([None, "error"], nulls_equal=True).all()
