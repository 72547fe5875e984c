"""Tokens: fetched, kept, renewed, refused."""

import logging
import pickle
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district
from polars.exceptions import ColumnNotFoundError

import polars_edfi as edfi

MakeOds = Callable[..., ScriptedOds]
REAUTH = {"auth_key_col": "key", "auth_secret_col": "secret", "oauth_endpoint": "/oauth/token"}


def accounts(ods: ScriptedOds, *rows: tuple[object, object, object]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=["District BK", "oAuthKey", "oAuthSecret"], orient="row", strict=False
    ).with_columns(targetUrl=pl.lit(ods.url))


def token_requests(ods: ScriptedOds) -> list[Request]:
    return ods.paths("/oauth/token")


def test_a_token_for_each_account(ods: ScriptedOds) -> None:
    client = edfi.EdFiClient()
    df = accounts(
        ods,
        ("a", " key ", "secret"),
        ("b", "key", "wrong"),
        ("a", "key", "secret"),
        (" ", "k", "s"),
        ("c", None, "secret"),
        ("d", "key", ""),
    )
    before = datetime.now(UTC)
    out = client.batch_fetch_tokens(
        df, oauth_endpoint="oauth/token", account_col="District BK", workers=1
    )
    assert out.schema == {
        "District BK": pl.String,
        "oAuthKey": pl.String,
        "EdFi Token": pl.String,
        "token_expires_at": pl.Datetime("us", "UTC"),
        "row status": pl.String,
        "message": pl.String,
    }
    assert out["District BK"].to_list() == ["a", "b", "c", "d"]
    assert out["oAuthKey"].to_list() == ["key", "key", None, "key"]
    assert out["row status"].to_list() == [None, "error", "error", "error"]
    assert out["message"].to_list() == [
        None,
        "auth error: HTTP 401: invalid_client",
        "missing 'oAuthKey'",
        "missing 'oAuthSecret'",
    ]
    assert out["EdFi Token"].to_list()[0] == "issued-1"
    end = out["token_expires_at"][0]
    assert timedelta(0) <= end - before - timedelta(seconds=1800) < timedelta(seconds=30)
    first, *_ = token_requests(ods)
    assert first.basic == "key:secret"
    assert first.body == b"grant_type=client_credentials"
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert client.rows is out


@pytest.mark.parametrize("column", ["targetUrl", "oAuthKey", "oAuthSecret"])
def test_an_account_that_comes_again_as_another_one(make_ods: MakeOds, column: str) -> None:
    ods, other = make_ods(), make_ods()
    df = accounts(
        ods, ("a", "key", "secret"), ("b", "key", "secret"), ("a", "key", None), ("a", "key", None)
    ).with_columns(targetUrl=pl.Series([ods.url, ods.url, f"{ods.url}/ ", None]))
    how: dict[str, Any] = {"account_col": "District BK"}
    client = edfi.EdFiClient()
    # A blank cell says nothing, nor does the way a URL is written.
    out = client.batch_fetch_tokens(df, oauth_endpoint="oauth/token", **how)
    assert out["row status"].to_list() == [None, None]
    df[3, column] = other.url if column == "targetUrl" else "other"
    ods.requests.clear()
    out = client.batch_fetch_tokens(df, oauth_endpoint="oauth/token", **how)
    assert out["District BK"].to_list() == ["a", "b"]
    assert out["row status"].to_list() == ["error", None]
    assert out["EdFi Token"].is_null().to_list() == [True, False]
    assert out["message"][0].startswith("not fetched: this account comes again with another")
    assert f"another '{column}'" in out["message"][0]
    assert len(token_requests(ods)) == 1
    assert not other.requests
    # An absolute endpoint serves all ODSs.
    out = client.batch_fetch_tokens(df, oauth_endpoint=f"{ods.url}/oauth/token", **how)
    assert out["row status"][0] == (None if column == "targetUrl" else "error")


def test_fetching_always_asks(ods: ScriptedOds) -> None:
    client = edfi.EdFiClient(base_url=ods.url, client_id="key", client_secret="secret")
    tokens = [client.fetch_token()["token"] for _ in range(2)]
    assert tokens == ["issued-1", "issued-2"]
    ods.secret = "key:changed"
    assert client.fetch_token() == {
        "token": None,
        "expires_at": None,
        "status": "error",
        "message": "auth error: HTTP 401: invalid_client",
    }


