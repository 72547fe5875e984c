"""What the tasks of a job share: tokens, requests in flight, rates."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from polars_edfi._client import EdFiClient
from polars_edfi._errors import AuthError, EdFiError

URL, TOKEN, ENDS = "targetUrl", "EdFi Token", "token_expires_at"
KEY, SECRET = "oAuthKey", "oAuthSecret"
ENDPOINT = "oauth/token"
#: Less time than this is no time for a job.
FRESH = timedelta(minutes=5)
#: Tokens of this process: Spark plans one query after another in it.
_kept: dict[tuple[str, str, bytes], tuple[str, datetime]] = {}


class Shares(NamedTuple):
    """How much of a job's requests one of its tasks may have."""

    workers: int
    max_rate: float | None


def divided(workers: int, max_rate: float | None, tasks: int) -> Shares:
    """Divide requests in flight, and the rate, by the tasks that can run at once."""
    return Shares(max(1, workers // tasks), None if max_rate is None else max_rate / tasks)


def one_district(client: dict[str, Any], key_col: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Give a client's own ODS as a frame of one district, and the options that read it so."""
    url = client.get("base_url", "")
    # What is wrong with the settings is told as everywhere.
    EdFiClient(**client)
    if not url:
        msg = "option 'base_url' is missing"
        raise EdFiError(msg)
    row = {key_col: url, URL: url}
    if (bearer := client.get("bearer_token")) is not None:
        return pl.DataFrame({**row, TOKEN: bearer}), {}
    if client.get("client_id") is None:
        msg = "options 'client_id' and 'client_secret', or 'bearer_token', are missing"
        raise EdFiError(msg)
    token = pl.lit(None, pl.String)
    ends = pl.lit(None, pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({**row, KEY: client["client_id"], SECRET: client["client_secret"]})
    return frame.with_columns(token.alias(TOKEN), ends.alias(ENDS)), {
        "auth_key_col": KEY,
        "auth_secret_col": SECRET,
        "expires_col": ENDS,
        "oauth_endpoint": client.get("token_url") or ENDPOINT,
    }


def renewable(districts: pl.DataFrame, options: dict[str, Any]) -> dict[str, Any]:
    """Give the options by which the tokens of a frame of districts are fetched, if they can be.

    A frame that has keys and secrets under the names of ``batch_fetch_tokens`` needs no options.
    """
    has = set(districts.columns)
    if "auth_key_col" not in options and {KEY, SECRET} <= has:
        names = {"auth_key_col": KEY, "auth_secret_col": SECRET, "oauth_endpoint": ENDPOINT}
        options = {**names, **options}
    if "auth_key_col" in options and "expires_col" not in options:
        options = {**options, "expires_col": ENDS}
    return options


def with_columns_of_tokens(districts: pl.DataFrame, options: dict[str, Any]) -> pl.DataFrame:
    """Give a frame whose tokens can be fetched the columns that these will have."""
    if options.get("auth_key_col") is None or options.get("auth_secret_col") is None:
        return districts
    token, ends = pl.lit(None, pl.String), pl.lit(None, pl.Datetime("us", "UTC"))
    columns = {options.get("token_col", TOKEN): token, options.get("expires_col", ENDS): ends}
    return districts.with_columns(
        column.alias(name) for name, column in columns.items() if name not in districts.columns
    )


def with_tokens(
    districts: pl.DataFrame, client: dict[str, Any], options: dict[str, Any]
) -> pl.DataFrame:
    """Fetch the tokens that are missing or at their end, one for each client, here and now.

    Where a token endpoint refuses, the district stays without; its reading says why.
    """
    token_col, ends_col = options.get("token_col", TOKEN), options.get("expires_col", ENDS)
    key, secret = options.get("auth_key_col"), options.get("auth_secret_col")
    if key is None or secret is None:
        return districts
    url_col = options.get("url_col", URL)
    districts = with_columns_of_tokens(districts, options)
    if not isinstance(districts.schema[ends_col], pl.Datetime):
        return districts
    ids = [
        (url or "", client_id or "", hashlib.sha256((text or "").encode()).digest())
        for url, client_id, text in districts.select(url_col, key, secret).iter_rows()
    ]
    now = datetime.now(UTC)
    tokens, ends_at = districts[token_col].to_list(), districts[ends_col].to_list()
    for row, known in enumerate(ids):
        ends = ends_at[row]
        if tokens[row] and ends is not None and _utc(ends) > now + FRESH:
            _kept[known] = tokens[row], _utc(ends)
    missing = [
        row
        for row, (token, ends) in enumerate(zip(tokens, ends_at, strict=True))
        if not token or (ends is not None and _utc(ends) <= now + FRESH)
    ]
    asked = {
        ids[row]: row
        for row in reversed(missing)
        if ids[row] not in _kept or _kept[ids[row]][1] <= now + FRESH
    }
    if asked:
        _fetch(districts, asked, client, options, (url_col, key, secret))
    for row in missing:
        if (found := _kept.get(ids[row])) is not None:
            tokens[row], ends_at[row] = found
    return districts.with_columns(
        pl.Series(token_col, tokens, pl.String),
        pl.Series(ends_col, [at and _utc(at) for at in ends_at], pl.Datetime("us", "UTC")),
    )


def _fetch(
    districts: pl.DataFrame,
    asked: dict[tuple[str, str, bytes], int],
    client: dict[str, Any],
    options: dict[str, Any],
    columns: tuple[str, str, str],
) -> None:
    rows = list(asked.values())
    accounts = pl.Series("account", [str(row) for row in rows])
    asking = districts[rows].select(columns).with_columns(accounts)
    url_col, key, secret = columns
    fetched = EdFiClient(**without_credentials(client)).batch_fetch_tokens(
        asking,
        oauth_endpoint=options.get("oauth_endpoint", ENDPOINT),
        account_col="account",
        url_col=url_col,
        key_col=key,
        secret_col=secret,
        workers=options.get("workers", 8),
    )
    by_row = {row: known for known, row in asked.items()}
    for account, token, ends in fetched.select("account", TOKEN, ENDS).iter_rows():
        if token is not None:
            # Where nobody says when it ends, it is soon asked for again.
            _kept[by_row[int(account)]] = token, ends or datetime.now(UTC) + 2 * FRESH


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def without_credentials(client: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of a client whose rows bring their own URL and credentials."""
    own = {"base_url", "client_id", "client_secret", "token_url", "bearer_token"}
    return {name: value for name, value in client.items() if name not in own}


def check_token(districts: pl.DataFrame, client: dict[str, Any], options: dict[str, Any]) -> None:
    """Refuse wrong credentials of a single ODS with the server's own words."""
    if districts[options.get("token_col", TOKEN)][0] is None:
        told = EdFiClient(**client).fetch_token()
        raise AuthError(told["message"] or "no token")
