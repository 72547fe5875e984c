"""Payloads to an ODS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from polars_edfi import _native
from polars_edfi._base import ClientBase
from polars_edfi._errors import EdFiError
from polars_edfi._signatures import with_options
from polars_edfi.options import BatchPostOptions, PostOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    @with_options("post_payload", PostOptions)
    def post_payload(
        self, payload: Mapping[str, Any] | str, *, key: object, **options: Unpack[PostOptions]
    ) -> PostResult:
        """Post one payload to the client's own ODS, which inserts or updates the item.

        Parameters
        ----------
        payload
            A dict, or JSON text that is sent as it is.
        key
            Given back in the result.
        **options
            Those of :class:`polars_edfi.options.PostOptions`.

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
        answer = _native.post_payload(self._native, self._call(), text, **options)
        return {"key": key, **answer}

    @overload
    def batch_post_payload(
        self,
        df: pl.DataFrame,
        *,
        payload_col: str,
        key_col: str,
        **options: Unpack[BatchPostOptions],
    ) -> pl.DataFrame: ...

    @overload
    def batch_post_payload(
        self, df: pl.DataFrame, *, payload_col: Any, key_col: Any, _unpacked: object, **options: Any
    ) -> pl.DataFrame: ...

    @with_options("batch_post_payload", BatchPostOptions)
    def batch_post_payload(
        self,
        df: pl.DataFrame,
        *,
        payload_col: str,
        key_col: str,
        **options: Any,
    ) -> pl.DataFrame:
        """Post each row's payload to its ODS, which inserts or updates the item.

        Parameters
        ----------
        df
            One row per payload, each with its own credentials.
        payload_col
            A String column of JSON objects, sent byte for byte; or a Struct column (see
            :func:`unflatten`), written without null fields and without objects left with nothing:
            dates as ISO 8601, decimals and integers exact. Anything that is not a JSON object, and
            a NaN, makes an error row; the others go on.
        key_col
            A column that comes back as ``key``.
        **options
            Those of :class:`polars_edfi.options.BatchPostOptions`.

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
            After Ctrl-C, with all rows in ``rows``: writes in flight are waited for, rows that were
            not sent are error rows, ``not sent: interrupted``. After a second one, writes in flight
            are error rows, too: ``interrupted; it may have been applied``. The same holds for
            whatever a signal handler raises.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> df = pl.DataFrame({"k": [1], "payload": ['{"studentUniqueId": "604822"}']})
        >>> runner = edfi.Resource("ed-fi/students", base_url="http://127.0.0.1:1")
        >>> runner.batch_post_payload(df, payload_col="payload", key_col="k")["status"].item()
        'dry_run'
        """
        return self._batch(
            _native.batch_post_payload, df, payload_col=payload_col, key_col=key_col, **options
        )

    @overload
    def batch_put_payload(
        self,
        df: pl.DataFrame,
        *,
        payload_col: str,
        id_col: str,
        key_col: str,
        **options: Unpack[BatchPostOptions],
    ) -> pl.DataFrame: ...

    @overload
    def batch_put_payload(
        self,
        df: pl.DataFrame,
        *,
        payload_col: Any,
        id_col: Any,
        key_col: Any,
        _unpacked: object,
        **options: Any,
    ) -> pl.DataFrame: ...

    @with_options("batch_put_payload", BatchPostOptions)
    def batch_put_payload(
        self,
        df: pl.DataFrame,
        *,
        payload_col: str,
        id_col: str,
        key_col: str,
        **options: Any,
    ) -> pl.DataFrame:
        """Replace the item of each row by its payload (``PUT``).

        Parameters
        ----------
        df
            One row per item, each with its own credentials.
        payload_col
            As in :meth:`batch_post_payload`. What a payload leaves out is gone from the item. JSON
            text is sent as it is; a Struct payload gets the row's id.
        id_col
            The items' ids. A null or blank one is an error row.
        key_col
            A column that comes back as ``key``.
        **options
            Those of :class:`polars_edfi.options.BatchPostOptions`.

        Returns
        -------
        DataFrame
            One row per row that took part, in input order: ``key`` and ``id`` (as in ``df``,
            trimmed), ``status`` (String), ``message`` (String), ``http_status`` (Int32),
            ``correlation_id`` (String), ``attempts`` (UInt32), ``row_index`` and ``row_id``, as in
            :meth:`batch_post_payload`.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_get_all`, before anything is sent.
        KeyboardInterrupt
            As in :meth:`batch_post_payload`.

        Notes
        -----
        Like a delete, a replacement is repeated even after a broken connection: doing it twice is
        as good as once. With ``etag_col`` a repetition can meet 412 because the try before was
        applied; the message says so. Only PUT changes a natural key, where the ODS allows it at
        all.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> df = pl.DataFrame({"id": ["5a"], "payload": ['{"studentUniqueId": "604822"}']})
        >>> runner = edfi.Resource("ed-fi/students", base_url="http://127.0.0.1:1")
        >>> runner.batch_put_payload(df, payload_col="payload", id_col="id", key_col="id")[
        ...     "status"
        ... ].item()
        'dry_run'
        """
        return self._batch(
            _native.batch_put_payload,
            df,
            payload_col=payload_col,
            id_col=id_col,
            key_col=key_col,
            **options,
        )


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
