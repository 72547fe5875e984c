"""Single items: read and deleted by id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from polars_edfi import _native
from polars_edfi._arguments import batch_arguments, frame, schema
from polars_edfi._base import SKIP, ClientBase, raise_if_interrupted, watched
from polars_edfi._errors import EdFiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_edfi._arguments import SchemaArgument


class GetByIdResult(TypedDict):
    """What became of ``get_by_id``."""

    id: str
    status: str | None
    message: str | None
    data: dict[str, Any] | None
    http_status: int | None
    correlation_id: str | None


class DeleteResult(TypedDict):
    """What became of ``delete_by_id``."""

    id: str
    key: object
    status: str | None
    message: str | None
    http_status: int | None
    correlation_id: str | None


class Items(ClientBase):
    """The calls that take ids."""

    def get_by_id(self, resource_id: str, *, endpoint: str | None = None) -> GetByIdResult:
        """Read one item of the client's own ODS.

        Parameters
        ----------
        resource_id
            The item's id.
        endpoint
            The resource; the runner's own by default.

        Returns
        -------
        dict
            ``id``, ``status`` (``None`` or ``"error"``), ``message``, ``data`` (the item as a dict,
            or ``None``), ``http_status`` and ``correlation_id``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or an argument is wrong.
        """
        call = _native.Call()
        text, message, http_status, correlation_id = self._native.get_by_id(
            _id(resource_id), endpoint, call
        )
        raise_if_interrupted(call)
        data = None
        if text is not None:
            try:
                data = json.loads(text)
            except (ValueError, RecursionError):
                message = f"HTTP {http_status} OK: the item holds a number that is too long"
        return {
            "id": resource_id,
            "status": None if data is not None else "error",
            "message": message,
            "data": data,
            "http_status": http_status,
            "correlation_id": correlation_id,
        }

    def batch_get_by_id(
        self,
        df: pl.DataFrame,
        *,
        id_col: str,
        endpoint: str | None = None,
        workers: int = 8,
        show_progress: bool = False,
        progress_desc: str | None = None,
        label: str | None = None,
        skip_statuses: Sequence[str] = SKIP,
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
        flatten: bool = False,
        schema: SchemaArgument | None = None,
    ) -> pl.DataFrame:
        """Read the item of each row.

        Parameters
        ----------
        df
            One row per item, each with its own credentials.
        id_col
            The items' ids. A null or blank one is an error row.
        row_id_col
            A column that comes back as ``row_id``.
        flatten
            Whether the item's properties become columns, in place of one Struct column ``data``.
        schema
            The properties that are wanted, named as flattened, with their dtypes; ``_unknown`` then
            holds the rest. By default they are inferred from the items.
        endpoint, workers, show_progress, progress_desc, label, skip_statuses, status_col, \
