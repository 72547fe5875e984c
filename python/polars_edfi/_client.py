"""Clients: one or many Ed-Fi ODSs, as frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from polars_edfi import _native
from polars_edfi._changes import ChangeQueries
from polars_edfi._errors import EdFiError
from polars_edfi._items import Items
from polars_edfi._metadata import Metadata
from polars_edfi._reads import Reads
from polars_edfi._tokens import Tokens
from polars_edfi._writes import Writes


class EdFiClient(Tokens, Reads, Items, Writes, ChangeQueries, Metadata):
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
