"""A client's own token: renewed by time, kept through failures, shown to nobody else."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from conftest import Answer, Request, ScriptedOds
from items.support import MakeOds

import polars_edfi as edfi
from client.support import post


def owning(ods: ScriptedOds, **settings: Any) -> edfi.StudentAssessment:
    few: dict[str, Any] = {"base_url": ods.url, "api_version": "v3", "max_retries": 1}
    key, _, secret = ods.secret.partition(":")
    return edfi.StudentAssessment(**(few | {"client_id": key, "client_secret": secret} | settings))


def token_requests(ods: ScriptedOds) -> int:
    return len(ods.paths("/oauth"))


def test_a_token_is_renewed_by_time_within_a_call(ods: ScriptedOds) -> None:
    ods.expires_in = 0.2
    pause = threading.Event()

    def script(request: Request) -> Answer | None:
        if request.method == "POST" and request.path != "/oauth/token":
            pause.wait(0.05)
            if len(ods.tokens) > 2 and request.token == "issued-1":
                return Answer(401)
        return None

    ods.script = script
    payloads = [f'{{"n": {n}}}' for n in range(12)]
    out = post(owning(ods), payloads, allow_statuses={401: "warning"})
    assert out["status"].null_count() == 12
    assert token_requests(ods) >= 3


def test_a_token_that_ends_at_once_is_used_all_the_same(ods: ScriptedOds) -> None:
    ods.expires_in = 0
    key, _, secret = ods.secret.partition(":")
    columns = {"targetUrl": ods.url, "oAuthKey": key, "oAuthSecret": secret, "EdFi Token": "dead"}
    df = pl.DataFrame({"id": [str(n) for n in range(10)]}).with_columns(
        **{name: pl.lit(cell) for name, cell in columns.items()}
    )
    out = edfi.StudentAssessment(api_version="v3").batch_get_by_id(
        df,
        id_col="id",
        workers=1,
        auth_key_col="oAuthKey",
        auth_secret_col="oAuthSecret",
        oauth_endpoint="oauth/token",
    )
    assert out["http_status"].to_list() == [404] * 10
    assert token_requests(ods) == 1


def test_a_failure_does_not_throw_a_token_away(ods: ScriptedOds) -> None:
    runner = owning(ods)
    assert runner.fetch_token()["status"] is None
    ods.script = lambda request: Answer(503) if request.path == "/oauth/token" else None
    assert runner.fetch_token()["status"] == "error"
    assert post(runner, ["{}"])["status"].to_list() == [None]
    ods.script = None
    ods.secret = "key:changed"
    assert str(runner.fetch_token()["message"]).startswith("auth error: HTTP 401")
    assert post(runner, ["{}"])["status"].to_list() == ["error"]


def test_one_failure_serves_all_threads_that_wait(ods: ScriptedOds) -> None:
    arrived = threading.Barrier(6)

    def script(request: Request) -> Answer | None:
        return Answer(503) if request.path == "/oauth/token" else None

    ods.script = script
    runner = owning(ods)

    def fetch(_: int) -> str:
        arrived.wait(10)
        message = runner.get_by_id("a")["message"]
        assert isinstance(message, str)
        return message

    with ThreadPoolExecutor(6) as pool:
        messages = list(pool.map(fetch, range(6)))
    assert messages == ["token endpoint: HTTP 503 Service Unavailable"] * 6
    assert token_requests(ods) == 2


def test_own_credentials_do_not_go_to_a_foreign_token_endpoint(
    ods: ScriptedOds, make_ods: MakeOds
) -> None:
    stranger = make_ods()
    df = pl.DataFrame({"account": ["a"]})
    out = owning(ods).batch_fetch_tokens(
        df, oauth_endpoint=f"{stranger.url}/oauth/token", account_col="account"
    )
    assert "own credentials" in out["message"][0]
    assert stranger.requests == []
    out = owning(ods, token_url=f"{stranger.url}/oauth/token").batch_fetch_tokens(
        df, oauth_endpoint=f"{stranger.url}/oauth/token", account_col="account"
    )
    assert out["message"].to_list() == [None]


def test_a_client_that_asks_otherwise_has_a_failure_of_its_own(ods: ScriptedOds) -> None:
    def gateway(request: Request) -> Answer | None:
        return None if request.headers.get("x-gateway") == "pass" else Answer(403)

    ods.script = gateway
    refused = "token endpoint: HTTP 403 Forbidden"
    assert [owning(ods).get_by_id("a")["message"] for _ in range(2)] == [refused] * 2
    assert token_requests(ods) == 1
    assert owning(ods, headers={"X-Gateway": "pass"}).get_by_id("a")["http_status"] == 404