url_col, token_col, api_version_col, auth_key_col, auth_secret_col, oauth_endpoint, expires_col, \
refresh_cooldown
            As in :meth:`batch_get_all`.

        Returns
        -------
        DataFrame
            One row per row that took part, in input order: ``id`` (as in ``df``, trimmed),
            ``status`` (String: null or ``"error"``), ``message`` (String), ``http_status`` (Int32),
            ``correlation_id`` (String), ``row_index`` (the position in ``df``), ``row_id``, and
            ``data`` (Struct, null where there is no item) or its flattened columns.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=4) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     runner = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        ...     ids = runner.get_all(key="x")["data"].select("id")
        ...     out = runner.batch_get_by_id(ids, id_col="id", flatten=True)
        >>> out["status"].null_count(), "studentReference.studentUniqueId" in out.columns
        (4, True)
        """
        call = _native.Call()
        arguments = batch_arguments(
            skip_statuses,
            endpoint=endpoint,
            workers=workers,
            status_col=status_col,
            url_col=url_col,
            token_col=token_col,
            api_version_col=api_version_col,
            auth_key_col=auth_key_col,
            auth_secret_col=auth_secret_col,
            oauth_endpoint=oauth_endpoint,
            expires_col=expires_col,
            refresh_cooldown=refresh_cooldown,
            row_id_col=row_id_col,
        )
        arguments |= {"id_col": id_col, "flatten": flatten, "schema_frame": _fixed(schema)}
        watch = watched(call, (show_progress, progress_desc, label), "fetching by id", "items")
        with watch as tick:
            rows = self._native.batch_get_by_id(frame(df), call, tick, **arguments)
        return self._finish(call, rows)

    def delete_by_id(
        self, resource_id: str, *, key: object, endpoint: str | None = None, commit: bool = False
    ) -> DeleteResult:
        """Delete one item of the client's own ODS.

        Parameters
        ----------
        resource_id
            The item's id.
        key
            Given back in the result.
        endpoint
            The resource; the runner's own by default.
        commit
            Without it nothing is sent, and the status is ``"dry_run"``.

        Returns
        -------
        dict
            ``id``, ``key``, ``status`` (``"deleted"``, ``"error"`` or ``"dry_run"``), ``message``,
            ``http_status`` and ``correlation_id``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or an argument is wrong.
        """
        call = _native.Call()
        status, message, http_status, correlation_id, _ = self._native.delete_by_id(
            _id(resource_id), call, endpoint=endpoint, commit=commit
        )
        raise_if_interrupted(call)
        return {
            "id": resource_id,
            "key": key,
            "status": status,
            "message": message,
            "http_status": http_status,
            "correlation_id": correlation_id,
        }

    def batch_delete_by_id(
        self,
        df: pl.DataFrame,
        *,
        id_col: str,
        key_col: str,
        endpoint: str | None = None,
        workers: int = 8,
        show_progress: bool = False,
        progress_desc: str | None = None,
        label: str | None = None,
        skip_statuses: Sequence[str] = SKIP,
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
        commit: bool = False,
    ) -> pl.DataFrame:
        """Delete the item of each row.

        Parameters
        ----------
        df
            One row per item, each with its own credentials.
        id_col
            The items' ids. A null or blank one is an error row.
        key_col
            A column that comes back as ``key``.
        row_id_col
            A column that comes back as ``row_id``.
        commit
            Without it nothing is sent, no token is fetched, and every row is ``"dry_run"``.
        endpoint, workers, show_progress, progress_desc, label, skip_statuses, status_col, \
url_col, token_col, api_version_col, auth_key_col, auth_secret_col, oauth_endpoint, expires_col, \
refresh_cooldown
            As in :meth:`batch_get_all`.

        Returns
        -------
        DataFrame
            One row per row that took part, in input order: ``id`` and ``key`` (as in ``df``,
            trimmed), ``status`` (String: ``"deleted"``, ``"error"`` or ``"dry_run"``), ``message``
            (String), ``http_status`` (Int32), ``correlation_id`` (String), ``row_index`` (the
            position in ``df``) and ``row_id``.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``.

        Notes
        -----
        A delete whose connection broke is sent again; if the item is gone then, it is
        ``"deleted"``.
        """
        call = _native.Call()
        arguments = batch_arguments(
            skip_statuses,
            endpoint=endpoint,
            workers=workers,
            status_col=status_col,
            url_col=url_col,
            token_col=token_col,
            api_version_col=api_version_col,
            auth_key_col=auth_key_col,
            auth_secret_col=auth_secret_col,
            oauth_endpoint=oauth_endpoint,
            expires_col=expires_col,
            refresh_cooldown=refresh_cooldown,
            row_id_col=row_id_col,
        )
        arguments |= {"id_col": id_col, "key_col": key_col, "commit": commit}
        watch = watched(call, (show_progress, progress_desc, label), "deleting by id", "items")
        with watch as tick:
            rows = self._native.batch_delete_by_id(frame(df), call, tick, **arguments)
        return self._finish(call, rows)


def _id(resource_id: object) -> str:
    return "" if resource_id is None else str(resource_id)


def _fixed(wanted: SchemaArgument | None) -> pl.DataFrame | None:
    if wanted is None or wanted in ("auto", "infer"):
        return None
    _, fixed = schema(wanted)
    if fixed is None:
        msg = f"schema={wanted!r} is not there for single items; give a Schema, or None"
        raise EdFiError(msg)
    return fixed
