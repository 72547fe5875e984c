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


def keep(client: EdFiClient) -> Kept:
    """Keep a client for the life of the process."""
    if not isinstance(client, EdFiClient):
        msg = f"client must be an EdFiClient, not {type(client).__name__}"
        raise EdFiError(msg)
    number, has_base_url, has_auth = _native.keep_client(client._native)  # noqa: SLF001
    return Kept(number, has_base_url, has_auth, client._endpoint)  # noqa: SLF001
