"""What a call has cost, as ``client.stats`` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable


class Stats(TypedDict):
    """What a call has cost."""

    requests: int
    """Requests that were sent, or tried to be, repetitions included."""
    retries: int
    """Those of them that repeat one that failed or was refused."""
    pauses: int
    """How often an origin was left alone because it refused a request."""
    token_requests: int
    """Requests for tokens."""
    bytes_received: int
    """Bytes of bodies that were read, decompressed."""
    bytes_sent: int
    """Bytes of bodies that were sent."""
    seconds: float
    """How long it took, or has taken so far."""
    rows: dict[str | None, int]
    """Rows of a batch's result by their status (``None`` is success); empty before its end."""


def total(parts: Iterable[Stats]) -> Stats:
    """Add up what several calls have cost."""
    whole = Stats(
        requests=0,
        retries=0,
        pauses=0,
        token_requests=0,
        bytes_received=0,
        bytes_sent=0,
        seconds=0.0,
        rows={},
    )
    for part in parts:
        whole["requests"] += part["requests"]
        whole["retries"] += part["retries"]
        whole["pauses"] += part["pauses"]
        whole["token_requests"] += part["token_requests"]
        whole["bytes_received"] += part["bytes_received"]
        whole["bytes_sent"] += part["bytes_sent"]
        whole["seconds"] += part["seconds"]
        for status, count in part["rows"].items():
            whole["rows"][status] = whole["rows"].get(status, 0) + count
    return whole
