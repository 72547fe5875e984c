"""What is known before anything is sent: permissions, and what is wrong with payloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack, overload

import polars as pl

from polars_edfi import _native
from polars_edfi._base import ClientBase
from polars_edfi._errors import EdFiError
from polars_edfi._signatures import with_options
from polars_edfi.options import CompareOptions, RowOptions, ValidateOptions

Frame = pl.DataFrame | pl.LazyFrame
Frames = Frame | Mapping[str, Frame]


class Preflight(ClientBase):
    """The calls that look before others leap."""

    def permissions(self) -> pl.DataFrame:
        """Tell what the client's own credentials may do.

        Returns
        -------
        DataFrame
            One row for each resource: ``endpoint`` (String) and ``operations`` (List(String):
            ``"Create"``, ``"Read"``, ``"Update"``, ``"Delete"``, ``"ReadChanges"``), in the order
            of the server.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials.
        HttpError, AuthError
            The ODS does not tell it: its token introspection is off (404), or its release is older
            than 7.3. :meth:`batch_permissions` shows what older ones tell.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=1) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     allowed = client.permissions()
        >>> allowed.filter(endpoint="ed-fi/students")["operations"].to_list()
        [['Create', 'Read', 'Update', 'Delete', 'ReadChanges']]
        """
        return _native.permissions(self._native, self._call())

    @overload
    def batch_permissions(
        self, df: pl.DataFrame, *, key_col: str, **options: Unpack[RowOptions]
    ) -> pl.DataFrame: ...

    @overload
    def batch_permissions(
        self, df: pl.DataFrame, *, key_col: Any, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_permissions", RowOptions)
    def batch_permissions(self, df: pl.DataFrame, *, key_col: str, **options: Any) -> pl.DataFrame:
        """List what the credentials of each district may do, for whom, through which profiles.

        Parameters
        ----------
        df
            One row per district, with its own credentials; each distinct ``key_col`` is asked for
            once. Rows with a blank key are skipped.
        key_col
            What tells districts apart.
        **options
            Those of :class:`polars_edfi.options.RowOptions`.

        Returns
        -------
        DataFrame
            One row per district in first-seen order: ``key_col`` (as in ``df``, trimmed),
            ``status`` (String: null or ``"error"``), ``message`` (String), ``http_status`` (Int32),
            ``correlation_id`` (String), ``claim_set`` (String), ``namespace_prefixes``
            (List(String)), ``education_organizations`` (List(Struct: ``education_organization_id``
            Int64, ``name_of_institution``, ``type`` String)), ``profiles`` (List(String)) and
            ``resources`` (List(Struct: ``endpoint`` String, ``operations`` List(String))). What an
            ODS does not tell is null: ``claim_set`` and ``resources`` before 7.3. A district that
            fails is a row, too; there an ``http_status`` of 404 means that the ODS has its token
            introspection switched off.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901", "255902"], records=1) as ods:
        ...     allowed = edfi.EdFiClient().batch_permissions(
        ...         ods.districts(),
        ...         key_col="District BK",
        ...         auth_key_col="oAuthKey",
        ...         auth_secret_col="oAuthSecret",
        ...         oauth_endpoint="oauth/token",
        ...     )
        >>> allowed["claim_set"].to_list()
        ['Sandbox', 'Sandbox']
        """
        return self._batch(_native.batch_permissions, df, key_col=key_col, **options)

    @overload
    def validate(
        self, frames: Frames, *, endpoint: str | None = ..., **options: Unpack[ValidateOptions]
    ) -> pl.DataFrame: ...

    @overload
    def validate(self, frames: Frames, *, _unpacked: object, **options: Any) -> pl.DataFrame: ...

    @with_options("validate", ValidateOptions)
    def validate(
        self, frames: Frames, *, endpoint: str | None = None, **options: Any
    ) -> pl.DataFrame:
        """Check payloads before they are sent: all findings of all rows.

        Nothing is written. The ODS's OpenAPI documents are fetched, and what rows refer to is
        looked for: each collection is read once at most, its key columns only, or asked by key
        where that takes fewer requests. What rows of the same call bring counts as there, unless
        they have errors themselves. Each row is checked against its own ODS, by what its own
        credentials see there.

        Parameters
        ----------
        frames
            ``{endpoint: frame}``, DataFrames or LazyFrames (which are collected), or one frame.
        endpoint
            The resource of a single frame; the runner's own by default.
        **options
            Those of :class:`polars_edfi.options.ValidateOptions`.

        Returns
        -------
        DataFrame
            One row for each finding, in the order of frames and rows; none where all is well:
            ``endpoint`` (String), ``row_index`` (the position in its frame), ``row_id``,
            ``severity`` (String: ``"error"``, which the server would refuse, or ``"warning"``),
            ``rule`` (String: ``"schema"``, ``"keys"``, ``"descriptors"``, ``"references"``),
            ``path`` (String: ``"$.scoreResults[2].result"``; of a missing property its own) and
            ``detail`` (String). What could not be checked, such as a collection that these
            credentials must not read, is a warning with a null ``row_index``. The details of
            descriptors and references hold values of the payload.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_post_payload`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, without findings.

        Notes
        -----
        ODSs find descriptors in any case: a value that differs in case only is a warning. Where the
        ODS serves no OpenAPI document, only whether payloads are JSON is known. Where it serves one
        that cannot be read, each of its rows has an error with the path ``$``: what was to be
        checked, and was not, is not let through.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> df = pl.DataFrame({"payload": ['{"studentUniqueId": "1", "firstname": "Ada"}']})
        >>> with edfi.Sandbox(districts=["255901"], records=1) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     findings = client.validate(df, endpoint="ed-fi/students")
        >>> findings.filter(severity="error")["path"].to_list()
        ['$.birthDate', '$.firstName', '$.lastSurname']
        """
        named = _named(frames, endpoint)
        return self._batch(_native.validate, named, **options)

    @overload
    def compare(
        self, frames: Frames, *, endpoint: str | None = ..., **options: Unpack[CompareOptions]
    ) -> pl.DataFrame: ...

    @overload
    def compare(self, frames: Frames, *, _unpacked: object, **options: Any) -> pl.DataFrame: ...

    @with_options("compare", CompareOptions)
    def compare(
        self, frames: Frames, *, endpoint: str | None = None, **options: Any
    ) -> pl.DataFrame:
        """Compare payloads with what the ODS has: what a :meth:`send` would do.

        A POST replaces the whole item: what the server has and the payload leaves out is a change,
        for it would be erased. No change are what the server writes itself (``id``, ``_etag``,
        ``_lastModifiedDate``, links) and names that its OpenAPI document does not know. Absent,
        null and an empty list are one; numbers and dates are compared by value, descriptors in any
        case, lists as sets of elements, by the keys of these where they have some. Each collection
        is read once by each client that rows bring, since one need not see what another one does,
        or asked by key where that takes fewer requests; nothing is written.

        Parameters
        ----------
        frames
            ``{endpoint: frame}``, DataFrames or LazyFrames (which are collected), or one frame.
        endpoint
            The resource of a single frame; the runner's own by default.
        **options
            Those of :class:`polars_edfi.options.CompareOptions`.

        Returns
        -------
        DataFrame
            One row for each that takes part, in the order of frames and rows: ``endpoint``
            (String), ``row_index`` (the position in its frame), ``row_id``, ``id`` (String: of the
            item on the server), ``status`` (String: ``"new"``, ``"same"``, ``"changed"``,
            ``"error"``) and ``changes`` (List(Struct: ``path``, ``ours``, ``theirs``: String, JSON
            text, null where absent)). Of an error the one path says what is the matter. With
            ``extra``, items that no row names follow the rows of their endpoint.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_post_payload`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, without rows.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=5) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     flat = client.get_all(key=1, endpoint="ed-fi/students")["data"]
        ...     students = edfi.unflatten(flat.drop("_unknown"))
        ...     compared = client.compare(students, endpoint="ed-fi/students")
        >>> set(compared["status"])
        {'same'}
        """
        return self._batch(_native.compare, _named(frames, endpoint), **options)


def _named(frames: Frames, endpoint: str | None) -> list[tuple[str | None, pl.DataFrame]]:
    """Give endpoints and their frames; a frame alone may be of the client's own."""
    if not isinstance(frames, Mapping):
        return [(endpoint, _collected(frames))]
    if endpoint is not None:
        msg = "endpoint is for a single frame; a dict of frames names its endpoints itself"
        raise EdFiError(msg)
    return [(name, _collected(frame)) for name, frame in frames.items()]


def _collected(frame: Frame) -> pl.DataFrame:
    return frame.collect() if isinstance(frame, pl.LazyFrame) else frame