def test_without_auth() -> None:
    assert edfi.EdFiClient().fetch_token()["message"] == "No auth configured."


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, "<html>"), "HTTP 200 OK"),
        (Answer(200, {"token": "x"}), "HTTP 200 OK: the answer holds no access_token"),
        (Answer(302, headers={"location": "/login"}), "HTTP 302 Found"),
        (
            Answer(400, {"error": "invalid_client", "error_description": "secret-secret?"}),
            "HTTP 400 Bad Request: invalid_client; ***?",
        ),
    ],
)
def test_tokens_that_are_none(ods: ScriptedOds, answer: Answer, message: str) -> None:
    ods.script = lambda _: answer
    client = edfi.EdFiClient(base_url=ods.url, client_id="key", client_secret="secret-secret")
    out = client.fetch_token()
    assert out["status"] == "error"
    assert (out["message"] or "").startswith(message)
    assert len(ods.requests) == 1


def test_own_credentials_serve_the_whole_process(ods: ScriptedOds) -> None:
    settings = {"base_url": ods.url, "client_id": "key", "client_secret": "secret"}
    for _ in range(2):
        runner = edfi.StudentAssessment(api_version="v3", **settings)  # type: ignore[arg-type]
        assert runner.get_all(key=1)["status"] is None
        out = runner.batch_get_all(pl.DataFrame({"k": ["x"]}), key_col="k")
        assert out.height == 3
    assert len(token_requests(ods)) == 1
    ods.tokens.clear()
    assert runner.get_all(key=1)["status"] is None
    assert len(token_requests(ods)) == 2


def test_own_credentials_stay_at_home(make_ods: MakeOds) -> None:
    home, other = make_ods(), make_ods()
    runner = edfi.StudentAssessment(
        api_version="v3", base_url=home.url, client_id="key", client_secret="secret"
    )
    df = pl.DataFrame({"k": ["a", "b"], "targetUrl": [home.url, other.url]})
    out = runner.batch_get_all(df, key_col="k")
    assert out["k"].to_list() == ["a"] * 3 + ["b"]
    assert out["message"][3].startswith("missing 'EdFi Token'")
    assert other.requests == []


@pytest.mark.parametrize(
    "expires",
    [
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2020, 1, 1),  # noqa: DTZ001
        1_577_836_800,
        1_577_836_800.5,
        "1577836800",
    ],
)
def test_a_token_whose_time_is_over_is_not_sent(
    ods: ScriptedOds, runner: edfi.StudentAssessment, expires: object
) -> None:
    df = district(ods, key="key", secret="secret", expires=expires)
    out = runner.batch_get_all(df, key_col="District BK", expires_col="expires", limit=1, **REAUTH)
    assert out["status"].null_count() == 3
    assert len(token_requests(ods)) == 1
    assert {request.token for request in ods.paths()} == {"issued-1"}


