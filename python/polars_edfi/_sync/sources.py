"""The ODSs of a run: a client's own, or one for each district of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._client import EdFiClient
from polars_edfi._errors import EdFiError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW_OPTIONS = (
    "workers",
    "skip_statuses",
    "status_col",
    "url_col",
    "token_col",
    "api_version_col",
    "auth_key_col",
    "auth_secret_col",
    "oauth_endpoint",
    "expires_col",
    "refresh_cooldown",
    "row_id_col",
)
"""Options of which the client of a district is made."""


@dataclass
class Ods:
    """One ODS, or why it cannot be asked."""

    row: int
    """The row of its district."""
    value: pl.Series | None
    """The district's key, in the dtype of the frame; none for a client's own ODS."""
    key: str | None
    client: EdFiClient | None
    failure: str | None = None

    @cached_property
    def source(self) -> str:
        """The base URL, or that of its data where a year or an instance stands in the version."""
        if self.client is None:
            return ""
        settings = native_side(self.client).settings()
        version = (settings["api_version"] or "").strip().strip("/")
        base = settings["base_url"] or ""
        return f"{base}/data/{version.lower()}" if "/" in version else base

    @cached_property
    def profile(self) -> str | None:
        """The name of the profile through which it is read."""
        return None if self.client is None else native_side(self.client).profile()


def of_client(client: EdFiClient) -> list[Ods]:
    """Give the client's own ODS."""
    if not _base_url(client):
        msg = "the client has no base_url"
        raise EdFiError(msg)
    return [Ods(0, None, None, client)]


def of_frame(
    df: pl.DataFrame, key_col: str, client: EdFiClient, options: Mapping[str, Any]
) -> list[Ods]:
    """Give the districts of a frame, each key once."""
    given = {name: value for name, value in options.items() if name in ROW_OPTIONS}
    found = _native.district_clients(native_side(client), df, key_col=key_col, **given)
    keys = df[key_col]
    odss = []
    for row, native, failure in found:
        value = keys.slice(row, 1)
        if value.dtype == pl.String:
            value = value.str.strip_chars()
        own = None if native is None else _wrapped(native)
        odss.append(Ods(row, value, str(value.item()), own, failure))
    return odss


def _base_url(client: EdFiClient) -> str:
    return native_side(client).settings()["base_url"] or ""


def _wrapped(native: _native.Client) -> EdFiClient:
    client = EdFiClient.__new__(EdFiClient)
    client._native = native  # noqa: SLF001
    return client
