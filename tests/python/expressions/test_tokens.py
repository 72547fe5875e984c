"""Tokens for a column of hosts."""

from collections.abc import Callable

import polars as pl
from conftest import ScriptedOds


def test_equal_credentials_share_a_request(make_ods: Callable[..., ScriptedOds]) -> None:
    good, bad = make_ods(), make_ods()
    bad.secret = "another"
    df = pl.DataFrame(
        {
            "url": [good.url, bad.url, None, good.url, good.url],
            "key": ["key", "key", "key", "key", None],
            "secret": ["secret"] * 5,
        }
    )
    out = df.select(pl.col("url").edfi.fetch_token(client_id="key", client_secret="secret"))["url"]
    assert out[0]["token"] == "issued-1"
    assert out[0]["expires_at"] is not None
    assert out[1]["message"] == "auth error: HTTP 401: invalid_client"
    assert out[2] is None
    assert out[3] == out[0]
    assert out[4]["message"] == "missing 'oAuthKey'"
    assert (len(good.requests), len(bad.requests)) == (1, 1)
