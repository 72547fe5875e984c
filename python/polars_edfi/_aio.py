"""The calls of a client as coroutines: each runs in a thread, beside the event loop."""

from __future__ import annotations

import contextvars
import functools
import inspect
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from polars_edfi import _native
from polars_edfi._changes import ChangeQueries
from polars_edfi._items import Items
from polars_edfi._metadata import Metadata
from polars_edfi._preflight import Preflight
from polars_edfi._reads import Reads
from polars_edfi._sends import Sends
from polars_edfi._tokens import Tokens
from polars_edfi._writes import Writes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from polars_edfi._base import ClientBase

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

THREADS = 256
"""Calls that run at once in a process; others wait for their turn."""


class Awaited(Protocol[P, T_co]):
    """A call of the client, to be awaited; a plain dict can be unpacked into it."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]: ...

    @overload
    def __call__(
        self, *args: Any, _unpacked: object, **kwargs: Any
    ) -> Coroutine[Any, Any, T_co]: ...


class Awaitable(Generic[P, T]):
    """A call of the client as a method that is awaited."""

    def __init__(self, call: Callable[Concatenate[Any, P], T]) -> None:
        self._call = call

    def __set_name__(self, owner: type, name: str) -> None:
        self.__doc__ = self._call.__doc__

    def __get__(self, aio: Aio, owner: type[Aio] | None = None) -> Awaited[P, T]:
        call = getattr(aio._client, self._call.__name__)  # noqa: SLF001 - a subclass may have its own

        @functools.wraps(call)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
            return await _run(functools.partial(call, *args, **kwargs))

        awaited.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]
        return cast("Awaited[P, T]", awaited)


class Aio:
    """Every call of a client as a coroutine, with the same arguments, results and errors.

    To cancel its task stops a call as Ctrl-C does: what only reads is dropped at once, writes in
    flight are waited for (until it is cancelled once more), and the client's ``rows`` hold what
    became of each row.
    """

    def __init__(self, client: ClientBase) -> None:
        self._client = client

    fetch_token = Awaitable(Tokens.fetch_token)
    batch_fetch_tokens = Awaitable(Tokens.batch_fetch_tokens)
    get_all = Awaitable(Reads.get_all)
    batch_get_all = Awaitable(Reads.batch_get_all)
    get_by_id = Awaitable(Items.get_by_id)
    batch_get_by_id = Awaitable(Items.batch_get_by_id)
    batch_find_ids = Awaitable(Items.batch_find_ids)
    delete_by_id = Awaitable(Items.delete_by_id)
    batch_delete_by_id = Awaitable(Items.batch_delete_by_id)
    post_payload = Awaitable(Writes.post_payload)
    batch_post_payload = Awaitable(Writes.batch_post_payload)
    batch_put_payload = Awaitable(Writes.batch_put_payload)
    send = Awaitable(Sends.send)
    remove = Awaitable(Sends.remove)
    available_change_versions = Awaitable(ChangeQueries.available_change_versions)
    deletes = Awaitable(ChangeQueries.deletes)
    key_changes = Awaitable(ChangeQueries.key_changes)
    changes = Awaitable(ChangeQueries.changes)
    resources = Awaitable(Metadata.resources)
    schema = Awaitable(Metadata.schema)
    count = Awaitable(Metadata.count)
    dependencies = Awaitable(Metadata.dependencies)
    permissions = Awaitable(Preflight.permissions)
    batch_permissions = Awaitable(Preflight.batch_permissions)
    validate = Awaitable(Preflight.validate)
    compare = Awaitable(Preflight.compare)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Give what a subclass of the client has more."""
            call = getattr(self._client, name)
            if name.startswith("_") or not inspect.ismethod(call):
                raise AttributeError(name)
            return Awaitable(call.__func__).__get__(self)


async def _run(call: Callable[[], T]) -> T:
    # Here, since it takes as long to load as half of this package; whoever awaits has it.
    import asyncio

    # Before anything is sent: there may be an event loop of another kind.
    loop = asyncio.get_running_loop()
    scope = _native.Scope()
    context = contextvars.copy_context()

    def work() -> T:
        scope.enter()
        try:
            return context.run(call)
        finally:
            scope.leave()

    came: Future[T] = Future()
    process = os.getpid()

    def begin() -> None:
        try:
            _threads(process).submit(_do, work, came)
        except BaseException as error:  # noqa: BLE001 - there is no thread to be had
            if came.set_running_or_notify_cancel():
                came.set_exception(error)

    # To start a thread is to wait until it runs: of many at once, the loop would wait for each.
    _starter(process).submit(begin)
    done = asyncio.wrap_future(came, loop=loop)
    done.add_done_callback(_take)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        # What waits for a thread has not begun, and need not be waited for.
        if not came.cancel():
            scope.stop()
            await _end(done, scope)
        raise


async def _end(done: asyncio.Future[Any], scope: _native.Scope) -> None:
    """Wait for a call that was stopped, whatever it raises; no longer if cancelled once more."""
    import asyncio

    try:
        await asyncio.wait([done])
    except asyncio.CancelledError:
        # Writes in flight are dropped now, so that the rows tell of them soon.
        scope.stop()
        await asyncio.wait([done])


def _take(done: asyncio.Future[Any]) -> None:
    """Take the error of a call that nobody waits for any more."""
    if not done.cancelled():
        done.exception()


def _do(work: Callable[[], T], came: Future[T]) -> None:
    """Do some work, unless it was cancelled before it began, and tell what came of it."""
    if not came.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
        came.set_exception(error)
        # This frame stands in the traceback of the error.
        del came
    else:
        came.set_result(result)


@functools.cache
def _starter(process: int) -> ThreadPoolExecutor:
    """Give the one thread of a process that starts the others."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"polars-edfi-{process}-starter")


@functools.cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Give the threads of a process; those of its parent are not there after a fork."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix=f"polars-edfi-{process}")
