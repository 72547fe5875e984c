"""What a call has cost, as ``client.stats`` tells it."""

from typing import TypedDict


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
