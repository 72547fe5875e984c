"""Ed-Fi calls inside a Polars query: expressions over the same Rust functions as the batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import polars as pl
from polars.plugins import register_plugin_function

from polars_edfi import _native
from polars_edfi._base import native_side
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind
from polars_edfi._signatures import with_options
from polars_edfi.options import (
    DeleteExpressionOptions,
    ExpressionOptions,
    FetchTokenExpressionOptions,
    GetAllExpressionOptions,
    PostExpressionOptions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_edfi._client import EdFiClient
    from polars_edfi.options import SchemaDict

_LIBRARY = Path(_native.__file__)

Column = str | pl.Expr


@overload
def post_payload(
    payload: Column,
    *,
    url: Column | None = ...,
    token: Column | None = ...,
    client: EdFiClient | None = ...,
    **options: Unpack[PostExpressionOptions],
) -> pl.Expr: ...


@overload
def post_payload(payload: Column, *, _unpacked: object, **options: Any) -> pl.Expr: ...


@with_options("expression.post_payload", PostExpressionOptions)
def post_payload(
    payload: Column,
    *,
    url: Column | None = None,
    token: Column | None = None,
    client: EdFiClient | None = None,
    **options: Any,
) -> pl.Expr:
    """Post each row's payload: :meth:`EdFiClient.batch_post_payload` as an expression.

    Parameters
    ----------
    payload
        A column of JSON objects (String, sent byte for byte) or of Structs; its name, or an
        expression.
    url, token
        Base URL and token of each row: names of columns, or expressions. A null or blank one is
        that row's error. A token that no column holds is refused: it would stand in the plan.
    client
        The client whose base URL and credentials serve where there is no ``url`` or ``token``. It
        is kept for the life of the process, and the plan holds a number in its place.
    **options
        Those of :class:`polars_edfi.options.PostExpressionOptions`.

    Returns
    -------
    Expr
        Struct of ``status`` (String: null for success, ``"error"``, ``"dry_run"``, or what
        ``allow_statuses`` says), ``message`` (String), ``http_status`` (Int32),
        ``correlation_id`` and ``resource_id`` (String); null where ``payload`` is null.

    Raises
    ------
    EdFiError
        A wrong argument: here, before there is a query. Inside the query, where Polars calls it,
        a column of a wrong type is a ``polars.exceptions.ComputeError``.

    Notes
    -----
    Each row is sent once in ``df.with_columns``, in ``lf.collect()`` of either engine, and before a
    later ``filter``, ``head`` or ``sort``. No expression can promise more: Polars never evaluates a
    column that the query does not need (``select`` of other columns, ``pl.len()``), evaluates it
    once for each group under ``over`` and ``group_by``, for every row under ``when``, and maybe
    twice where it stands twice in a query. ``LazyFrame.edfi.sink_post_payload`` and
    :meth:`EdFiClient.batch_post_payload` send each row once, always.

    After Ctrl-C nothing more is sent, and what was sent is waited for; a second one does not wait.
    Python raises ``KeyboardInterrupt`` as the query comes back, and its rows are lost, those that
    were written, too. The cells of a frame are part of a serialised plan, tokens among them: where
    plans travel, use ``client``.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> runner = edfi.StudentAssessment(base_url="http://127.0.0.1:1", bearer_token="a-token")
    >>> df = pl.DataFrame({"payload": ['{"studentUniqueId": "604822"}']})
    >>> result = pl.col("payload").edfi.post_payload(client=runner).alias("result")
    >>> df.select(result).unnest("result")["status"].item()
    'dry_run'
    """
    columns = [_column("payload", payload), *_credentials(url, token)]
    return _call("post_payload", columns, (client, url, token), None, options)


@overload
def delete_by_id(
    id: Column,
    *,
    url: Column | None = ...,
    token: Column | None = ...,
    client: EdFiClient | None = ...,
    **options: Unpack[DeleteExpressionOptions],
) -> pl.Expr: ...


@overload
def delete_by_id(id: Column, *, _unpacked: object, **options: Any) -> pl.Expr: ...


@with_options("expression.delete_by_id", DeleteExpressionOptions)
def delete_by_id(
    id: Column,  # noqa: A002
    *,
    url: Column | None = None,
    token: Column | None = None,
    client: EdFiClient | None = None,
    **options: Any,
) -> pl.Expr:
    """Delete each row's item: :meth:`EdFiClient.batch_delete_by_id` as an expression.

    Parameters
    ----------
    id
        A column of ids; its name, or an expression.
    url, token, client
        As in :func:`post_payload`.
    **options
        Those of :class:`polars_edfi.options.DeleteExpressionOptions`.

    Returns
    -------
    Expr
        Struct of ``status`` (String: ``"deleted"``, ``"error"`` or ``"dry_run"``), ``message``
        (String), ``http_status`` (Int32), ``correlation_id`` and ``resource_id`` (String, null);
        null where ``id`` is null.

    Raises
    ------
    EdFiError
        As in :func:`post_payload`.

    Notes
    -----
    What :func:`post_payload` says of rows that are sent once holds here, too. The promise without
    exceptions is ``LazyFrame.edfi.sink_delete_by_id``.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> df = pl.DataFrame({"id": ["0a13ceb8"], "targetUrl": ["http://127.0.0.1:1"], "t": ["a"]})
    >>> df.select(edfi.delete_by_id("id", url="targetUrl", token="t")).unnest("id")["status"].item()
    'dry_run'
    """
    columns = [_column("id", id), *_credentials(url, token)]
    return _call("delete_by_id", columns, (client, url, token), None, options)


@overload
def get_by_id(
    id: Column,
    *,
    url: Column | None = ...,
    token: Column | None = ...,
    client: EdFiClient | None = ...,
    schema: SchemaDict | None = ...,
    **options: Unpack[ExpressionOptions],
) -> pl.Expr: ...


@overload
def get_by_id(id: Column, *, _unpacked: object, **options: Any) -> pl.Expr: ...


@with_options("expression.get_by_id", ExpressionOptions)
def get_by_id(
    id: Column,  # noqa: A002
    *,
    url: Column | None = None,
    token: Column | None = None,
    client: EdFiClient | None = None,
    schema: SchemaDict | None = None,
    **options: Any,
) -> pl.Expr:
    """Read each row's item: :meth:`EdFiClient.batch_get_by_id` as an expression.

    Parameters
    ----------
    id
        A column of ids; its name, or an expression.
    url, token, client
        As in :func:`post_payload`.
    schema
        The fields of ``data``: a Schema, Struct or dict. A field is found by its path
        (``"studentReference.studentUniqueId"``) or as a Struct in a Struct. What has no place in
        the schema is left out, unless it has a String field ``_unknown``, which then holds it as
        one JSON object.
    **options
        Those of :class:`polars_edfi.options.ExpressionOptions`.

    Returns
    -------
    Expr
        Struct of ``status`` (String: null or ``"error"``), ``message`` (String), ``http_status``
        (Int32), ``correlation_id`` (String) and ``data``: a Struct of ``schema``, or without one
        the JSON text (String) as it came. Null where ``id`` is null.

    Raises
    ------
    EdFiError
        As in :func:`post_payload`.

    Notes
    -----
    Elementwise: a ``filter`` or ``head`` below it in the query saves requests, and rows that come
    in pieces share the limit of ``workers``. An expression that is not needed is not evaluated.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901"], records=3) as ods:
    ...     row = ods.districts().row(0, named=True)
    ...     runner = edfi.StudentAssessment(
    ...         base_url=row["targetUrl"],
    ...         client_id=row["oAuthKey"],
    ...         client_secret=row["oAuthSecret"],
    ...     )
    ...     ids = runner.get_all(key=1)["data"].select("id")
    ...     schema = {"id": pl.String, "schoolYearTypeReference.schoolYear": pl.Int64}
    ...     items = ids.lazy().select(
    ...         edfi.get_by_id("id", client=runner, schema=schema).struct.field("data")
    ...     ).unnest("data").collect()
    >>> items.columns
    ['id', 'schoolYearTypeReference.schoolYear']
    >>> items.height
    3
    """
    columns = [_column("id", id), *_credentials(url, token)]
    return _call("get_by_id", columns, (client, url, token), schema, options)


@overload
def get_all(
    url: Column | None = ...,
    *,
    token: Column | None = ...,
    client: EdFiClient | None = ...,
    schema: SchemaDict | None = ...,
    **options: Unpack[GetAllExpressionOptions],
) -> pl.Expr: ...


@overload
def get_all(url: Any = ..., *, _unpacked: object, **options: Any) -> pl.Expr: ...


@with_options("expression.get_all", GetAllExpressionOptions)
def get_all(
    url: Column | None = None,
    *,
    token: Column | None = None,
    client: EdFiClient | None = None,
    schema: SchemaDict | None = None,
    **options: Any,
) -> pl.Expr:
    """Read every record of one resource from each row's ODS, into one cell.

    Parameters
    ----------
    url
        A column of base URLs; its name, or an expression. Without it, the client's ODS is read
        once, and the value is broadcast.
    token, client
        As in :func:`post_payload`.
    schema
        The fields of a record, as in :func:`get_by_id`.
    **options
        Those of :class:`polars_edfi.options.GetAllExpressionOptions`.

    Returns
    -------
    Expr
        Struct of ``status`` (String: null or ``"error"``), ``message`` (String), ``http_status``
        (Int32), ``correlation_id`` (String) and ``data``: a List of Structs of ``schema``, or
        without one the JSON text of an array (String). Null where ``url`` is null. A part of the
        records is never returned: where not all came, the row is an error.

    Raises
    ------
    EdFiError
        As in :func:`post_payload`.

    Notes
    -----
    Elementwise, as :func:`get_by_id`. Each row is read for itself, equal ones again. One row per
    record come from ``explode`` and ``unnest``; Polars 2.1 drops a row whose list is empty, unless
    ``empty_as_null=True``. :meth:`EdFiClient.batch_get_all` makes the same frame with less memory.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901", "255902"], records=3) as ods:
    ...     districts = ods.districts()
    ...     records = (
    ...         districts.lazy()
    ...         .with_columns(
    ...             edfi.fetch_token(
    ...                 "targetUrl", client_id="oAuthKey", client_secret="oAuthSecret"
    ...             ).struct.field("token")
    ...         )
    ...         .select(
    ...             "District BK",
    ...             edfi.get_all("targetUrl", token="token", schema={"id": pl.String}).alias("got"),
    ...         )
    ...         .unnest("got")
    ...         .explode("data")
    ...         .unnest("data")
    ...         .collect()
    ...     )
    >>> records.group_by("District BK").len().sort("District BK").rows()
    [('255901', 3), ('255902', 3)]
    """
    columns = _credentials(url, token)
    call = _call("get_all", columns, (client, url, token), schema, options)
    return call.alias("get_all") if url is None else call


@overload
def fetch_token(
    url: Column,
    *,
    client_id: Column,
    client_secret: Column,
    **options: Unpack[FetchTokenExpressionOptions],
) -> pl.Expr: ...


@overload
def fetch_token(
    url: Column, *, client_id: Any, client_secret: Any, _unpacked: object, **options: Any
) -> pl.Expr: ...


@with_options("expression.fetch_token", FetchTokenExpressionOptions)
def fetch_token(
    url: Column,
    *,
    client_id: Column,
    client_secret: Column,
    **options: Any,
) -> pl.Expr:
    """Fetch a token for each row: :meth:`EdFiClient.batch_fetch_tokens` as an expression.

    Parameters
    ----------
    url, client_id, client_secret
        Columns of base URLs, keys and secrets: names, or expressions. A secret that no column holds
        is refused: it would stand in the plan.
    **options
        Those of :class:`polars_edfi.options.FetchTokenExpressionOptions`.

    Returns
    -------
    Expr
        Struct of ``token`` (String), ``expires_at`` (Datetime, microseconds, UTC), ``status``
        (String: null or ``"error"``) and ``message`` (String); null where ``url`` is null. Rows
        with the same credentials share one request.

    Raises
    ------
    EdFiError
        As in :func:`post_payload`.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> with edfi.Sandbox(districts=["255901"], records=1) as ods:
    ...     tokens = ods.districts().select(
    ...         edfi.fetch_token("targetUrl", client_id="oAuthKey", client_secret="oAuthSecret")
    ...     )
    >>> tokens.unnest("targetUrl").columns
    ['token', 'expires_at', 'status', 'message']
    """
    columns = [
        _column("url", url),
        _column("client_id", client_id),
        _without_literal("client_secret", client_secret),
    ]
    return _call("fetch_token", columns, (None, url, None), None, options)


def _call(
    function: str,
    columns: list[pl.Expr],
    access: tuple[EdFiClient | None, Column | None, Column | None],
    schema: SchemaDict | None,
    options: Mapping[str, Any],
) -> pl.Expr:
    """Register a call of the plugin.

    Reads are elementwise, so that a filter below saves requests. Writes are not: Polars then calls
    once with the whole column. Both are said to be deterministic, so that Polars may evaluate a
    call once that a plan names twice; it does not promise to.
    """
    client, url, token = access
    arguments = _native.plugin_arguments(
        function,
        None if client is None else native_side(client),
        url is not None,
        token is not None,
        schema is not None,
        **options,
    )
    has_rows = bool(columns)
    columns = [*columns, *_typed_null(schema)]
    return register_plugin_function(
        plugin_path=_LIBRARY,
        function_name=function,
        # A plugin has one input at least; its name would be that of the result.
        args=columns or [pl.lit(None)],
        kwargs=arguments,
        is_elementwise=function in ("get_by_id", "get_all") and has_rows,
        # What depends on no row is one value: engines that go through a frame in parts ask once.
        returns_scalar=not has_rows,
        use_abs_path=True,
    )


def _credentials(url: Column | None, token: Column | None) -> list[pl.Expr]:
    """Give the columns that say where each row goes."""
    columns = [] if url is None else [_column("url", url)]
    return columns if token is None else [*columns, _without_literal("token", token)]


def _column(argument: str, value: object) -> pl.Expr:
    if isinstance(value, str):
        return pl.col(value)
    if isinstance(value, pl.Expr):
        return value
    msg = f"{argument} must be the name of a column or an expression, got {kind(value)}"
    raise EdFiError(msg)


def _without_literal(argument: str, value: object) -> pl.Expr:
    """Refuse what no column holds: it would be written into the plan."""
    if isinstance(value, pl.Expr) and not value.meta.root_names():
        msg = (
            f"{argument} must not be a literal, which would stand in the query plan; put it into a "
            "column, or give client="
        )
        raise EdFiError(msg)
    return _column(argument, value)


def _typed_null(schema: SchemaDict | None) -> list[pl.Expr]:
    """Give the wanted dtype as a typed null: so it is known when a query is planned."""
    if schema is None:
        return []
    fields = _native.columns_of(schema).schema
    if not fields:
        msg = f"schema must be a Schema, a Struct or a dict with a field at least, got {schema!r}"
        raise EdFiError(msg)
    return [pl.lit(None, dtype=pl.Struct(fields))]
