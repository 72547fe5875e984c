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


class Batch(Protocol):
    """A batch that is running, or that ran."""

    @property
    def rows(self) -> pl.DataFrame | None:
        """What became of its rows."""


class ClientBase:
    """The native client, and the last batch."""

    _native: _native.Client
    _endpoint: str | None
    _last: Batch | None = None

    @property
    def rows(self) -> pl.DataFrame | None:
        """The frame of the last batch call: ``None`` before the first, and while one runs."""
        return None if self._last is None else self._last.rows

    def _batch(
        self, function: Callable[..., pl.DataFrame], frames: object, **arguments: Any
    ) -> pl.DataFrame:
        call = self._last = _native.Call()
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
