"""Functions of frames alone."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import polars as pl

from polars_edfi import _native

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def flatten(
    df: Frame,
    columns: str | Sequence[str] | None = None,
    separator: str = ".",
    explode: str | Sequence[str] | None = None,
    lists: Literal["list", "json"] = "list",
) -> Frame:
    """Turn Struct columns into one column per leaf.

    Parameters
    ----------
    df
        Any frame. With a LazyFrame nothing is done before the query runs, and what is wrong with
        the columns is an error of the query.
    columns
        The Struct columns to flatten; all of them by default.
    separator
        What stands between the names of nested fields.
    explode
        List columns that become one row per element, one after another; their Struct fields then
        become columns too. A row with an empty or a null list keeps one row. A name may be a
        column that an earlier one produced.
    lists
        What the other lists become: ``"list"``, or ``"json"``, Strings of compact JSON.

    Returns
    -------
    DataFrame or LazyFrame
        As it was given. The leaves of a Struct stand where it stood, named ``parent.leaf``; a name
        that is taken gets ``_record`` appended. A list of Structs stays a list unless it is
        exploded.

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

    def flat(df: pl.DataFrame) -> pl.DataFrame:
        return _native.flatten(
            df, columns=columns, separator=separator, explode=explode, lists=lists
        )

    return _applied(flat, df)


def unflatten(
    df: Frame,
    into: str = "payload",
    separator: str = ".",
    columns: str | Sequence[str] | None = None,
) -> Frame:
    """Combine columns into one Struct column: the inverse of :func:`flatten`.

    Parameters
    ----------
    df
        Any frame; a LazyFrame as in :func:`flatten`.
    into
        The name of the new column.
    separator
        What stands between the names of nested fields: ``"ref.id"`` becomes the field ``id`` of
        the Struct ``ref``.
    columns
        The columns to take, in this order; all of them by default.

    Returns
    -------
    DataFrame or LazyFrame
        As it was given. The columns that were not taken, and ``into`` (Struct). An inner Struct
        whose fields are all null is null.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError
        A named column is not there.
    EdFiError
        A column called ``into`` stays beside, one path is both a value and a Struct, or a name has
        more than 128 parts.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> df = pl.DataFrame({"ref.id": [1], "ref.name": ["a"], "n": [2]})
    >>> edfi.unflatten(df, columns=["ref.id", "ref.name"])["payload"].to_list()
    [{'ref': {'id': 1, 'name': 'a'}}]
    """

    def nested(df: pl.DataFrame) -> pl.DataFrame:
        return _native.unflatten(df, into=into, separator=separator, columns=columns)

    return _applied(nested, df)


def summary(districts: pl.DataFrame, records: pl.DataFrame, *, key_col: str) -> pl.DataFrame:
    """Summarize a read in one row per district.

    Parameters
    ----------
    districts
        The frame that was read. If it has the columns ``row status`` and ``message`` of
        :meth:`EdFiClient.batch_fetch_tokens`, districts that were left out for their token say so.
    records
        The result: of :meth:`EdFiClient.batch_get_all`, or of :func:`scan_all` with
        ``on_error="row"``.
    key_col
        What tells districts apart, in both frames.

    Returns
    -------
    DataFrame
        One row per district, in the order of ``districts``: ``key_col`` (as there), ``status``
        (String: null, ``"error"``, or the row status for which it was left out), ``stage`` (String:
        ``"token"`` or ``"read"``, what failed), ``message`` (String), ``http_status`` (Int32),
        ``records`` (UInt32: its rows, of which a read with ``explode`` has several for a record).
        A district that was read and has no records has 0. Rows with a blank key are left out.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError
        ``key_col`` is not in both frames, or ``records`` has no ``status``, ``message`` and
        ``http_status``.

    Examples
    --------
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901", "255902"], records=12) as ods:
    ...     districts = ods.districts()
    ...     districts[1, "oAuthSecret"] = "wrong"
    ...     runner = edfi.StudentAssessment()
    ...     tokens = runner.batch_fetch_tokens(
    ...         districts, oauth_endpoint="oauth/token", account_col="District BK"
    ...     )
    ...     districts = districts.join(tokens.drop("oAuthKey"), on="District BK", how="left")
    ...     records = runner.batch_get_all(districts, key_col="District BK")
    >>> summary = edfi.summary(districts, records, key_col="District BK")
    >>> summary.select("District BK", "status", "stage", "records").rows()
    [('255901', None, None, 12), ('255902', 'error', 'token', 0)]
    """
    return _native.summary(districts, records, key_col)


def _applied(function: Callable[[pl.DataFrame], pl.DataFrame], df: Frame) -> Frame:
    """Apply a function of rows to a frame, or to a lazy one once its columns are known."""
    if isinstance(df, pl.LazyFrame):
        return df.pipe_with_schema(
            lambda lf, schema: lf.map_batches(
                function, schema=function(pl.Schema(schema).to_frame()).schema, streamable=True
            )
        )
    return function(df)


def tables(df: pl.DataFrame, *, key: str | Sequence[str] | None = None) -> dict[str, pl.DataFrame]:
    """Take a frame apart, for databases and files that know no lists.

    Parameters
    ----------
    df
        Records, as reads and :func:`flatten` give them; Structs are flattened.
    key
        The columns that tell the rows apart: by default ``id``, and what stands before it but
        ``status``, ``message``, ``http_status`` and ``correlation_id``.

    Returns
    -------
    dict
        ``""`` is the frame without its lists. Then there is a frame for each list, named by its
        path (``"scoreResults"``, ``"studentObjectiveAssessments.scoreResults"``): the key columns,
        ``_index`` (UInt32: the place in the list; ``_index_2`` for a list in a list, and so on),
        and the elements: their fields, flattened, or ``value``. A column whose name is taken gets
        ``_record`` appended. A row with an empty list, or none, has no row there. Joined by key and
        index they are the frame again.

    Raises
    ------
    polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError
        A key column is not there, or is a list.
    EdFiError
        No key is given and there is no ``id``, a column stands in the key twice, or two rows with
        lists have the same key.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> df = pl.DataFrame({"id": ["a", "b"], "scores": [[{"result": 18}, {"result": 21}], []]})
    >>> found = edfi.tables(df)
    >>> found[""].columns, found["scores"].rows()
    (['id'], [('a', 0, 18), ('a', 1, 21)])
    """
    return dict(_native.tables(df, key))
