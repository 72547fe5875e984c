"""Headers of one's own: with every request, and told to nobody else."""

import logging
from typing import Any

import pytest
from conftest import Answer, Request, ScriptedOds

import polars_edfi as edfi

KEY = "subscription-key-0123456789"


def test_every_request_has_them(ods: ScriptedOds) -> None:
    key, _, secret = ods.secret.partition(":")
    runner = edfi.StudentAssessment(
        base_url=ods.url,
        client_id=key,
        client_secret=secret,
        headers={"Ocp-Apim-Subscription-Key": KEY},
    )
    assert runner.post_payload("{}", key="k", commit=True)["status"] is None
    data = runner.get_all(key="k")["data"]
    assert data is not None
    assert data.height == 3
    assert {"/", "/metadata/", "/oauth/token"} < {request.path for request in ods.requests}
    sent = {request.headers.get("ocp-apim-subscription-key") for request in ods.requests}
    assert sent == {KEY}


def test_their_values_are_secrets(ods: ScriptedOds, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(request: Request) -> Answer:
        return Answer(400, {"detail": f"Who is {request.headers['x-key']}?"})

    ods.script = echo
    runner = edfi.StudentAssessment(
        base_url=ods.url, api_version="v3", bearer_token="t", headers={"X-Key": KEY}
    )
    told = f"{runner!r} {runner.get_by_id('a')} {caplog.text}"
    assert "Who is ***?" in told
    assert KEY not in told


@pytest.mark.parametrize(
    ("headers", "wrong"),
    [
        ({"Authorization": "x"}, "is set by each request itself"),
        ({"content-type": KEY}, "content-type"),
        ({"If-Match": KEY}, "If-Match"),
        ({"Host": KEY}, "Host"),
        ({"a b": KEY}, "no header name"),
        ({"x": f"{KEY}\n"[:-2] + "\n!"}, "cannot stand in a header"),
        ({"x": "1", "X": "2"}, "twice"),
        ({"x": [KEY]}, "headers must be a dict of texts"),
        (KEY, "headers must be a dict of texts"),
    ],
)
def test_what_is_no_header_is_refused(headers: Any, wrong: str) -> None:
    with pytest.raises(edfi.EdFiError, match=wrong) as raised:
        edfi.EdFiClient(headers=headers)
    assert KEY not in str(raised.value)
