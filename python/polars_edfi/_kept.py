"""Clients that plans name by a number: a plan holds no secret, and no client."""

from __future__ import annotations

from typing import NamedTuple

from polars_edfi import _native, endpoints
from polars_edfi._client import EdFiClient
from polars_edfi._errors import EdFiError


class Kept(NamedTuple):
    """What a plan may say of a client."""

    number: int
    has_base_url: bool
    has_auth: bool
    endpoint: str


NOBODY = Kept(0, has_base_url=False, has_auth=False, endpoint=endpoints.STUDENT_ASSESSMENTS)
"""Where the rows bring everything."""


def native_side(client: EdFiClient) -> _native.Client:
    """Give the native side of a client, or say that it is none."""
    if not isinstance(client, EdFiClient):
        msg = f"client must be an EdFiClient, not {type(client).__name__}"
        raise EdFiError(msg)
    return client._native  # noqa: SLF001


def keep(client: EdFiClient) -> Kept:
    """Keep a client for the life of the process."""
    number, has_base_url, has_auth = _native.keep_client(native_side(client))
    return Kept(number, has_base_url, has_auth, client._endpoint)  # noqa: SLF001
