"""Tokens that are refused, over or missing, and their renewal."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi
from writes.support import frame, number, numbered, post

REAUTH = {
    "auth_key_col": "oAuthKey",
    "auth_secret_col": "oAuthSecret",
    "oauth_endpoint": "oauth/token",
}


def test_a_refused_token_without_a_way_to_renew_it(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    out = post(runner, frame(ods, numbered(5), **{"EdFi Token": "old"}))
    assert out["message"].unique().to_list() == ["auth error: HTTP 401"]
    assert out["http_status"].unique().to_list() == [401]
    assert len(ods.requests) == 5


def test_one_renewal_serves_all_workers(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.secret = "one:renewal"
    workers = 6
    barrier = threading.Barrier(workers)

    def script(request: Request) -> Answer | None:
        if request.token == "old":
            barrier.wait(30)
        return None

    ods.script, ods.one_at_a_time = script, False
    cells = {"EdFi Token": "old", "oAuthKey": "one", "oAuthSecret": "renewal"}
    out = post(runner, frame(ods, numbered(30), **cells), workers=workers, **REAUTH)
    assert out["status"].null_count() == 30
    assert out["attempts"].to_list().count(2) == workers
    assert len(ods.paths("/oauth")) == 1
    posted = Counter(request.token == "old" for request in ods.paths())
    assert posted == {True: workers, False: 30}


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("first", ["the same", "old"])
def test_a_row_that_is_refused_does_not_take_its_district_along(
    ods: ScriptedOds, runner: edfi.StudentAssessment, first: str, workers: int
) -> None:
    """Gateways give the same token until it ends."""
    ods.secret = f"gateway:{first}{workers}"
    ods.tokens = {"the same"}

    def script(request: Request) -> Answer | None:
        if request.path == "/oauth/token":
            return Answer(200, {"access_token": "the same", "expires_in": 1800})
        if number(request) in (3, 7, 8):
            return Answer(401, {"detail": "Not this one."})
        return None

    ods.script = script
    cells = {"EdFi Token": first, "oAuthKey": "gateway", "oAuthSecret": f"{first}{workers}"}
    begin = time.monotonic()
    out = post(runner, frame(ods, numbered(40), **cells), workers=workers, **REAUTH)
    refused = [3, 7, 8]
    assert out.filter(pl.col("status") == "error")["key"].to_list() == refused
    assert out["message"].drop_nulls().to_list() == ["auth error: HTTP 401"] * 3
    assert len(ods.items) == 37
    assert len(ods.paths("/oauth")) <= 4
    assert time.monotonic() - begin < 5


def test_tokens_that_are_over_or_missing_are_fetched_first(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.secret = "over:missing"
    past = datetime.now(UTC) - timedelta(seconds=5)
    cells = {"oAuthKey": "over", "oAuthSecret": "missing"}
    for columns in (
        {"EdFi Token": "old", "ends": past},
        {"EdFi Token": "old", "ends": str(past.timestamp())},
        {"EdFi Token": "old", "ends": past.timestamp()},
        {"EdFi Token": None, "ends": None},
        {"EdFi Token": " ", "ends": None},
    ):
        ods.requests.clear()
        df = frame(ods, numbered(4), **(cells | columns)).with_columns(
            pl.col("EdFi Token").cast(pl.String)
        )
        out = post(runner, df, expires_col="ends", **REAUTH)
        assert out["attempts"].to_list() == [1] * 4, columns
        assert all(request.token != "old" for request in ods.paths())


@pytest.mark.parametrize(
    ("cells", "arguments", "message"),
    [
        (
            {"oAuthKey": " "},
            REAUTH,
            "auth error: HTTP 401 (re-auth not possible: empty 'oAuthKey')",
        ),
        (
            {},
            {"auth_key_col": "oAuthKey", "auth_secret_col": "oAuthSecret"},
            "auth error: HTTP 401 (re-auth not possible: oauth_endpoint not set)",
        ),
        (
            {"oAuthSecret": "wrong"},
            REAUTH,
            "auth error: HTTP 401; auth refresh failed: auth error: HTTP 401: invalid_client",
        ),
        (
            {"ends": 1, "oAuthSecret": "wrong"},
            REAUTH | {"expires_col": "ends"},
            "auth refresh failed: auth error: HTTP 401: invalid_client",
        ),
    ],
    ids=str,
)
def test_renewals_that_fail(
    ods: ScriptedOds,
    runner: edfi.StudentAssessment,
    cells: dict[str, object],
    arguments: dict[str, Any],
    message: str,
) -> None:
    cells = {"EdFi Token": "old", "oAuthKey": "failing", "oAuthSecret": "s"} | cells
    ods.secret = "failing:s"
    out = post(runner, frame(ods, ["{}"], **cells), **arguments)
    assert out["status"].item() == "error"
    assert out["message"].item() == message
    sent = "ends" not in cells
    assert out["http_status"].item() == (401 if sent else None)
    assert out["attempts"].item() == int(sent)


def test_a_401_that_is_allowed_is_not_renewed(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.secret = "not:renewed"
    cells = {"EdFi Token": "old", "oAuthKey": "not", "oAuthSecret": "renewed"}
    for status in ("warning", None):
        ods.requests.clear()
        out = post(runner, frame(ods, numbered(3), **cells), allow_statuses={401: status}, **REAUTH)
        assert out["status"].to_list() == [status] * 3
        assert out["message"].to_list() == ["auth error: HTTP 401"] * 3
        assert out["http_status"].to_list() == [401] * 3
        assert len(ods.requests) == 3


def test_tokens_that_are_refused_for_ever_fail_fast(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda request: Answer(401) if request.path.startswith("/data") else None
    ods.secret = "for:ever"
    cells = {"EdFi Token": "old", "oAuthKey": "for", "oAuthSecret": "ever"}
    begin = time.monotonic()
    out = post(
        runner, frame(ods, numbered(200), **cells), refresh_cooldown=0.5, workers=4, **REAUTH
    )
    assert time.monotonic() - begin < 20
    assert out["status"].to_list() == ["error"] * 200
    assert out["message"].str.contains("auth error: HTTP 401").all()
    assert len(ods.paths("/oauth")) < 20
    assert len(ods.paths()) < 40
    paused = out["message"].str.contains(r"refresh paused \d+ s after \d+ failed refreshes")
    assert paused.sum() > 100


def test_a_token_that_no_header_can_carry(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    out = post(runner, frame(ods, ["{}"], **{"EdFi Token": "to\nken-5ecret"}))
    assert out["status"].item() == "error"
    assert "5ecret" not in out["message"].item()
    assert out["attempts"].item() == 0
    assert ods.requests == []
