"""Tokens: for the client itself, and for every account of a frame."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from polars_edfi import _native
from polars_edfi._arguments import frame, names
from polars_edfi._base import SKIP, ClientBase, raise_if_interrupted, watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl


class TokenResult(TypedDict):
    """What became of ``fetch_token``."""

    token: str | None
    expires_at: datetime | None
    status: str | None
    message: str | None


class Tokens(ClientBase):
    """The calls that fetch tokens."""

    def fetch_token(self) -> TokenResult:
        """Fetch a token with the client's own credentials, always by a request.

        Returns
        -------
        dict
            ``token``, ``expires_at`` (an aware datetime in UTC, as the server says),  ``status``
            (``None``, or ``"error"``) and ``message``. A given bearer token is given back.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> edfi.EdFiClient(base_url="http://127.0.0.1:1", bearer_token="abc").fetch_token()
        {'token': 'abc', 'expires_at': None, 'status': None, 'message': None}
        """
        call = _native.Call()
        token, micros, message = self._native.fetch_token(call)
        raise_if_interrupted(call)
        return {
            "token": token,
            "expires_at": None if micros is None else datetime.fromtimestamp(micros / 1e6, UTC),
            "status": None if token is not None else "error",
            "message": message,
        }

    def batch_fetch_tokens(
        self,
        df: pl.DataFrame,
        *,
        oauth_endpoint: str,
        account_col: str,
        workers: int = 8,
        show_progress: bool = False,
        progress_desc: str | None = None,
        label: str | None = None,
        skip_statuses: Sequence[str] = SKIP,
        status_col: str = "row status",
        url_col: str = "targetUrl",
        key_col: str = "oAuthKey",
        secret_col: str = "oAuthSecret",
        token_col: str = "EdFi Token",
        expires_col: str = "token_expires_at",
    ) -> pl.DataFrame:
        """Fetch a token for each account of a frame.

        Parameters
        ----------
        df
            One row per account, or more: each distinct ``account_col`` is asked for once, with
            its first row. Rows with a blank account are skipped.
        oauth_endpoint
            The token endpoint below each row's base URL, such as ``"oauth/token"``; or an absolute
            URL, which then gets all rows' credentials.
        account_col
            What tells accounts apart.
        workers
            Requests in flight at once.
        show_progress, progress_desc, label
            Whether to draw a bar, a prefix for its text (``"[1/7]"``), and another text.
        skip_statuses, status_col
            Rows whose ``status_col`` is one of these are left out.
        url_col, key_col, secret_col
            Base URL, key and secret of each row, String. Columns that are absent under these
            default names: the client's own serve.
        token_col, expires_col
            The names of the result's columns.

        Returns
        -------
        DataFrame
            One row per account in first-seen order: ``account_col`` (as in ``df``), ``key_col``
            (String), ``token_col`` (String), ``expires_col`` (Datetime us UTC, as the server
            says), ``status_col`` (String: null or ``"error"``) and ``message`` (String). Never the
            secret.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError
            A named column is not there.
        polars.exceptions.SchemaError
            A column is not String.
        EdFiError
            An argument is wrong. All of these before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``.

        Notes
        -----
        The tokens are kept for the other calls of this process, and renewed 60 s before their end.
        """
        call = _native.Call()
        arguments = {
            "account_col": account_col,
            "oauth_endpoint": oauth_endpoint,
            "workers": workers,
            "skip_statuses": names("skip_statuses", skip_statuses) or [],
            "status_col": status_col,
            "url_col": url_col,
            "key_col": key_col,
            "secret_col": secret_col,
            "token_col": token_col,
            "expires_col": expires_col,
        }
        bar = (show_progress, progress_desc, label)
        watch = watched(call, bar, "fetching tokens", "accounts")
        with watch as tick:
            rows = self._native.batch_fetch_tokens(frame(df), call, tick, **arguments)
        return self._finish(call, rows)
