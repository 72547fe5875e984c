"""Tokens of a run: the one that a row brings is used as long as it lasts, then a new one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ScriptedOds, district

import polars_edfi as edfi


@pytest.mark.parametrize(
    ("token", "lasts", "fetched"),
    [
        ("token", timedelta(hours=1), 0),
        ("token", timedelta(hours=-1), 1),
        ("token", None, 1),
        # The server knows better when it ends.
        ("revoked", timedelta(hours=1), 1),
    ],
)
def test_a_token_that_lasts_is_fetched_by_nobody_else(
    make_ods: Callable[..., ScriptedOds],
    tmp_path: Path,
    token: str,
    lasts: timedelta | None,
    fetched: int,
) -> None:
    ods = make_ods(5)
    ends = None if lasts is None else datetime.now(UTC) + lasts
    columns = {"EdFi Token": token, "oAuthKey": "key", "oAuthSecret": "secret", "ends": ends}
    report = edfi.sync(
        district(ods, "a", **columns),
        "ed-fi/students",
        into=tmp_path,
        key_col="District BK",
        auth_key_col="oAuthKey",
        auth_secret_col="oAuthSecret",
        oauth_endpoint="oauth/token",
        expires_col="ends" if lasts is not None else None,
        client=edfi.EdFiClient(api_version="v3"),
    )
    assert report["rows"].to_list() == [5], report["message"].to_list()
    assert len([one for one in ods.requests if one.path == "/oauth/token"]) == fetched
