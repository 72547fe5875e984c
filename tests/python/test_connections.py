"""Connections that are kept from call to call."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_connection_closed_between_calls_is_not_used(
    ods: ScriptedOds, runner: edfi.StudentAssessment, method: str
) -> None:
    def closing(request: Request) -> Answer | None:
        # Without a word in the headers, as a server that is tired of waiting.
        return Answer(204, b"", cut=0) if request.method == method else None

    ods.script = closing
    df = district(ods, payload="{}", id="a")
    for _ in range(50):
        if method == "POST":
            out = runner.batch_post_payload(
                df, payload_col="payload", key_col="District BK", commit=True
            )
        else:
            out = runner.batch_delete_by_id(df, id_col="id", key_col="District BK", commit=True)
        assert out["message"].to_list() == [None]
        assert ods.closed.acquire(timeout=10)
    assert len(ods.requests) == 50


def test_a_connection_serves_call_after_call(
    ods: ScriptedOds, runner: edfi.StudentAssessment
) -> None:
    for _ in range(5):
        runner.batch_get_by_id(district(ods, id="a"), id_col="id")
    assert len({request.port for request in ods.requests}) == 1


FORKING = """
import os, sys
import polars as pl
import polars_edfi as edfi

runner = edfi.StudentAssessment(api_version="v3")
ids = [str(n) for n in range(64)]
df = pl.DataFrame({"id": ids, "targetUrl": sys.argv[1], "EdFi Token": "token"})

def is_read():
    return runner.batch_get_by_id(df, id_col="id", workers=8)["http_status"].to_list() == [404] * 64

assert is_read()
child = os.fork()
if child == 0:
    os._exit(0 if is_read() else 1)
assert os.waitpid(child, 0)[1] == 0
assert is_read()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_has_connections_and_threads_of_its_own(ods: ScriptedOds) -> None:
    """Airflow and gunicorn fork processes that may have used this library before."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, ods.url]
    subprocess.run(command, timeout=60, check=True)
    assert len(ods.requests) == 3 * 64
    ports = [{request.port for request in ods.requests[n : n + 64]} for n in range(0, 192, 64)]
    assert not ports[0] & ports[1], "the child opens connections of its own"
    assert ports[2] & ports[0], "the parent keeps those that it has"


def test_many_threads_leave_few_connections(make_ods: Callable[..., ScriptedOds]) -> None:
    """32 threads have 256 requests in flight; 64 connections are kept."""
    ods = make_ods()
    runner = edfi.StudentAssessment(base_url=ods.url, api_version="v3", bearer_token="token")
    ids = pl.DataFrame({"id": [str(n) for n in range(16)]})
    arrived = threading.Barrier(32)

    def call(_: int) -> None:
        arrived.wait(30)
        runner.batch_get_by_id(ids, id_col="id", workers=8)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(call, range(32)))
    ports = {request.port for request in ods.requests}
    # Connections are closed while a call runs.
    for _ in range(20):
        runner.get_by_id("a")
    for _ in range(len(ports) - 128):
        assert ods.closed.acquire(timeout=20)


def test_a_connection_that_is_never_made_does_not_keep_a_silent_one_for_ever() -> None:
    """A request that began to connect goes over another connection, which is silent."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = listener.getsockname()
    asked, told = threading.Event(), threading.Event()
    waiting: list[socket.socket] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            # Nobody else is let in: the kernel answers no more than these.
            for _ in range(4):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(address)
            asked.set()
            told.wait(10)
            body = b'{"id": "a"}'
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n" + body)
            connection.recv(1 << 16)
            connection.settimeout(20)
            with suppress(OSError):
                connection.recv(1)

    runner = edfi.Resource(
        "ed-fi/students",
        base_url=f"http://127.0.0.1:{address[1]}",
        api_version="v3",
        bearer_token="token",
        timeout=1.5,
        connect_timeout=1,
        max_retries=0,
    )
    server = threading.Thread(target=serve)
    server.start()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(runner.get_by_id, "a")
        assert asked.wait(10)
        second = threads.submit(runner.get_by_id, "b")
        # Until it tries to connect, and no longer than that takes.
        threading.Timer(0.5, told.set).start()
        out = [call.result(timeout=15) for call in (first, second)]
    server.join()
    listener.close()
    for one in waiting:
        one.close()
    assert [one["status"] for one in out] == [None, "error"]
    assert "no byte for" in out[1]["message"]
