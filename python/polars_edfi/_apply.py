"""A copy of a resource and what changed in it: the copy as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from polars_edfi import _native
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl


class ChangesLike(Protocol):
    """What :meth:`EdFiClient.changes` gives, or anything with the same three frames."""

    @property
    def records(self) -> pl.DataFrame:
        """New and changed records."""

    @property
    def deletes(self) -> pl.DataFrame:
        """``id`` and ``changeVersion`` of items that are gone."""

    @property
    def key_changes(self) -> pl.DataFrame:
        """``id``, ``changeVersion``, ``oldKeyValues.*``, ``newKeyValues.*``."""


def apply_changes(
    copy: pl.DataFrame,
    changes: ChangesLike,
    *,
    key_fields: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Merge what changed in a resource into a copy of it.

    First new keys go to the copy's own rows, by ``id``, in the order of their versions. Then
    records take the place of the rows with their ``id``, and of the rows with their natural key: an
    item that was deleted and made again has a new ``id``, and its delete is not told. Then the rows
    of ``deletes`` go, by ``id``: they always win. Nothing is sent, and applied twice it changes
    nothing.

    Parameters
    ----------
    copy
        The rows so far, with the columns of the resource's records; a frame without columns is an
        empty copy.
    changes
        Anything with the frames ``records``, ``deletes`` and ``key_changes``, such as what
        :meth:`EdFiClient.changes` gives. Each may be empty, and without columns.
    key_fields
        The columns of the natural key, as ``client.resources()`` tells them. Those of
        ``newKeyValues.*`` are found by their last part, behind the role of their reference where
        that is told (``programEducationOrganizationId`` is
        ``programReference.educationOrganizationId``). By default rows are told apart by their
        ``id`` alone, and a new key goes to the columns that bear its names where no other could be
        meant.

    Returns
    -------
    DataFrame
        The copy as it is now: rows that nothing replaced in their order, then those of the records.
        Columns are the copy's, then those that only records have. Dtypes are the copy's, widened
        where records need it: Int32 with Int64 is Int64, integers with floats Float64, anything
        else String (as JSON where it was no text). Of two records with one key the one that was
        modified last stays. Rows with a null in their key are told apart by ``id`` alone.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError
        Copy and records lack ``id``, or a column of ``key_fields``.
    EdFiError
        ``changes`` is not what :meth:`EdFiClient.changes` gives.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> copy = pl.DataFrame({"id": ["a", "b", "c"], "schoolId": [1, 2, 3]})
    >>> changes = edfi.Changes(
    ...     records=pl.DataFrame({"id": ["d"], "schoolId": [2]}),
    ...     deletes=pl.DataFrame({"id": ["a"], "changeVersion": [12]}),
    ...     key_changes=pl.DataFrame(),
    ...     next_version=13,
    ... )
    >>> edfi.apply_changes(copy, changes, key_fields=["schoolId"]).rows()
    [('c', 3), ('d', 2)]
    """
    for name in ("records", "deletes", "key_changes"):
        if not hasattr(changes, name):
            msg = (
                f"changes must be what client.changes() gives, got {kind(changes)}, without {name}"
            )
            raise EdFiError(msg)
    return _native.apply_changes(
        copy, changes.records, changes.deletes, changes.key_changes, key_fields
    )
