"""Many items at once: workers, renewals, wrong arguments, Ctrl-C, progress."""

import itertools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, interruptible
from polars.exceptions import ColumnNotFoundError, SchemaError

import polars_edfi as edfi
from items.support import delete, frame, hold, read, single


def test_tokens_are_renewed(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    hold(ods, *({"id": str(n)} for n in range(10)))
    ods.secret = "items:renewed"
    cells = {"EdFi Token": "old", "oAuthKey": "items", "oAuthSecret": "renewed"}
    df = frame(ods, [str(n) for n in range(10)], **cells)
    arguments = {
        "auth_key_col": "oAuthKey",
        "auth_secret_col": "oAuthSecret",
        "oauth_endpoint": "oauth/token",
    }
    assert read(runner, df)["message"].unique().to_list() == ["auth error: HTTP 401"]
    assert read(runner, df, **arguments)["status"].null_count() == 10
    assert delete(runner, df, **arguments)["status"].unique().to_list() == ["deleted"]
    assert ods.items == {}


@pytest.mark.parametrize(("workers", "rows"), [(1, 21), (7, 21), (8, 64)])
def test_so_many_requests_are_in_flight(
    ods: ScriptedOds, runner: edfi.StudentAssessment, workers: int, rows: int
) -> None:
    barrier = threading.Barrier(workers)

    def script(request: Request) -> Answer:
        barrier.wait(30)
        name = request.path.rpartition("/")[2]
        return Answer(200, {"id": name}) if request.method == "GET" else Answer(204)

    ods.script, ods.one_at_a_time = script, False
    df = frame(ods, [f"{n}" for n in range(rows)])
    out = read(runner, df, workers=workers, flatten=True)
    assert out["id_record"].to_list() == df["id"].to_list()
    out = delete(runner, df, workers=workers)
    assert out["id"].to_list() == df["id"].to_list()


def test_thousands_of_items_of_many_shapes(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    """Chunks of records are decoded apart, and still make one frame."""
    items = [
        {"id": str(n), f"only {n // 500}": n, "v": n if n < 900 else f"t{n}"} for n in range(1200)
    ]
    hold(ods, *items)
    out = read(runner, frame(ods, [item["id"] for item in items]), workers=4, flatten=True)
    assert out["id_record"].to_list() == [item["id"] for item in items]
    assert out["v"].to_list() == [str(item["v"]) for item in items]
    assert out["only 1"].drop_nulls().to_list() == list(range(500, 1000))


def test_one_item_that_cannot_be_decoded_spoils_no_other(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    hold(ods, *({"id": str(n)} for n in range(600)))
    ods.items["17"] = b'{"a": "\xff"}'
    ods.items["555"] = b'{"a":' * 200 + b"1" + b"}" * 200
    out = read(runner, frame(ods, [str(n) for n in range(600)]))
    bad = out.filter(pl.col("status") == "error")
    assert bad["row_index"].to_list() == [17, 555]
    assert bad["http_status"].to_list() == [200, 200]
    assert bad["data"].to_list() == [None, None]


@pytest.mark.parametrize("call", [read, delete])
@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ColumnNotFoundError, {"id_col": "nope"}),
        (ColumnNotFoundError, {"url_col": "nope"}),
        (ColumnNotFoundError, {"token_col": "nope"}),
        (ColumnNotFoundError, {"row_id_col": "nope"}),
        (ColumnNotFoundError, {"status_col": "nope"}),
        (SchemaError, {"id_col": "list"}),
        (SchemaError, {"url_col": "key"}),
        (edfi.EdFiError, {"workers": 0}),
        (edfi.EdFiError, {"refresh_cooldown": float("nan")}),
        (edfi.EdFiError, {"endpoint": "a b"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)
def test_wrong_arguments_raise_before_anything_is_sent(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    call: Callable[..., pl.DataFrame],
    error: type[Exception],
    arguments: dict[str, Any],
) -> None:
    df = frame(ods, ["a", "b"]).with_columns(list=pl.lit([1]))
    with pytest.raises(error):
        call(runner, df, **arguments)
    if call is delete:
        with pytest.raises(error):
            call(runner, df, commit=False, **arguments)
    assert ods.requests == []


def test_other_wrong_arguments(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = frame(ods, ["a"])
    with pytest.raises(ColumnNotFoundError):
        delete(runner, df, key_col="nope")
    for schema in (1, {"a": "nonsense"}, "all"):
        with pytest.raises((edfi.EdFiError, TypeError)):
            read(runner, df, schema=schema)
    for call in (read, delete):
        with pytest.raises(TypeError, match="collect"):
            call(runner, df.lazy())
    assert ods.requests == []


@pytest.mark.parametrize("call", [read, delete])
def test_ctrl_c_accounts_for_every_row(
    ods: ScriptedOds, runner: edfi.StudentAssessment, call: Callable[..., pl.DataFrame]
) -> None:
    over = threading.Event()
    with interruptible() as seen:

        def script(request: Request) -> Answer:
            if request.path.endswith("2"):
                os.kill(os.getpid(), signal.SIGINT)
                # A write in flight is waited for, a read is not.
                assert (over if request.method == "GET" else seen).wait(30)
            return Answer(200, "{}") if request.method == "GET" else Answer(204)

        ods.script = script
        try:
            with pytest.raises(KeyboardInterrupt):
                call(runner, frame(ods, list("0123456")), workers=1)
        finally:
            over.set()
    assert runner.rows is not None
    assert runner.rows["id"].to_list() == list("0123456")
    in_flight = "interrupted" if call is read else None
    expected = [None, None, in_flight] + ["not sent: interrupted"] * 4
    assert runner.rows["message"].to_list() == expected
    assert len(ods.requests) == 3


@pytest.mark.parametrize("name", ["get_by_id", "delete_by_id"])
def test_ctrl_c_in_a_single_call(ods: ScriptedOds, name: str) -> None:
    arguments: dict[str, Any] = {} if name == "get_by_id" else {"key": 1, "commit": True}
    with interruptible() as seen:

        def script(_: Request) -> Answer:
            os.kill(os.getpid(), signal.SIGINT)
            assert seen.wait(30)
            return Answer(200, "{}")

        ods.script = script
        with pytest.raises(KeyboardInterrupt):
            getattr(single(ods), name)("a", **arguments)


def test_progress(
    ods: ScriptedOds, runner: edfi.StudentAssessment, capsys: pytest.CaptureFixture[str]
) -> None:
    df = frame(ods, ["a", "b"])
    for call in (read, delete):
        call(runner, df, show_progress=True, progress_desc="[1/2]")
        assert "[1/2]: " in (err := capsys.readouterr().err)
        assert "2/2" in err


def test_a_server_that_closes_each_tenth_connection(ods: ScriptedOds) -> None:
    """Reads and deletes are sent again by themselves."""
    hold(ods, *({"id": str(n)} for n in range(60)))
    count = itertools.count(1)
    ods.script = lambda _: None if next(count) % 10 else Answer(close=True)
    client = edfi.StudentAssessment(api_version="v3", max_retries=4)
    df = frame(ods, [str(n) for n in range(60)])
    assert read(client, df)["status"].null_count() == 60
    assert delete(client, df)["status"].to_list() == ["deleted"] * 60
