"""Functions of frames alone."""

from collections.abc import Sequence

import polars as pl

from polars_edfi import _native


def flatten(
    df: pl.DataFrame,
    columns: str | Sequence[str] | None = None,
    separator: str = ".",
    explode: str | Sequence[str] | None = None,
) -> pl.DataFrame:
    """Turn Struct columns into one column per leaf.

    Parameters
    ----------
    df
        Any frame.
    columns
        The Struct columns to flatten; all of them by default.
    separator
        What stands between the names of nested fields.
    explode
        List columns that become one row per element, one after another; their Struct fields then
        become columns too. A row with an empty or a null list keeps one row. A name may be a
        column that an earlier one brought forth.

    Returns
    -------
    DataFrame
        The leaves of a Struct stand where it stood, named ``parent.leaf``; a name that is taken
        gets ``_record`` appended. A list of Structs stays a list unless it is exploded.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError
        A named column is not there.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> df = pl.DataFrame({"ref": [{"id": 1, "link": {"rel": "Student"}}], "scores": [[3, 4]]})
    >>> edfi.flatten(df).columns
    ['ref.id', 'ref.link.rel', 'scores']
    >>> edfi.flatten(df, explode="scores").height
    2
    """
    return _native.flatten(df, columns=columns, separator=separator, explode=explode)


def unflatten(
    df: pl.DataFrame,
    into: str = "payload",
    separator: str = ".",
    columns: str | Sequence[str] | None = None,
) -> pl.DataFrame:
    """Put columns together as one Struct column: the inverse of :func:`flatten`.

    Parameters
    ----------
    df
        Any frame.
    into
        The name of the new column.
    separator
        What stands between the names of nested fields: ``"ref.id"`` becomes the field ``id`` of
        the Struct ``ref``.
    columns
        The columns to take, in this order; all of them by default.

    Returns
    -------
    DataFrame
        The columns that were not taken, and ``into`` (Struct). An inner Struct whose fields are all
        null is null.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError
        A named column is not there.
    EdFiError
        A column called ``into`` stays beside, or one path is both a value and a Struct.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> df = pl.DataFrame({"ref.id": [1], "ref.name": ["a"], "n": [2]})
    >>> edfi.unflatten(df, columns=["ref.id", "ref.name"])["payload"].to_list()
    [{'ref': {'id': 1, 'name': 'a'}}]
    """
    return _native.unflatten(df, into=into, separator=separator, columns=columns)
