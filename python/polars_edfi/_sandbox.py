"""A small Ed-Fi ODS on this machine, for trying things out and for tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from polars_edfi import _native

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import polars as pl


class Sandbox:
    """An Ed-Fi ODS/API in this process, on loopback, with records that it makes itself.

    Each district has its own URL, key, secret and records. It answers as an ODS/API 7.3 does.
    The records are believable, and the same for the same ``seed``.

    Parameters
    ----------
    districts
        The districts' names; each becomes a path below the sandbox's URL.
    records
        How many ``studentAssessments`` each district has; there are fewer of the other resources
        (``students``, ``schools``, ``assessments``, some descriptors).
    seed
        What the records are made from.
    port
        0 takes any free port.
    page_limit
        The largest page that a request may ask for.
    token_lifetime
        Seconds until a token ends.
    latency
        Seconds before each answer.

    Examples
    --------
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901"], records=10) as ods:
    ...     districts = ods.districts()
    >>> districts.columns
    ['District BK', 'targetUrl', 'oAuthKey', 'oAuthSecret']
    """

    def __init__(
        self,
        districts: Sequence[str] = ("255901",),
        records: int = 1200,
        *,
        seed: int = 0,
        port: int = 0,
        page_limit: int = 500,
        token_lifetime: float = 1800.0,
        latency: float = 0.0,
    ) -> None:
        self._native = _native.Sandbox(
            [str(district) for district in districts],
            records,
            seed,
            port,
            page_limit,
            token_lifetime,
            latency,
        )

    @property
    def url(self) -> str:
        """Where it is; a district's base URL is one path segment longer."""
        return self._native.url

    def districts(self) -> pl.DataFrame:
        """Give a frame of the districts, as ``batch_fetch_tokens`` takes it.

        Returns
        -------
        DataFrame
            ``District BK``, ``targetUrl``, ``oAuthKey``, ``oAuthSecret``, all String.
        """
        return self._native.districts()

    def load_jsonl(self, district: str, endpoint: str, path: str | os.PathLike[str]) -> int:
        """Replace a resource's records by those of a file.

        Parameters
        ----------
        district
            Whose records.
        endpoint
            Which resource, such as ``"ed-fi/students"``; it need not exist before.
        path
            A file with one JSON object per line, gzipped if its name ends in ``.gz``.

        Returns
        -------
        int
            How many records there are now.
        """
        return self._native.load_jsonl(district, endpoint, os.fspath(path))

    def stop(self) -> None:
        """Stop serving; a second time does nothing."""
        self._native.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
