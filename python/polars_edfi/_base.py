"""What all parts of a client stand on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Protocol

from polars_edfi import _native
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from polars_edfi._native import Call
    from polars_edfi._stats import Stats


class Batch(Protocol):
    """A batch that is running, or that ran."""

    @property
    def rows(self) -> pl.DataFrame | None:
        """What became of its rows."""


class Counted(Protocol):
    """What has requests, and tells how many."""

    def stats(self) -> Stats:
        """Tell what it has cost so far."""


class ClientBase:
    """The native client, its last batch and its last call."""

    _native: _native.Client
    _endpoint: str | None
    _last: Batch | None = None
    _counted: Counted | None = None

    @property
    def rows(self) -> pl.DataFrame | None:
        """The frame of the last batch call: ``None`` before the first, and while one runs."""
        return None if self._last is None else self._last.rows

    @property
    def stats(self) -> Stats | None:
        """What the last call of this client has cost; ``None`` before the first.

        ``requests``, ``retries``, ``pauses``, ``token_requests``, ``bytes_received``,
        ``bytes_sent``, ``seconds``, and ``rows``: those of a batch's result by their status. The
        end of a batch logs the same in one INFO line (logger ``polars_edfi``), each request a DEBUG
        line without ids, keys and bodies. A scan counts from its first page on, not what its
        columns cost, and of several scans in one query the one that began last is told; a sink
        adds up its batches. Expressions are not counted, since Polars may run
        one in pieces and in several threads at once; nor is :func:`sync`, whose rows have their own
        requests and seconds.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=12) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     client.count("ed-fi/students")
        ...     stats = client.stats
        3
        >>> stats["token_requests"], stats["retries"], stats["rows"]
        (1, 0, {})
        """
        return None if self._counted is None else self._counted.stats()

    def _call(self) -> Call:
        call = _native.Call()
        self._counted = call
        return call

    def _batch(
        self, function: Callable[..., pl.DataFrame], frames: object, **arguments: Any
    ) -> pl.DataFrame:
        call = self._last = self._call()
        rows = function(self._native, call, frames, **arguments)
        warn(call, stacklevel=4)
        return rows


def native_side(client: object) -> _native.Client:
    """Give the native side of a client, or say that it is none."""
    if not isinstance(client, ClientBase):
        msg = f"client must be an EdFiClient, got {kind(client)}"
        raise EdFiError(msg)
    return client._native  # noqa: SLF001


def warn(call: _native.Call | _native.Pages, *, stacklevel: int) -> None:
    """Issue what a call has to say although nothing failed."""
    for text in call.warnings():
        warnings.warn(text, UserWarning, stacklevel=stacklevel)
