"""Payloads to an ODS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from polars_edfi import _native
from polars_edfi._arguments import batch_arguments, frame, retrying
from polars_edfi._base import SKIP, ClientBase, raise_if_interrupted, watched
from polars_edfi._errors import EdFiError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import polars as pl


class PostResult(TypedDict):
    """What became of ``post_payload``."""

    key: object
    status: str | None
    message: str | None
    http_status: int | None
    correlation_id: str | None
    resource_id: str | None


class Writes(ClientBase):
    """The calls that post."""

    def post_payload(
        self,
        payload: Mapping[str, Any] | str,
        *,
        key: object,
        endpoint: str | None = None,
        commit: bool = False,
        retry_statuses: Collection[int] | None = None,
        retry_messages: Collection[str] | None = None,
        max_retries: int = 2,
        retry_backoff: float = 1.0,
        allow_statuses: Mapping[int, str | None] | None = None,
        retry_broken: bool = False,
    ) -> PostResult:
        """Post one payload to the client's own ODS, which inserts or updates the item.

        Parameters
        ----------
        payload
            A dict, or JSON text that is sent as it is.
        key
            Given back in the result.
        endpoint
            The resource; the runner's own by default.
        commit
            Without it nothing is sent, and the status is ``"dry_run"``.
        retry_statuses, retry_messages, max_retries, retry_backoff, allow_statuses, retry_broken
            As in :meth:`batch_post_payload`.

        Returns
        -------
        dict
            ``key``, ``status``, ``message``, ``http_status``, ``correlation_id`` and
            ``resource_id``.

        Raises
        ------
        EdFiError
            The client has no ``base_url`` or no credentials, or an argument is wrong.

        Examples
        --------
        >>> import polars_edfi as edfi
        >>> runner = edfi.Resource("ed-fi/students", base_url="http://127.0.0.1:1")
        >>> runner.post_payload({"studentUniqueId": "604822"}, key=1)["status"]
        'dry_run'
        """
        text = payload if isinstance(payload, str) else _dumps(payload)
        call = _native.Call()
        status, message, http_status, correlation_id, resource_id = self._native.post_payload(
            text,
            call,
            endpoint=endpoint,
            commit=commit,
            **retrying(
                retry_statuses,
                retry_messages,
                allow_statuses,
                max_retries=max_retries,
                retry_backoff=retry_backoff,
                retry_broken=retry_broken,
            ),
        )
        raise_if_interrupted(call)
        return {
            "key": key,
            "status": status,
            "message": message,
            "http_status": http_status,
            "correlation_id": correlation_id,
            "resource_id": resource_id,
        }

    def batch_post_payload(
        self,
        df: pl.DataFrame,
        *,
        payload_col: str,
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
        order_by_col: str | None = None,
        keep_server_fields: bool = False,
        retry_statuses: Collection[int] | None = None,
        retry_messages: Collection[str] | None = None,
        max_retries: int = 2,
        retry_backoff: float = 1.0,
        allow_statuses: Mapping[int, str | None] | None = None,
        retry_broken: bool = False,
    ) -> pl.DataFrame:
        """Post each row's payload to its ODS, which inserts or updates the item.

        Parameters
        ----------
        df
            One row per payload, each with its own credentials.
        payload_col
            A String column of JSON objects, sent byte for byte; or a Struct column (see
            :func:`unflatten`), written without null fields and without objects left with nothing:
            dates as ISO 8601, decimals and integers exact. What is no JSON object, and a NaN, is an
            error row, and the others go on.
        key_col
            A column that comes back as ``key``.
        row_id_col
            A column that comes back as ``row_id``.
        commit
            Without it nothing is sent, no token is fetched, and every row is ``"dry_run"``.
        order_by_col
            Rows with the same value here, such as the natural key, go one after another in the
            frame's order. Otherwise the order in which an ODS sees rows is not promised.
        keep_server_fields
            Whether a Struct payload keeps the top-level ``id``, ``_etag`` and
            ``_lastModifiedDate``, and every ``link`` inside a reference.
        retry_statuses
            Statuses that are posted again, up to ``max_retries`` times, after
            ``retry_backoff * 2**n`` seconds, or as long as ``Retry-After`` says. 401 is none of
            them: see ``auth_key_col``.
        retry_messages
            Only where the message holds one of these texts, whatever the case.
        max_retries, retry_backoff
            How often, and the seconds before the first repetition.
        allow_statuses
            ``{409: "warning"}``: the row status of an answer that was not posted again, in place of
            ``"error"``. A 401 in it is not renewed.
        retry_broken
            Whether to post again where the connection broke after the payload was sent. It may have
            been applied then; since a post is an upsert, twice is as good as once.
        endpoint, workers, show_progress, progress_desc, label, skip_statuses, status_col, \
url_col, token_col, api_version_col, auth_key_col, auth_secret_col, oauth_endpoint, expires_col, \
refresh_cooldown
            As in :meth:`batch_get_all`.

        Returns
        -------
        DataFrame
            One row per row that took part, in input order: ``key`` (as in ``df``, trimmed),
            ``status`` (String: null for success, ``"error"``, ``"dry_run"``, or what
            ``allow_statuses`` says), ``message`` (String), ``http_status`` (Int32),
            ``correlation_id`` (String), ``resource_id`` (String), ``attempts`` (UInt32: requests
            that were sent), ``row_index`` (the position in ``df``) and ``row_id``.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, before anything is sent.
        KeyboardInterrupt
            After Ctrl-C, with all rows in ``rows``: requests in flight are waited for, rows that
            were not sent are error rows.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> df = pl.DataFrame({"k": [1], "payload": ['{"studentUniqueId": "604822"}']})
        >>> runner = edfi.Resource("ed-fi/students", base_url="http://127.0.0.1:1")
        >>> runner.batch_post_payload(df, payload_col="payload", key_col="k")["status"].item()
        'dry_run'
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
        arguments |= retrying(
            retry_statuses,
            retry_messages,
            allow_statuses,
            max_retries=max_retries,
            retry_backoff=retry_backoff,
            retry_broken=retry_broken,
        )
        arguments |= {
            "payload_col": payload_col,
            "key_col": key_col,
            "commit": commit,
            "order_by_col": order_by_col,
            "keep_server_fields": keep_server_fields,
        }
        watch = watched(call, (show_progress, progress_desc, label), "posting payloads", "rows")
        with watch as tick:
            rows = self._native.batch_post_payload(frame(df), call, tick, **arguments)
        return self._finish(call, rows)


def _dumps(payload: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        # A UnicodeEncodeError repeats the text.
        what = "a text is not Unicode" if isinstance(error, UnicodeError) else error
        msg = f"payload cannot be written as JSON: {what}"
        raise EdFiError(msg) from None
    return text
