"""Change queries: what was deleted, what was renamed, what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from polars_edfi import _native
from polars_edfi._base import ClientBase, warn
from polars_edfi._html import facts
from polars_edfi._signatures import with_options
from polars_edfi.options import ChangesOptions, DeletesOptions

if TYPE_CHECKING:
    import polars as pl


class ChangeVersions(TypedDict):
    """The change versions that an ODS can tell about."""

    oldest: int
    newest: int


class Changes(NamedTuple):
    """What changed in one resource; apply ``key_changes``, then ``records``, then ``deletes``."""

    records: pl.DataFrame
    """The records that are new or changed, flat, as ``get_all`` gives them."""
    deletes: pl.DataFrame
    """The items that are gone: ``id``, ``changeVersion``, ``keyValues.*``."""
    key_changes: pl.DataFrame
    """The items with a new natural key: ``id``, ``changeVersion``, ``oldKeyValues.*``,
    ``newKeyValues.*``."""
    next_version: int
    """What to give as ``since`` the next time."""

    def __repr__(self) -> str:
        return (
            f"Changes(records={self.records.height}, deletes={self.deletes.height}, "
            f"key_changes={self.key_changes.height}, next_version={self.next_version})"
        )

    def _repr_html_(self) -> str:
        return facts(
            "Changes",
            {
                "records": self.records.height,
                "deletes": self.deletes.height,
                "key changes": self.key_changes.height,
                "next version": str(self.next_version),
            },
        )


class ChangeQueries(ClientBase):
    """The calls that tell what changed in the client's own ODS."""

    def available_change_versions(self) -> ChangeVersions:
        """Return the oldest and the newest change version of the client's own ODS.

        Returns
        -------
        dict
            ``oldest`` and ``newest``, both int.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials.
        HttpError
            The ODS does not answer as it should; a 404 says that change queries are turned off.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=10) as ods:
        ...     _, url, key, secret = ods.districts().row(0)
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     versions = client.available_change_versions()
        >>> versions["oldest"] <= versions["newest"]
        True
        """
        call = self._call()
        oldest, newest = _native.available_change_versions(self._native, call)
        return {"oldest": oldest, "newest": newest}

    @with_options("deletes", DeletesOptions)
    def deletes(self, endpoint: str, **options: Unpack[DeletesOptions]) -> pl.DataFrame:
        """Read which items of a resource were deleted.

        Parameters
        ----------
        endpoint
            The resource, such as ``"ed-fi/students"``.
        **options
            Those of :class:`polars_edfi.options.DeletesOptions`.

        Returns
        -------
        DataFrame
            ``id`` (String), ``changeVersion`` (Int64), and the natural key as ``keyValues.*``,
            which an ODS/API up to 5.3 does not tell; one row per deletion. An item that was
            deleted, made again and deleted again has two rows. One deletion (the same ``id`` and
            ``changeVersion``) that two pages hold, because others moved in between, has one.

        Raises
        ------
        EdFiError
            An argument is wrong; nothing is sent.
        AuthError, HttpError
            The ODS does not answer as it should. A part of the deletions is never returned.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=10) as ods:
        ...     _, url, key, secret = ods.districts().row(0)
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     deletes = client.deletes("ed-fi/students")
        >>> deletes.columns
        ['id', 'changeVersion', 'keyValues.studentUniqueId']
        """
        return _native.deletes(self._native, self._call(), endpoint=endpoint, **options)

    @with_options("key_changes", DeletesOptions)
    def key_changes(self, endpoint: str, **options: Unpack[DeletesOptions]) -> pl.DataFrame:
        """Read which items of a resource changed their natural key.

        Parameters
        ----------
        endpoint
            The resource, such as ``"ed-fi/students"``.
        **options
            Those of :class:`polars_edfi.options.DeletesOptions`.

        Returns
        -------
        DataFrame
            ``id`` (String), ``changeVersion`` (Int64), ``oldKeyValues.*`` and ``newKeyValues.*``:
            the first and the last key in the range, one row per item.

        Raises
        ------
        EdFiError
            An argument is wrong; nothing is sent.
        AuthError, HttpError
            The ODS does not answer as it should.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=10) as ods:
        ...     _, url, key, secret = ods.districts().row(0)
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     changed = client.key_changes("ed-fi/classPeriods")
        >>> changed.columns[:2]
        ['id', 'changeVersion']
        """
        return _native.key_changes(self._native, self._call(), endpoint=endpoint, **options)

    @with_options("changes", ChangesOptions)
    def changes(self, endpoint: str, **options: Unpack[ChangesOptions]) -> Changes:
        """Read what changed in a resource since a version, and the version to continue from.

        Parameters
        ----------
        endpoint
            The resource, such as ``"ed-fi/students"``.
        **options
            Those of :class:`polars_edfi.options.ChangesOptions`.

        Returns
        -------
        Changes
            A named tuple of ``records``, ``deletes``, ``key_changes`` (DataFrames) and
            ``next_version`` (int). With ``since=None``, ``records`` is all there is and the other
            two are empty. The range begins ``overlap`` versions before ``since`` and ends with the
            newest version that the ODS had when the call began; what changes later belongs to the
            next one. Where the range is empty, nothing but the versions is asked for. ``deletes``
            has no item that is among ``records``: it was made again. An ODS/API before 6.1 tells no
            changed keys, unless it is a 5.3 with the change query extension.

        Raises
        ------
        EdFiError
            An argument is wrong (nothing is sent), or the ODS has forgotten changes after
            ``since``: then everything must be read anew.
        AuthError, HttpError
            The ODS does not answer as it should. A part of the changes is never returned.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(records=10) as ods:
        ...     _, url, key, secret = ods.districts().row(0)
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     first = client.changes("ed-fi/studentAssessments")
        ...     result = client.delete_by_id(
        ...         first.records["id"][0],
        ...         key="1",
        ...         endpoint="ed-fi/studentAssessments",
        ...         commit=True,
        ...     )
        ...     then = client.changes(
        ...         "ed-fi/studentAssessments", since=first.next_version, overlap=0
        ...     )
        >>> first.records.height, then.records.height, then.deletes.height
        (10, 0, 1)
        """
        call = self._call()
        found = _native.changes(self._native, call, endpoint=endpoint, **options)
        warn(call, stacklevel=3)
        return Changes(*found)
