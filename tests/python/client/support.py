"""Servers that do with bytes what they like, and clients of them."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl

import polars_edfi as edfi

OK = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
Serve = Callable[[socket.socket], None]


@contextmanager
def raw_server(serve: Serve, *, host: str = "127.0.0.1", pem: Path | None = None) -> Iterator[int]:
    """Hands each connection to ``serve`` on a thread of its own; yields the port."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if context is None:
                serve(connection)
            else:
                with context.wrap_socket(connection, server_side=True) as secured:
                    serve(secured)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    listener = socket.create_server((host, 0), backlog=256)
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def read_request(connection: socket.socket) -> bytes | None:
    """One request with its body; ``None`` at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def client(port: int, **settings: Any) -> edfi.StudentAssessment:
    """A client of ``127.0.0.1``, with a token and little patience."""
    few: dict[str, Any] = {
        "api_version": "v3",
        "bearer_token": "token",
        "max_retries": 1,
        "timeout": 5,
    }
    return edfi.StudentAssessment(**(few | {"base_url": f"http://127.0.0.1:{port}"} | settings))


def post(
    runner: edfi.EdFiClient, payloads: list[str], *, workers: int = 1, **arguments: Any
) -> pl.DataFrame:
    """Posts to the runner's own ODS; keys are the rows' numbers."""
    df = pl.DataFrame({"payload": payloads}).with_row_index("key")
    return runner.batch_post_payload(
        df, payload_col="payload", key_col="key", commit=True, workers=workers, **arguments
    )
