"""Journals: what batches that write have noted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polars_edfi import _native

if TYPE_CHECKING:
    from os import PathLike

    import polars as pl


def read_journal(path: str | PathLike[str]) -> pl.DataFrame:
    """Read what stands in a journal.

    Parameters
    ----------
    path
        The file that calls were given as ``journal``.

    Returns
    -------
    DataFrame
        One row for each write, in the order in which they were first sent: ``endpoint``,
        ``method`` (``"POST"``, ``"PUT"``, ``"DELETE"``), ``key`` (the row's key as text),
        ``digest`` (of base URL, endpoint, method, key and payload, in hexadecimal), ``state``
        (``"sent"``: nobody knows what became of it; ``"confirmed"``; ``"failed"``),
        ``http_status`` (Int32), ``message``, ``correlation_id``, ``resource_id``, ``attempts``
        (UInt32: of the last call that sent it) and ``at`` (Datetime us UTC: when it was noted
        last). The others are String.

    Raises
    ------
    EdFiError
        There is no such file, it is no journal, or another process has it open.

    Examples
    --------
    >>> import tempfile
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901"], records=20, strict=False) as ods:
    ...     url, key, secret = ods.districts().row(0)[1:]
    ...     runner = edfi.Resource(
    ...         "ed-fi/students", base_url=url, client_id=key, client_secret=secret
    ...     )
    ...     records = runner.get_all(key=1, links=False)["data"].drop("_unknown")
    ...     journal = f"{tempfile.mkdtemp()}/run.edfi"
    ...     students = edfi.unflatten(records).with_columns(key=records["studentUniqueId"])
    ...     for _ in range(2):
    ...         result = runner.batch_post_payload(
    ...             students, payload_col="payload", key_col="key", commit=True, journal=journal
    ...         )
    >>> result["attempts"].to_list()
    [0, 0, 0, 0, 0]
    >>> edfi.read_journal(journal)["state"].to_list()
    ['confirmed', 'confirmed', 'confirmed', 'confirmed', 'confirmed']
    """
    return _native.read_journal(_native.Call(), Path(path).expanduser())
