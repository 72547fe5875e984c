"""Clients: one or many Ed-Fi ODSs, read into frames."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict

from polars_edfi import _native, endpoints
from polars_edfi._arguments import choice, frame, names, params, schema
from polars_edfi._errors import EdFiError
from polars_edfi._progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from polars_edfi._arguments import SchemaArgument

_SKIP = ("error", "warning")


class TokenResult(TypedDict):
    """What became of :meth:`EdFiClient.fetch_token`."""

    token: str | None
    expires_at: datetime | None
    status: str | None
    message: str | None


class GetAllResult(TypedDict):
    """What became of :meth:`EdFiClient.get_all`."""

    key: object
    status: str | None
    message: str | None
    data: pl.DataFrame | None
    http_status: int | None
    correlation_id: str | None


class EdFiClient:
    """A client for one or many Ed-Fi ODSs.

    With a ``base_url`` and credentials it is the client of one ODS. Without them it works on
    frames whose rows bring their own; columns of a frame go before the client's own settings.

    Parameters
    ----------
    base_url
        The ODS's base URL. Data is read from ``{base_url}/data/{version}/{endpoint}``.
    api_version
        ``"v3"``, or an ODS/API release such as ``"7.1"``. ``""`` means that the base URL is the
        data URL. By default the discovery document at the base URL says; only paths are taken
        from it. Where there is none, ``v3``.
    client_id, client_secret
        OAuth2 client credentials. They go only to the origins of ``base_url`` and ``token_url``.
    token_url
        Where tokens come from; ``{base_url}/oauth/token`` by default.
    bearer_token
        A token that was fetched before, instead of credentials.
    timeout, connect_timeout
        Seconds without a byte from the server, and seconds to connect.
    max_retries
        Tries after the first of a read that met 408, 429, 500, 502, 503, 504 or a broken
        connection.
    max_wait
        The longest wait between two tries, in seconds. A server that asks for a longer one by
        ``Retry-After`` is not waited for: that is an error.
    allow_http
        Let credentials and tokens go over plain http to other machines than this one.
    ca_certs
        PEM certificates to trust beside those of the system: a path, or the bytes themselves.
    user_agent
        The ``User-Agent`` header; ``polars-edfi/<version>`` by default.

    Attributes
    ----------
    rows
        The frame that the last batch call returned; ``None`` before the first.

    Raises
    ------
    EdFiError
        A URL that is not one, plain http to another machine, half a pair of credentials, or both
        kinds of them. Nothing is sent.

    Notes
    -----
    Neither ``repr`` nor any error, log line or plan holds a secret or a token. A client cannot be
    pickled. Proxies are taken from the environment (``HTTPS_PROXY``, ``NO_PROXY``); loopback never
    goes through one.

    Examples
    --------
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901", "255902"], records=20) as ods:
    ...     districts = ods.districts()
    ...     client = edfi.EdFiClient(api_version="v3")
    ...     tokens = client.batch_fetch_tokens(
    ...         districts, oauth_endpoint="oauth/token", account_col="District BK"
    ...     )
    ...     districts = districts.join(tokens.drop("oAuthKey"), on="District BK")
    ...     records = client.batch_get_all(
    ...         districts, key_col="District BK", endpoint=edfi.endpoints.STUDENT_ASSESSMENTS
    ...     )
    >>> records.height
    40
    """

    rows: pl.DataFrame | None
    _endpoint: str = endpoints.STUDENT_ASSESSMENTS

    def __init__(
        self,
        *,
        base_url: str = "",
        api_version: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        token_url: str | None = None,
        bearer_token: str | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 10.0,
        max_retries: int = 5,
        max_wait: float = 120.0,
        allow_http: bool = False,
        ca_certs: str | os.PathLike[str] | bytes | None = None,
        user_agent: str | None = None,
    ) -> None:
        self.rows = None
        self._native = _native.Client(
            base_url=base_url,
            api_version=api_version,
            endpoint=self._endpoint,
            client_id=client_id,
            client_secret=client_secret,
            token_url=token_url,
            bearer_token=bearer_token,
            timeout=timeout,
            connect_timeout=connect_timeout,
            max_retries=max_retries,
            max_wait=max_wait,
            allow_http=allow_http,
            ca_certs=_pem(ca_certs),
            user_agent=user_agent,
        )

    def __repr__(self) -> str:
        return repr(self._native).replace("EdFiClient", type(self).__name__, 1)

    def __reduce__(self) -> NoReturn:
        msg = f"a {type(self).__name__} holds secrets and cannot be pickled; make a new one there"
        raise TypeError(msg)

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
        token, micros, message = self._native.fetch_token(_native.Call())
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
        skip_statuses: Sequence[str] = _SKIP,
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
        bar = progress(
            call,
            show=show_progress,
            desc=progress_desc,
            label=label,
            default="fetching tokens",
            unit="accounts",
        )
        with bar as tick:
            rows = self._native.batch_fetch_tokens(frame(df), call, tick, **arguments)
        return self._finish(call, rows)

    def get_all(
        self,
        *,
        key: object,
        endpoint: str | None = None,
        params: Mapping[str, object] | None = None,  # noqa: A002
        limit: int = 500,
        workers: int = 8,
        show_progress: bool = False,
        progress_desc: str | None = None,
        label: str | None = None,
        schema: SchemaArgument = "auto",
        separator: str = ".",
        links: bool = True,
        explode: str | Sequence[str] | None = None,
        paging: Literal["auto", "offset", "cursor"] = "auto",
        min_change_version: int | None = None,
        max_change_version: int | None = None,
        snapshot: bool = False,
        on_short: Literal["error", "warn"] = "error",
    ) -> GetAllResult:
        """Read every record of one resource of the client's own ODS.

        Parameters
        ----------
        key
            Given back in the result.
        endpoint
            The resource, such as ``"ed-fi/students"``; the runner's own by default.
        params, limit, workers, schema, separator, links, explode, paging, min_change_version, \
