"""Clients: one or many Ed-Fi ODSs, as frames."""

from __future__ import annotations

from typing import Any, NoReturn, Unpack, overload

from polars_edfi import _native, endpoints
from polars_edfi._aio import Aio
from polars_edfi._changes import ChangeQueries
from polars_edfi._errors import EdFiError
from polars_edfi._html import facts
from polars_edfi._items import Items
from polars_edfi._metadata import Metadata
from polars_edfi._preflight import Preflight
from polars_edfi._reads import Reads
from polars_edfi._sends import Sends
from polars_edfi._signatures import with_options
from polars_edfi._tokens import Tokens
from polars_edfi._writes import Writes
from polars_edfi.options import ClientOptions


@with_options("EdFiClient", ClientOptions)
class EdFiClient(Tokens, Reads, Items, Writes, Sends, ChangeQueries, Metadata, Preflight):
    """A client for one or many Ed-Fi ODSs.

    With a ``base_url`` and credentials it is the client of one ODS. Without them it works on
    frames whose rows bring their own; columns of a frame go before the client's own settings.
    It has no default endpoint: each call names the resource. :class:`StudentAssessment` and
    :class:`Resource` have one.

    Parameters
    ----------
    **options
        Those of :class:`polars_edfi.options.ClientOptions`.

    Attributes
    ----------
    rows
        The frame of the last batch call; ``None`` before the first, and while one runs. After an
        interrupt it holds what became of each row.
    stats
        What the last call has cost: requests, retries, bytes, seconds, rows by status.

    Raises
    ------
    EdFiError
        A URL that is none, a data URL (``.../data/v3``) in place of the ODS's root, plain http to
        another machine, half a pair of credentials, or both kinds of them. Nothing is sent.

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

    _endpoint: str | None = None

    @overload
    def __init__(self, **options: Unpack[ClientOptions]) -> None: ...

    # What a plain dict is unpacked into, of which no type checker knows the names: `_unpacked` can
    # come from nowhere else, so that all other calls are checked by the first overload.
    @overload
    def __init__(self, *, _unpacked: object, **options: Any) -> None: ...

    def __init__(self, **options: Any) -> None:
        self._native = _native.Client(self._endpoint, **options)

    @property
    def aio(self) -> Aio:
        """Every call of this client as a coroutine, with the same arguments and results.

        Examples
        --------
        >>> import asyncio
        >>> import polars_edfi as edfi
        >>> async def count(ods: edfi.Sandbox) -> list[int]:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     return await asyncio.gather(
        ...         client.aio.count("ed-fi/schools"),
        ...         client.aio.count("ed-fi/studentAssessments"),
        ...     )
        >>> with edfi.Sandbox(districts=["255901"], records=12) as ods:
        ...     schools, results = asyncio.run(count(ods))
        >>> results
        12
        """
        return Aio(self)

    def __repr__(self) -> str:
        settings = self._native.settings()
        shown = [f"{name}={value!r}" for name, value in settings.items() if value is not None]
        return f"{type(self).__name__}({', '.join([*self._leading(), *shown])})"

    def _repr_html_(self) -> str:
        settings = {"endpoint": self._endpoint} | self._native.settings()
        shown = {name.replace("_", " "): value for name, value in settings.items() if value}
        if stats := self.stats:
            rows = [f"{count:,} {status or 'ok'}" for status, count in stats["rows"].items()]
            cost = f"{stats['requests']:,} requests, {stats['retries']:,} retries"
            shown["last call"] = ", ".join([*rows, cost, f"{stats['seconds']:,.1f} s"])
        return facts(type(self).__name__, shown)

    def _leading(self) -> list[str]:
        """Give the positional arguments that ``repr`` shows."""
        return []

    def __reduce__(self) -> NoReturn:
        msg = f"{type(self).__name__} holds secrets and cannot be pickled; make a new one there"
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

    _endpoint = endpoints.STUDENT_ASSESSMENTS


@with_options("EdFiClient", ClientOptions)
class Resource(EdFiClient):
    """An :class:`EdFiClient` with another default endpoint.

    Parameters
    ----------
    endpoint
        The path of a resource or a descriptor, extensions included: ``"tpdm/candidates"``.
    **options
        Those of :class:`polars_edfi.options.ClientOptions`.

    Examples
    --------
    >>> import polars_edfi as edfi
    >>> runner = edfi.Resource(edfi.endpoints.STUDENTS, api_version="7.1")
    """

    @overload
    def __init__(self, endpoint: str, **options: Unpack[ClientOptions]) -> None: ...

    @overload
    def __init__(self, endpoint: str, *, _unpacked: object, **options: Any) -> None: ...

    def __init__(self, endpoint: str, **options: Any) -> None:
        if not isinstance(endpoint, str):
            msg = f"endpoint must be the path of a resource, got {endpoint!r}"
            raise EdFiError(msg)
        self._endpoint = endpoint
        super().__init__(**options)

    def _leading(self) -> list[str]:
        return [repr(self._endpoint)]
