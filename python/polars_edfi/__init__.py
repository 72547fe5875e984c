"""Ed-Fi ODS data as Polars DataFrames.

A DataFrame of districts (URL, key, secret) becomes tokens, and the tokens become every record of
every district as one flat, typed frame. The conventional import is ``import polars_edfi as edfi``.
"""

from typing import TYPE_CHECKING, Any

from polars_edfi import _namespaces as _namespaces  # registers them
from polars_edfi import endpoints, options
from polars_edfi._apply import apply_changes
from polars_edfi._changes import Changes
from polars_edfi._client import EdFiClient, Resource, StudentAssessment
from polars_edfi._errors import AuthError, EdFiError, HttpError
from polars_edfi._expressions import (
    delete_by_id,
    fetch_token,
    get_all,
    get_by_id,
    post_payload,
)
from polars_edfi._frames import flatten, summary, tables, unflatten
from polars_edfi._journal import read_journal
from polars_edfi._native import __version__
from polars_edfi._report import Report, report
from polars_edfi._sandbox import Sandbox
from polars_edfi._scan import scan, scan_all

if TYPE_CHECKING:
    from polars_edfi._sync.sync import sync

__all__ = [
    "AuthError",
    "Changes",
    "EdFiClient",
    "EdFiError",
    "HttpError",
    "Report",
    "Resource",
    "Sandbox",
    "StudentAssessment",
    "__version__",
    "apply_changes",
    "delete_by_id",
    "endpoints",
    "fetch_token",
    "flatten",
    "get_all",
    "get_by_id",
    "options",
    "post_payload",
    "read_journal",
    "report",
    "scan",
    "scan_all",
    "summary",
    "sync",
    "tables",
    "unflatten",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load what makes copies once it is asked for: it takes as long as all else together."""
        if name != "sync":
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        from polars_edfi._sync.sync import sync

        globals()["sync"] = sync
        return sync

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