max_change_version, snapshot, on_short, show_progress, progress_desc, label
            As in :meth:`batch_get_all`.

        Returns
        -------
        dict
            ``key``, ``status`` (``None`` or ``"error"``), ``message``, ``data`` (a flat DataFrame,
            one row per record; ``None`` after an error: never half of the records),
            ``http_status`` and ``correlation_id``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or an argument is wrong.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=12) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     runner = edfi.Resource(
        ...         "ed-fi/schools", base_url=url, client_id=key, client_secret=secret
        ...     )
        ...     result = runner.get_all(key="255901")
        >>> result["status"], "schoolId" in result["data"].columns
        (None, True)
        """
        call = _native.Call()
        arguments = _read_arguments(
            endpoint=endpoint,
            query=params,
            limit=limit,
            workers=workers,
            wanted=schema,
            separator=separator,
            links=links,
            explode=explode,
            paging=paging,
            min_change_version=min_change_version,
            max_change_version=max_change_version,
            snapshot=snapshot,
            on_short=on_short,
        )
        bar = progress(
            call,
            show=show_progress,
            desc=progress_desc,
            label=label,
            default="fetching records",
            unit="districts",
        )
        with bar as tick:
            data, message, http_status, correlation_id = self._native.get_all(
                call, tick, **arguments
            )
        _warn(call)
        return {
            "key": key,
            "status": None if data is not None else "error",
            "message": message,
            "data": data,
            "http_status": http_status,
            "correlation_id": correlation_id,
        }

    def batch_get_all(
        self,
        df: pl.DataFrame,
        *,
        key_col: str,
        params: Mapping[str, object] | None = None,  # noqa: A002
        limit: int = 500,
        endpoint: str | None = None,
        workers: int = 8,
        show_progress: bool = False,
        progress_desc: str | None = None,
        label: str | None = None,
        skip_statuses: Sequence[str] = _SKIP,
        status_col: str = "row status",
        url_col: str = "targetUrl",
        token_col: str = "EdFi Token",
        api_version_col: str | None = None,
        auth_key_col: str | None = None,
        auth_secret_col: str | None = None,
        oauth_endpoint: str | None = None,
        expires_col: str | None = None,
        refresh_cooldown: float = 30.0,
        row_id_col: str | None = None,
        schema: SchemaArgument = "auto",
        separator: str = ".",
        links: bool = True,
        explode: str | Sequence[str] | None = None,
        paging: Literal["auto", "offset", "cursor"] = "auto",
        min_change_version: int | None = None,
        max_change_version: int | None = None,
        snapshot: bool = False,
        on_short: Literal["error", "warn"] = "error",
    ) -> pl.DataFrame:
        """Read every record of one resource from each district of a frame.

        Parameters
        ----------
        df
            One row per district, or more: each distinct ``key_col`` is visited once, with its
            first row. Blank keys are skipped and counted in a log line; a key that comes back with
            another URL is an error row.
        key_col
            What tells districts apart; it is the first column of the result.
        params
            Filters, as the API names them: ``{"schoolId": 255901001}``.
        limit
            Records a page. A server that allows fewer is asked for what it allows.
        endpoint
            The resource, such as ``"ed-fi/students"``; the runner's own by default.
        workers
            Requests in flight at once, over all districts together.
        show_progress, progress_desc, label
            Whether to draw a bar, a prefix for its text (``"[4/7]"``), and another text.
        skip_statuses, status_col
            Rows whose ``status_col`` is one of these are left out.
        url_col, token_col
            Base URL and token of each row, String. A column that is absent under its default name:
            the client's own base URL and credentials serve.
        api_version_col
            Each row's API version; blank cells mean the client's.
        auth_key_col, auth_secret_col, oauth_endpoint
            With all three, a token that is missing, that ``expires_col`` says is over, or that is
            answered with 401 is renewed with the row's key and secret at
            ``{base URL}/{oauth_endpoint}``, once for all rows of a client.
        expires_col
            When each token ends: Datetime (without a time zone: UTC), seconds since 1970, or such
            a number as text.
        refresh_cooldown
            Seconds that renewals for a client pause after three failures in a row. The first pause
            is waited out, in later ones rows fail at once. 0 never pauses.
        row_id_col
            Taken for the sake of the other batch calls; a result row here is a record, and no row
            of ``df``. The column must exist.
        schema
            How records become columns. ``"infer"``: from the records, all of them. A Schema, Struct
            or dict: these columns, named as flattened, and ``_unknown`` (String) with a JSON object
            of what has no place in them. ``"auto"``: infers, until this library reads the ODS's
            own OpenAPI document. ``"openapi"`` is not there yet and raises.
        separator
            What stands between the names of nested properties: ``studentReference.studentUniqueId``.
        links
            Whether the ``link`` objects of references become columns.
        explode
            List columns that become one row per element, such as ``"scoreResults"``; a record with
            none keeps one row.
        paging
            ``"auto"`` or ``"offset"``; ``"cursor"`` is not there yet and raises.
        min_change_version, max_change_version
            Only records that changed in this range, ends included.
        snapshot
            Read from the ODS's snapshot (``Use-Snapshot``).
        on_short
            What becomes of a district with fewer distinct records than its server counts
            (``Total-Count``) even when read again: ``"error"``, one error row; ``"warn"``, its
            records and a warning.

        Returns
        -------
        DataFrame
            ``key_col`` (as in ``df``), ``status`` (String: null, or ``"error"``), ``message``
            (String), ``http_status`` (Int32), ``correlation_id`` (String), then the flattened
            records, one row per record, columns in first-seen order. Values of one property that do
            not agree in type become String: texts as they are, others as JSON. A district that
            failed is one row; half a district is never returned. A property whose name is taken is
            kept as ``<name>_record``. A record that was read twice is kept once.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError
            A named column is not there.
        polars.exceptions.SchemaError
            A column has a type that it cannot have.
        EdFiError
            An argument is wrong. All of these before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``: unfinished districts are error rows. A second
            Ctrl-C stops at once.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901", "255902"], records=10) as ods:
        ...     records = edfi.StudentAssessment().batch_get_all(
        ...         ods.districts(),
        ...         key_col="District BK",
        ...         auth_key_col="oAuthKey",
        ...         auth_secret_col="oAuthSecret",
        ...         oauth_endpoint="oauth/token",
        ...     )
        >>> records.group_by("District BK").len().sort("District BK").rows()
        [('255901', 10), ('255902', 10)]
        """
        call = _native.Call()
        frame(df)
        if row_id_col is not None:
            df.get_column(row_id_col)
        arguments = _read_arguments(
            endpoint=endpoint,
            query=params,
            limit=limit,
            workers=workers,
            wanted=schema,
            separator=separator,
            links=links,
            explode=explode,
            paging=paging,
            min_change_version=min_change_version,
            max_change_version=max_change_version,
            snapshot=snapshot,
            on_short=on_short,
        )
        arguments |= {
            "key_col": key_col,
            "skip_statuses": names("skip_statuses", skip_statuses) or [],
            "status_col": status_col,
            "url_col": url_col,
            "token_col": token_col,
            "api_version_col": api_version_col,
            "auth_key_col": auth_key_col,
            "auth_secret_col": auth_secret_col,
            "oauth_endpoint": oauth_endpoint,
            "expires_col": expires_col,
            "refresh_cooldown": refresh_cooldown,
        }
        bar = progress(
            call,
            show=show_progress,
            desc=progress_desc,
            label=label,
            default="fetching records",
            unit="districts",
        )
        with bar as tick:
            rows = self._native.batch_get_all(df, call, tick, **arguments)
        _warn(call)
        return self._finish(call, rows)

    def _finish(self, call: _native.Call, rows: pl.DataFrame) -> pl.DataFrame:
        self.rows = rows
        if call.is_cancelled():
            raise KeyboardInterrupt
        return rows


class StudentAssessment(EdFiClient):
    """An :class:`EdFiClient` whose default endpoint is ``ed-fi/studentAssessments``.

    Examples
    --------
    >>> import polars_edfi as edfi
    >>> runner = edfi.StudentAssessment(api_version="v3")
    >>> runner.rows is None
    True
    """


class Resource(EdFiClient):
    """An :class:`EdFiClient` with another default endpoint.

    Parameters
    ----------
    endpoint
        The path of a resource or a descriptor, extensions included: ``"tpdm/candidates"``.
    **settings
        Those of :class:`EdFiClient`.

    Examples
    --------
    >>> import polars_edfi as edfi
    >>> runner = edfi.Resource(edfi.endpoints.STUDENTS, api_version="7.1")
    """

    def __init__(self, endpoint: str, **settings: Any) -> None:
        self._endpoint = endpoint
        super().__init__(**settings)


def _pem(ca_certs: str | os.PathLike[str] | bytes | None) -> bytes | None:
    if ca_certs is None or isinstance(ca_certs, bytes):
        return ca_certs
    try:
        return Path(ca_certs).read_bytes()
    except OSError as error:
        msg = f"ca_certs: {error.strerror}: {os.fspath(ca_certs)!r}"
        raise EdFiError(msg) from None


def _read_arguments(
    *,
    endpoint: str | None,
    query: Mapping[str, object] | None,
    wanted: SchemaArgument,
    explode: str | Sequence[str] | None,
    paging: str,
    on_short: str,
    **plain: Any,
) -> dict[str, Any]:
    kind, schema_frame = schema(wanted)
    if kind == "openapi":
        msg = "schema='openapi' is not there yet; use 'infer', or give a schema"
        raise EdFiError(msg)
    if choice("paging", paging, ["auto", "offset", "cursor"]) == "cursor":
        msg = "paging='cursor' is not there yet; use 'offset'"
        raise EdFiError(msg)
    return plain | {
        "endpoint": endpoint,
        "params": params(query),
        "schema": kind,
        "schema_frame": schema_frame,
        "explode": names("explode", explode) or [],
        "on_short": choice("on_short", on_short, ["error", "warn"]),
    }


def _warn(call: _native.Call) -> None:
    for text in call.warnings():
        warnings.warn(text, UserWarning, stacklevel=3)