def test_a_missing_token_is_fetched(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    df = district(ods, key="key", secret="secret").with_columns(
        pl.lit(None, pl.String).alias("EdFi Token")
    )
    assert runner.batch_get_all(df, key_col="District BK", **REAUTH)["status"].null_count() == 3


def test_one_renewal_serves_all_pages(make_ods: MakeOds, runner: edfi.StudentAssessment) -> None:
    ods = make_ods(20)
    df = district(ods, key="key", secret="secret")

    def expire(request: Request) -> Answer | None:
        if request.query.get("offset") == "2":
            ods.tokens.discard("token")
        return None

    ods.script = expire
    out = runner.batch_get_all(df, key_col="District BK", limit=2, **REAUTH)
    assert out["n"].to_list() == list(range(20))
    assert len(token_requests(ods)) == 1


def test_what_cannot_be_renewed_says_why(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.tokens.clear()
    df = district(ods, key=" ", secret="secret")
    out = runner.batch_get_all(df, key_col="District BK", **REAUTH)
    assert out["message"].to_list() == ["auth error: HTTP 401 (re-auth not possible: empty 'key')"]
    df = district(ods, key="key", secret="wrong")
    out = runner.batch_get_all(df, key_col="District BK", **REAUTH)
    assert out["message"].to_list() == [
        "auth error: HTTP 401; auth refresh failed: auth error: HTTP 401: invalid_client"
    ]
    assert out["http_status"].to_list() == [401]
    df = district(ods, key="key", secret="wrong", expires=1)
    out = runner.batch_get_all(df, key_col="District BK", expires_col="expires", **REAUTH)
    assert out["message"].to_list() == ["auth refresh failed: auth error: HTTP 401: invalid_client"]
    assert out["http_status"].to_list() == [None]


def test_tokens_refused_for_ever_fail_fast_after_the_first_pause(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    ods.script = lambda r: Answer(401) if r.path.startswith("/data") else None
    df = pl.concat([district(ods, str(n), key="key", secret="secret") for n in range(8)])
    start = time.monotonic()
    out = runner.batch_get_all(df, key_col="District BK", refresh_cooldown=0.5, workers=1, **REAUTH)
    assert time.monotonic() - start < 30
    assert out["status"].to_list() == ["error"] * 8
    assert all("401" in message for message in out["message"])
    assert "refresh paused" in out["message"][7]
    assert len(token_requests(ods)) <= 6
    tokens = [request.token for request in ods.paths()]
    assert len(tokens) == len(set(tokens)), "a refused token is not sent again"


def test_plain_http_elsewhere_is_refused() -> None:
    with pytest.raises(edfi.EdFiError, match="allow_http"):
        edfi.EdFiClient(base_url="http://ods.example.org")
    with pytest.raises(edfi.EdFiError, match="allow_http"):
        edfi.EdFiClient(
            base_url="https://ods.example.org",
            token_url="http://ods.example.org/token",
            client_id="a",
            client_secret="b",
        )
    edfi.EdFiClient(base_url="http://ods.example.org", allow_http=True)
    df = pl.DataFrame({"k": ["a"], "targetUrl": ["http://ods.example.org"], "EdFi Token": ["t"]})
    out = edfi.StudentAssessment(api_version="v3").batch_get_all(df, key_col="k")
    assert "allow_http" in out["message"][0]


def test_wrong_settings() -> None:
    o = "https://o.org"
    wrong: list[tuple[str, dict[str, object]]] = [
        ("base_url", {"base_url": "ods.example.org"}),
        ("base_url", {"base_url": "ftp://ods.example.org"}),
        ("credentials", {"base_url": "https://user:pa55word@ods.example.org"}),
        ("not both", {"base_url": o, "client_id": "a", "client_secret": "b", "bearer_token": "c"}),
        ("belong together", {"base_url": "https://o.org", "client_id": "a"}),
        ("timeout", {"timeout": -1.0}),
        ("max_retries", {"max_retries": -1}),
        ("ca_certs", {"ca_certs": b"nonsense"}),
        ("ca_certs", {"ca_certs": "/no/such/file"}),
    ]  # fmt: skip
    for text, settings in wrong:
        with pytest.raises(edfi.EdFiError, match=text) as raised:
            edfi.EdFiClient(**settings)  # type: ignore[arg-type]
        assert "pa55word" not in str(raised.value)


def test_nothing_tells_a_secret(
    ods: ScriptedOds, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "a-very-secret-secret"
    ods.secret = f"key:{secret}"
    fails = [Answer(503, headers={"retry-after": "0"})]
    ods.script = lambda _: fails.pop() if fails else None
    runner = edfi.StudentAssessment(
        api_version="v3", base_url=ods.url, client_id="key", client_secret=secret
    )
    result = runner.get_all(key="x")
    assert result["status"] is None
    token = next(request.token for request in ods.paths())
    assert token is not None
    assert any("trying again" in record.message for record in caplog.records)
    with pytest.raises(TypeError, match="pickled") as raised:
        pickle.dumps(runner)
    written = capsys.readouterr()
    for text in [
        repr(runner),
        str(vars(runner)),
        caplog.text,
        written.out,
        written.err,
        str(raised.value),
    ]:
        assert secret not in text
        assert token not in text


def test_missing_columns_of_accounts(ods: ScriptedOds) -> None:
    df = accounts(ods, ("a", "key", "secret"))
    client = edfi.EdFiClient()
    for name in ["oAuthKey", "oAuthSecret", "targetUrl", "District BK"]:
        with pytest.raises(ColumnNotFoundError, match=name):
            client.batch_fetch_tokens(
                df.drop(name), oauth_endpoint="oauth/token", account_col="District BK"
            )
    assert ods.requests == []


@pytest.mark.parametrize("option", ["account_col", "key_col"])
def test_no_result_has_the_column_of_secrets(ods: ScriptedOds, option: str) -> None:
    df = pl.DataFrame({"a": "1", "targetUrl": ods.url, "oAuthKey": "key", "oAuthSecret": "secret"})
    columns = {"account_col": "a"} | {option: "oAuthSecret"}
    with pytest.raises(edfi.EdFiError, match=f"{option}: .*holds the secrets"):
        edfi.EdFiClient().batch_fetch_tokens(df, oauth_endpoint="oauth/token", **columns)
    assert not ods.requests


def test_an_expiry_that_is_a_point_in_time(ods: ScriptedOds) -> None:
    ods.expires_in = 1_900_000_000
    client = edfi.EdFiClient(base_url=ods.url, client_id="key", client_secret="secret")
    assert client.fetch_token()["expires_at"] == datetime.fromtimestamp(1_900_000_000, UTC)


@pytest.mark.parametrize("lifetime", [1e15, 9e18, 2**70, 1e300, "1e400"])
def test_an_end_beyond_all_calendars_is_none(ods: ScriptedOds, lifetime: object) -> None:
    ods.expires_in = lifetime
    client = edfi.EdFiClient(base_url=ods.url, client_id="key", client_secret="secret")
    fetched = client.fetch_token()
    assert (fetched["status"], fetched["token"]) == (None, "issued-1")
    assert fetched["expires_at"].year < 9999
    batch = edfi.EdFiClient().batch_fetch_tokens(
        accounts(ods, ("a", "key", "secret")),
        oauth_endpoint="oauth/token",
        account_col="District BK",
    )
    assert batch["token_expires_at"].to_list()[0].year < 9999


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.fetch_token()["message"],
        lambda client: client.get_by_id("a" * 32)["message"],
        lambda client: client.get_all(key="a")["message"],
    ],
)
def test_nobody_waits_behind_the_patience_of_another_client(
    call: Callable[[edfi.EdFiClient], str],
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, ThreadPoolExecutor() as pool:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        given = {"api_version": "v3", "client_id": "key", "client_secret": "secret"}
        patient = edfi.StudentAssessment(base_url=url, timeout=600, max_retries=0, **given)
        first = pool.submit(patient.fetch_token)
        asked, _ = silent.accept()
        asked.recv(1)
        hasty = edfi.StudentAssessment(base_url=url, timeout=0.3, max_retries=1, **given)
        assert "no byte for 0.3 s" in call(hasty)
        assert not first.done()
        asked.close()
        silent.close()
        assert first.result(60)["status"] == "error"


def test_a_failure_serves_nobody_who_would_wait_longer(ods: ScriptedOds) -> None:
    asked, given_up = ods.hold_first_token()
    given = {"api_version": "v3", "client_id": "key", "client_secret": "secret"}
    hasty = edfi.StudentAssessment(base_url=ods.url, timeout=0.3, max_retries=0, **given)
    patient = edfi.StudentAssessment(base_url=ods.url, timeout=60, max_retries=0, **given)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(hasty.fetch_token)
        assert asked.wait(60)
        second = pool.submit(patient.get_by_id, "a" * 32)
        assert first.result(60)["message"] == "no byte for 0.3 s"
        assert second.result(60)["http_status"] == 404
        # At once, too, and not a second later only.
        assert patient.fetch_token()["token"] == "issued-2"
        given_up.set()


@pytest.mark.parametrize("blank", [None, " "])
@pytest.mark.parametrize("column", ["key", "secret"])
def test_a_row_without_its_credentials_is_not_taken_for_the_client(
    ods: ScriptedOds, column: str, blank: str | None
) -> None:
    runner = edfi.StudentAssessment(
        api_version="v3", base_url=ods.url, client_id="key", client_secret="secret"
    )
    cells = {"id": ["a", "b"], "key": ["key"] * 2, "secret": ["secret"] * 2}
    df = pl.DataFrame(cells | {column: [column, blank]})
    out = runner.batch_get_by_id(df, id_col="id", **REAUTH)
    assert out["http_status"].to_list() == [404, None]
    assert out["message"][1] == f"missing '{column}'"
    assert len(ods.paths()) == 1
