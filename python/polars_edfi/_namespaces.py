"""The namespace ``edfi`` on expressions, lazy frames and frames."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Unpack, cast, overload

import polars as pl

from polars_edfi import _expressions, _native
from polars_edfi._base import native_side, warn
from polars_edfi._client import EdFiClient, StudentAssessment
from polars_edfi._frames import flatten, unflatten
from polars_edfi._signatures import with_options
from polars_edfi._stats import total
from polars_edfi.options import BatchDeleteOptions, BatchPostOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_edfi._stats import Stats

P = ParamSpec("P")

CHUNK = 10_000
"""Rows that a sink hands to one batch."""


def _method(
    function: Callable[Concatenate[pl.Expr, P], pl.Expr],
) -> Callable[Concatenate[Any, P], pl.Expr]:
    @wraps(function)
    def method(self: Any, *args: P.args, **kwargs: P.kwargs) -> pl.Expr:
        return function(self._expr, *args, **kwargs)

    return cast("Callable[Concatenate[Any, P], pl.Expr]", method)


@pl.api.register_expr_namespace("edfi")
class ExprNamespace:
    """Ed-Fi calls, with this expression as their first argument.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> runner = edfi.StudentAssessment(base_url="http://127.0.0.1:1", bearer_token="a-token")
    >>> df = pl.DataFrame({"id": ["0a13ceb8"]})
    >>> df.select(pl.col("id").edfi.delete_by_id(client=runner)).unnest("id")["status"].item()
    'dry_run'
    """

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    post_payload = _method(_expressions.post_payload)
    get_by_id = _method(_expressions.get_by_id)
    get_all = _method(_expressions.get_all)
    delete_by_id = _method(_expressions.delete_by_id)
    fetch_token = _method(_expressions.fetch_token)


@pl.api.register_dataframe_namespace("edfi")
class DataFrameNamespace:
    """Functions of frames alone."""

    def __init__(self, df: pl.DataFrame) -> None:
        self._df = df

    def flatten(
        self,
        columns: str | Sequence[str] | None = None,
        separator: str = ".",
        explode: str | Sequence[str] | None = None,
        lists: Literal["list", "json"] = "list",
    ) -> pl.DataFrame:
        """See :func:`polars_edfi.flatten`.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> pl.DataFrame({"ref": [{"id": 1}]}).edfi.flatten().columns
        ['ref.id']
        """
        return flatten(self._df, columns, separator, explode, lists)

    def unflatten(
        self,
        into: str = "payload",
        separator: str = ".",
        columns: str | Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """See :func:`polars_edfi.unflatten`.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> pl.DataFrame({"ref.id": [1]}).edfi.unflatten()["payload"].to_list()
        [{'ref': {'id': 1}}]
        """
        return unflatten(self._df, into, separator, columns)


@pl.api.register_lazyframe_namespace("edfi")
class LazyFrameNamespace:
    """Writes that send every row once, whatever the query; columns flat or nested."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def flatten(
        self,
        columns: str | Sequence[str] | None = None,
        separator: str = ".",
        explode: str | Sequence[str] | None = None,
        lists: Literal["list", "json"] = "list",
    ) -> pl.LazyFrame:
        """See :func:`polars_edfi.flatten`.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> pl.LazyFrame({"ref": [{"id": 1}]}).edfi.flatten().collect().columns
        ['ref.id']
        """
        return flatten(self._lf, columns, separator, explode, lists)

    def unflatten(
        self,
        into: str = "payload",
        separator: str = ".",
        columns: str | Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """See :func:`polars_edfi.unflatten`.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> pl.LazyFrame({"ref.id": [1]}).edfi.unflatten().collect()["payload"].to_list()
        [{'ref': {'id': 1}}]
        """
        return unflatten(self._lf, into, separator, columns)

    @overload
    def sink_post_payload(
        self,
        *,
        payload_col: str,
        key_col: str,
        client: EdFiClient | None = ...,
        **options: Unpack[BatchPostOptions],
    ) -> pl.DataFrame: ...

    @overload
    def sink_post_payload(
        self, *, payload_col: Any, key_col: Any, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_post_payload", BatchPostOptions)
    def sink_post_payload(
        self,
        *,
        payload_col: str,
        key_col: str,
        client: EdFiClient | None = None,
        **options: Any,
    ) -> pl.DataFrame:
        """Run the query, and post the payload of each of its rows, once.

        The rows come in pieces of 10,000, one after another, so that the query's result is never
        in memory as a whole.

        Parameters
        ----------
        payload_col, key_col
            As in :meth:`EdFiClient.batch_post_payload`.
        client
            The client that posts. By default the rows bring base URLs and tokens, and the endpoint
            is ``ed-fi/studentAssessments``, as for expressions.
        **options
            Those of :class:`polars_edfi.options.BatchPostOptions`.

        Returns
        -------
        DataFrame
            As from :meth:`EdFiClient.batch_post_payload`; ``row_index`` is the position in the
            query's result. Also in the client's ``rows``, where all that was answered stands even
            after an interrupt or an error of the query.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As there, before the query begins.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> lf = pl.LazyFrame({"k": [1, 2], "payload": ["{}", "{}"]})
        >>> runner = edfi.StudentAssessment(base_url="http://127.0.0.1:1")
        >>> result = lf.edfi.sink_post_payload(client=runner, payload_col="payload", key_col="k")
        >>> result["status"].to_list()
        ['dry_run', 'dry_run']
        """
        return _sink(
            self._lf,
            client,
            _native.batch_post_payload,
            {"payload_col": payload_col, "key_col": key_col, **options},
        )

    @overload
    def sink_delete_by_id(
        self,
        *,
        id_col: str,
        key_col: str,
        client: EdFiClient | None = ...,
        **options: Unpack[BatchDeleteOptions],
    ) -> pl.DataFrame: ...

    @overload
    def sink_delete_by_id(
        self, *, id_col: Any, key_col: Any, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_delete_by_id", BatchDeleteOptions)
    def sink_delete_by_id(
        self,
        *,
        id_col: str,
        key_col: str,
        client: EdFiClient | None = None,
        **options: Any,
    ) -> pl.DataFrame:
        """Run the query, and delete the item of each of its rows, once.

        Parameters
        ----------
        id_col, key_col
            As in :meth:`EdFiClient.batch_delete_by_id`.
        client
            As in :meth:`sink_post_payload`.
        **options
            Those of :class:`polars_edfi.options.BatchDeleteOptions`.

        Returns
        -------
        DataFrame
            As from :meth:`EdFiClient.batch_delete_by_id`; see :meth:`sink_post_payload`.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> lf = pl.LazyFrame({"id": ["0a13ceb8"]})
        >>> runner = edfi.StudentAssessment(base_url="http://127.0.0.1:1")
        >>> lf.edfi.sink_delete_by_id(client=runner, id_col="id", key_col="id")["status"].item()
        'dry_run'
        """
        return _sink(
            self._lf,
            client,
            _native.batch_delete_by_id,
            {"id_col": id_col, "key_col": key_col, **options},
        )


class Pieces:
    """The batches of a sink, whose rows are one frame."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, _native.Call]] = []

    def begin(self, before: int) -> _native.Call:
        """Give the handle of the next batch, with so many rows before it."""
        call = _native.Call()
        self._calls.append((before, call))
        return call

    @property
    def rows(self) -> pl.DataFrame | None:
        """What became of all rows so far."""
        rows = [
            call.rows.with_columns(pl.col("row_index") + before)
            for before, call in self._calls
            if call.rows is not None
        ]
        return pl.concat(rows) if rows else None

    def stats(self) -> Stats:
        """Tell what all batches have cost so far."""
        return total(call.stats() for _, call in self._calls)


def _sink(
    lf: pl.LazyFrame,
    client: EdFiClient | None,
    batch: Callable[..., pl.DataFrame],
    arguments: dict[str, Any],
) -> pl.DataFrame:
    client = StudentAssessment() if client is None else client
    native = native_side(client)
    pieces = Pieces()
    client._last = client._counted = pieces  # noqa: SLF001
    # Without rows nothing is sent, and everything is checked.
    batch(native, pieces.begin(0), lf.collect_schema().to_frame(), **arguments)
    before = 0
    try:
        # Batches are called from here, not by the engine, whose threads see no Ctrl-C.
        for df in lf.collect_batches(chunk_size=CHUNK, maintain_order=True):
            call = pieces.begin(before)
            batch(native, call, df, **arguments)
            warn(call, stacklevel=4)
            before += df.height
    except BaseException as error:
        if before:
            error.add_note(
                f"{before} rows were taken up before; client.rows tells what became of them"
            )
        raise
    return cast("pl.DataFrame", pieces.rows)
