"""Many resources at once: sent in the order that an ODS wants, or removed in the reverse of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack, overload

import polars as pl

from polars_edfi import _native
from polars_edfi._base import ClientBase, warn
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind
from polars_edfi._signatures import with_options
from polars_edfi.options import RemoveOptions, SendOptions

if TYPE_CHECKING:
    from collections.abc import Callable

Frames: TypeAlias = Mapping[str, pl.DataFrame | pl.LazyFrame]
"""A frame for each endpoint."""

BATCH = 20_000
"""Rows of a LazyFrame that are in memory at once."""


class Sends(ClientBase):
    """The calls that take many resources."""

    @overload
    def send(
        self,
        frames: Frames,
        *,
        payload_col: str = ...,
        key_col: str | None = ...,
        **options: Unpack[SendOptions],
    ) -> pl.DataFrame: ...

    @overload
    def send(self, frames: Frames, *, _unpacked: object, **options: Any) -> pl.DataFrame: ...

    @with_options("send", SendOptions)
    def send(
        self,
        frames: Frames,
        *,
        payload_col: str = "payload",
        key_col: str | None = None,
        **options: Any,
    ) -> pl.DataFrame:
        """Post the rows of many resources in the order in which their ODSs want them.

        Each ODS goes through the levels of its own document (:meth:`dependencies`) without waiting
        for others; a level waits for the whole level before it. Rows of one level go side by side.
        Rows of one item (endpoint and natural key, where the ODS's OpenAPI document tells it) go
        one after another, so that the last one wins.

        What is refused because something that it refers to is not there yet is sent again after
        all levels, and then as long as a round brings anything. A 403 of ``security:authorization``
        (a person who has no enrolment yet) is sent once more after the associations, unless it says
        that the client may not do this at all. Server errors and the conflicts of two writers are
        sent again after a while. All else is final at once.

        Parameters
        ----------
        frames
            ``{endpoint: frame}``, in any order. A LazyFrame is collected in batches when its level
            comes. Each row may bring its own credentials, as in :meth:`batch_post_payload`.
        payload_col
            A String column of JSON objects, sent byte for byte, or a Struct column.
        key_col
            A column that comes back as ``key``.
        **options
            Those of :class:`polars_edfi.options.SendOptions`.

        Returns
        -------
        DataFrame
            One row per row that took part, in the order of the frames and then of their rows:
            ``endpoint`` (String), ``key`` (as in the frames; String where their dtypes differ, null
            without ``key_col``), ``status``, ``message``, ``http_status``, ``correlation_id``,
            ``resource_id``, ``attempts`` (UInt32: requests over all rounds) as in
            :meth:`batch_post_payload`, ``round`` (UInt32: 1, and one more for each repetition),
            ``row_index`` (the position in its own frame) and ``row_id``. Each row has the last
            answer that it got. In a dry run nothing is sent but the reading of dependencies;
            ``round`` is 0 and ``message`` names the level: ``level 3``.

            Rows of an ODS whose order cannot be read are error rows; where it serves none (404),
            ``order`` says it. An endpoint that the order does not list comes after all others, with
            a warning.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`batch_post_payload`, before anything is sent; the text names the endpoint.
        KeyboardInterrupt
            As in :meth:`batch_post_payload`, with all rows in ``rows`` but those of a LazyFrame
            that were not read yet. So does what a LazyFrame raises while it is collected: nothing
            more is sent then.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=0) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     frames = {"ed-fi/students": pl.DataFrame({"payload": ['{"studentUniqueId": "1"}']})}
        ...     dry_run = client.send(frames)
        >>> dry_run.select("endpoint", "status", "message", "round").row(0)
        ('ed-fi/students', 'dry_run', 'level 2', 0)
        """
        return self._send(_native.send, frames, payload_col=payload_col, key_col=key_col, **options)

    @overload
    def remove(
        self,
        frames: Frames,
        *,
        id_col: str = ...,
        key_col: str | None = ...,
        **options: Unpack[RemoveOptions],
    ) -> pl.DataFrame: ...

    @overload
    def remove(self, frames: Frames, *, _unpacked: object, **options: Any) -> pl.DataFrame: ...

    @with_options("remove", RemoveOptions)
    def remove(
        self,
        frames: Frames,
        *,
        id_col: str = "id",
        key_col: str | None = None,
        **options: Any,
    ) -> pl.DataFrame:
        """Delete the items of many resources in the reverse of the order of :meth:`send`.

        Descriptors go last. What something still refers to is tried again in later rounds, as long
        as a round takes anything out.

        Parameters
        ----------
        frames
            ``{endpoint: frame}``, in any order, as in :meth:`send`.
        id_col
            The column with the items' ids. The ids of natural keys: ``batch_find_ids``.
        key_col
            A column that comes back as ``key``.
        **options
            Those of :class:`polars_edfi.options.RemoveOptions`.

        Returns
        -------
        DataFrame
            One row per row that took part, in the order of the frames and then of their rows:
            ``endpoint``, ``key``, ``id`` (as in the frames; String where their dtypes differ),
            ``status`` (``"deleted"``, ``"error"``, ``"dry_run"``), ``message``, ``http_status``,
            ``correlation_id``, ``attempts``, ``round``, ``row_index`` and ``row_id`` as in
            :meth:`send`.

        Raises
        ------
        polars.exceptions.ColumnNotFoundError, polars.exceptions.SchemaError, EdFiError
            As in :meth:`send`.
        KeyboardInterrupt
            As in :meth:`send`.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_edfi as edfi
        >>> with edfi.Sandbox(districts=["255901"], records=4) as ods:
        ...     url, key, secret = ods.districts().row(0)[1:]
        ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
        ...     names = ["assessments", "objectiveAssessments", "studentAssessments"]
        ...     endpoints = [f"ed-fi/{name}" for name in names]
        ...     frames = {name: client.get_all(endpoint=name, key=1)["data"] for name in endpoints}
        ...     removed = client.remove(frames, commit=True)
        >>> set(removed["status"])
        {'deleted'}
        """
        return self._send(_native.remove, frames, id_col=id_col, key_col=key_col, **options)

    def _send(
        self, function: Callable[..., pl.DataFrame], frames: Frames, **arguments: Any
    ) -> pl.DataFrame:
        given = _given(frames)
        call = self._last = self._call()
        rows = function(self._native, call, given, **arguments)
        warn(call, stacklevel=4)
        return rows


def _given(frames: Frames) -> list[tuple[str, Any, Iterator[pl.DataFrame] | None]]:
    """Give a frame of each endpoint, and for a LazyFrame, whose frame is empty, its batches."""
    if not isinstance(frames, Mapping):
        msg = f"frames must be a dict of endpoints to frames, got {kind(frames)}"
        raise EdFiError(msg)
    given: list[tuple[str, Any, Iterator[pl.DataFrame] | None]] = []
    for endpoint, frame in frames.items():
        if not isinstance(endpoint, str):
            msg = f"frames: an endpoint is a text such as 'ed-fi/students', not {endpoint!r}"
            raise EdFiError(msg)
        if isinstance(frame, pl.LazyFrame):
            empty = pl.DataFrame(schema=frame.collect_schema())
            given.append((endpoint, empty, _batches(frame)))
        else:
            given.append((endpoint, frame, None))
    return given


def _batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Collect a frame in batches, nothing before the first of them is asked for."""
    yield from frame.collect_batches(chunk_size=BATCH, maintain_order=True, lazy=True)
