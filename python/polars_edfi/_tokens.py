"""Tokens: for the client itself, and for every account of a frame."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from polars_edfi import _native
from polars_edfi._base import ClientBase
from polars_edfi._signatures import with_options
from polars_edfi.options import BatchFetchTokensOptions

if TYPE_CHECKING:
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
        """Fetch a token with the client's own credentials.

        This is always a request, unless the client has a ``token_cache`` that holds a token with
        life left.

        Returns
        -------
        dict
            ``token``, ``expires_at`` (an aware datetime in UTC, as the server says), ``status``
            (``None``, or ``"error"``) and ``message``. A given bearer token is given back.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> edfi.EdFiClient(base_url="http://127.0.0.1:1", bearer_token="abc").fetch_token()
        {'token': 'abc', 'expires_at': None, 'status': None, 'message': None}
        """
        token, micros, message = _native.fetch_token(self._native, self._call())
        return {
            "token": token,
            "expires_at": None if micros is None else datetime.fromtimestamp(micros / 1e6, UTC),
            "status": None if token is not None else "error",
            "message": message,
        }

    @overload
    def batch_fetch_tokens(
        self,
        df: pl.DataFrame,
        *,
        oauth_endpoint: str,
        account_col: str,
        **options: Unpack[BatchFetchTokensOptions],
    ) -> pl.DataFrame: ...

    @overload
    def batch_fetch_tokens(
        self,
        df: pl.DataFrame,
        *,
        oauth_endpoint: Any,
        account_col: Any,
        _unpacked: object,
        **options: Any,
    ) -> pl.DataFrame: ...

    @with_options("batch_fetch_tokens", BatchFetchTokensOptions)
    def batch_fetch_tokens(
        self,
        df: pl.DataFrame,
        *,
        oauth_endpoint: str,
        account_col: str,
        **options: Any,
    ) -> pl.DataFrame:
        """Fetch a token for each account of a frame.

        Parameters
        ----------
        df
            One row per account, or more: each distinct ``account_col`` is asked for once, with
            its first row. Rows with a blank account are skipped; an account that comes again with
            another URL, key or secret is an error. The URLs may differ where ``oauth_endpoint`` is
            absolute.
        oauth_endpoint
            The token endpoint below each row's base URL, such as ``"oauth/token"``; or an absolute
            URL, which then gets all rows' credentials.
        account_col
            What tells accounts apart.
        **options
            Those of :class:`polars_edfi.options.BatchFetchTokensOptions`.

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
        The tokens are kept for the other calls of this process, and renewed 60 s before their end;
        one that lives for less than two minutes, after half of its life.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901", "255902"], records=1) as ods:
        ...     districts = ods.districts()
        ...     districts[1, "oAuthSecret"] = "wrong"
        ...     tokens = edfi.EdFiClient().batch_fetch_tokens(
        ...         districts, oauth_endpoint="oauth/token", account_col="District BK"
        ...     )
        >>> tokens.select("District BK", "row status").rows()
        [('255901', None), ('255902', 'error')]
        """
        return self._batch(
            _native.batch_fetch_tokens,
            df,
            oauth_endpoint=oauth_endpoint,
            account_col=account_col,
            **options,
        )
