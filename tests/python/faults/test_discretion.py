"""Planted secrets and a planted student: in no log, no repr, no error, no pickle, no plan.

Only a row's ``message`` may carry the server's own words, and no secret even there.
"""

from __future__ import annotations

import base64
import pickle
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY, SECRET, TOKEN = "planted-key-55", "planted-secret-77!", "planted-token-88"
HEADER = "planted-gateway-99"
BASIC = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
SECRETS = [SECRET, TOKEN, HEADER, BASIC]
STUDENT = "Zebedee Quux"
PEOPLE = ["Zebedee", "Quux", "Zebedee%20Quux"]


def script(request: Request) -> Answer:
    """Says everything that it is told, and lets nothing through."""
    if request.path == "/oauth/token" and request.basic == f"{KEY}:{SECRET}":
        return Answer(200, {"access_token": TOKEN, "expires_in": 1800})
    echo = f"{request.headers} {request.body.decode()} {request.path} {STUDENT}"
    errors = {"$.name": [f"{STUDENT} is known; {echo}"]}
    body = {"detail": echo, "validationErrors": errors, "correlationId": f"c {echo}"}
    statuses = {"POST": 409, "PUT": 400, "DELETE": 409}
    return Answer(statuses.get(request.method, 403), body)


@pytest.fixture
def shown(
    ods: ScriptedOds, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[list[str]]:
    """What could be read by somebody; looked through at the end."""
    ods.script, ods.serves_metadata = script, True
    texts: list[str] = []
    with caplog.at_level(0), caplog.at_level(0, "polars_edfi"):
        yield texts
    records = caplog.get_records("call")
    texts += [f"{record.getMessage()} {record.__dict__}" for record in records]
    texts += [*capfd.readouterr()]
    for text in texts:
        assert not any(word in text for word in SECRETS + PEOPLE), text


def client(ods: ScriptedOds, **settings: Any) -> edfi.EdFiClient:
    given: dict[str, Any] = {
        "base_url": ods.url,
        "api_version": "v3",
        "client_id": KEY,
        "client_secret": SECRET,
        "headers": {"x-gateway": HEADER},
        "max_retries": 1,
    }
    return edfi.Resource("ed-fi/students", **(given | settings))


def rows(ods: ScriptedOds) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "key": [STUDENT],
            "id": [STUDENT],
            "payload": ['{"name": "' + STUDENT + '"}'],
            "targetUrl": ods.url,
            "EdFi Token": TOKEN,
            "oAuthKey": KEY,
            "oAuthSecret": SECRET,
        }
    )


def without_secrets(result: object) -> None:
    """A result's own words may name a student, as its keys do; never a secret."""
    text = str(result.to_dicts() if isinstance(result, pl.DataFrame) else result)
    assert [word for word in SECRETS if word in text] == [], text


def test_calls_and_their_logs(
    ods: ScriptedOds, shown: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    runner, df = client(ods), rows(ods)
    renewing: dict[str, Any] = {
        "auth_key_col": "oAuthKey",
        "auth_secret_col": "oAuthSecret",
        "oauth_endpoint": "oauth/token",
    }
    write: dict[str, Any] = {"key_col": "key", "commit": True}
    results = [
        runner.batch_post_payload(df, payload_col="payload", **write, **renewing, details=True),
        runner.batch_delete_by_id(df, id_col="id", **write),
        runner.batch_get_by_id(df, id_col="id", **renewing),
        runner.batch_get_all(df, key_col="key", schema="infer", params={"name": STUDENT}),
        runner.post_payload('{"name": "' + STUDENT + '"}', key=1, commit=True),
        runner.get_by_id(STUDENT),
        runner.get_all(key=1, schema="infer", params={"lastSurname": STUDENT}),
    ]
    for result in results:
        without_secrets(result)
    shown += [repr(runner), str(runner.stats), repr(vars(runner))]
    assert len(caplog.records) > 10


def test_exceptions(ods: ScriptedOds, shown: list[str]) -> None:
    runner = client(ods, bearer_token=TOKEN, client_id=None, client_secret=None)
    calls = [
        lambda: runner.count("ed-fi/students", params={"name": STUDENT}),
        lambda: runner.deletes("ed-fi/students"),
        runner.available_change_versions,
        lambda: runner.schema("ed-fi/students"),
        lambda: edfi.EdFiClient(client_secret=SECRET),
        lambda: edfi.EdFiClient(base_url=f"http://user:{SECRET}@127.0.0.1/"),
        lambda: edfi.EdFiClient(headers={"authorization": HEADER}),
        lambda: edfi.EdFiClient(client_id=KEY, client_secret=[SECRET]),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(edfi.EdFiError) as raised:
            call()
        # The server's own words are the exception's message; a secret is in none of it.
        without_secrets(f"{raised.value!r} {raised.value} {raised.value.__dict__}")
    with pytest.raises(TypeError) as refused:
        pickle.dumps(runner)
    shown.append(str(refused.value))


def test_plans(ods: ScriptedOds, shown: list[str]) -> None:
    runner = client(ods)
    expression = edfi.post_payload("payload", client=runner, commit=True)
    lazy = pl.LazyFrame({"payload": ["{}"]}).with_columns(a=expression)
    scan = edfi.scan("ed-fi/students", client=runner, schema={"id": pl.String})
    shown += [str(expression), repr(expression.meta.serialize()), lazy.explain(), scan.explain()]
    shown += [repr(lazy.serialize()), str(scan)]


def test_panics_and_stops(ods: ScriptedOds, shown: list[str]) -> None:
    """What ends a call in the middle says where, not whom."""
    runner = client(ods)
    df = rows(ods).with_columns(payload=pl.lit("{" + STUDENT))
    out = runner.batch_post_payload(df, payload_col="payload", key_col="key", commit=True)
    without_secrets(out)
    assert out["message"][0].startswith("invalid JSON")
    runner.batch_post_payload(rows(ods), payload_col="payload", key_col="key")
    shown.append(out["message"][0])


@pytest.mark.parametrize("secret", ["a phrase of words", "Schl\u00fcssel-77", "key value-88"])
def test_secrets_of_all_letters_are_not_repeated(ods: ScriptedOds, secret: str) -> None:
    def script(request: Request) -> Answer:
        shown = [request.headers[name] for name in ("x-gateway", "authorization")]
        told = [text.encode("latin1").decode() for text in shown]
        return Answer(400, {"detail": f"{shown} {told}"}, {"correlation-id": shown[0]})

    ods.script = script
    token = secret.replace(" ", "-")
    asking = client(
        ods, client_id=None, client_secret=None, bearer_token=token, headers={"x-gateway": secret}
    )
    out = str(asking.get_by_id("a", endpoint="ed-fi/students"))
    words = [secret, token, *(text.encode().decode("latin1") for text in (secret, token))]
    assert "***" in out
    assert not any(word in out for word in words), out
