"""A scripted ODS: every answer in a test's own hands, over real HTTP on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import polars as pl
import pytest

import polars_edfi as edfi

# A shell that runs tests in the background has them ignore Ctrl-C, which some of them are about.
signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@dataclass
class Request:
    """What a server saw."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    port: int = 0
    """The other end of the connection, which tells connections apart."""

    @property
    def token(self) -> str | None:
        """The bearer token."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else None

    @property
    def basic(self) -> str | None:
        """Key and secret, joined by a colon."""
        kind, _, text = self.headers.get("authorization", "").partition(" ")
        return base64.b64decode(text).decode() if kind.lower() == "basic" else None


@dataclass
class Answer:
    """What a server says; ``cut`` closes the connection after so many bytes of the body."""

    status: int = 200
    body: bytes | str | list[Any] | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    close: bool = False


Script = Callable[[Request], Answer | None]


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    daemon_threads = True
    request_queue_size = 128
    closed: threading.Semaphore
    """Released for each connection that the server has closed."""

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.release()


#: The library remembers for the whole process what an ODS is like: no two may share an address.
PORTS: set[int] = set()


class ScriptedOds:
    """One district: tokens, pages and items by default, anything else by ``script``.

    A POST makes an item whose id is a digest of its body.
    """

    def __init__(self, port: int = 0) -> None:
        self.records: list[dict[str, Any]] = []
        self.tokens: set[str] = {"token"}
        self.secret = "key:secret"
        self.expires_in: object = 1800
        self.total_count = True
        self.max_limit = 500
        self.script: Script | None = None
        self.serves_metadata = False
        """Whether ``script`` is asked for ``/`` and ``/metadata``, too; else there is nothing."""
        self.one_at_a_time = True
        """Whether ``script`` waits for its own end; a script that waits for others must not."""
        self.items: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._issued = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                length = int(self.headers.get("content-length", 0))
                url = urlsplit(self.path)
                request = Request(
                    self.command,
                    url.path,
                    dict(parse_qsl(url.query, keep_blank_values=True)),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                    self.client_address[1],
                )
                with outer._lock:
                    outer.requests.append(request)
                answer = outer.answer(request)
                self.close_connection = answer.close or answer.cut is not None
                if answer.close:
                    return
                body = answer.body
                if not isinstance(body, bytes | str):
                    body = json.dumps(body)
                data = body.encode() if isinstance(body, str) else body
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data if answer.cut is None else data[: answer.cut])

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

        self._server = Server(("127.0.0.1", port), Handler)
        while not port and self._server.server_address[1] in PORTS:
            self._server.server_close()
            self._server = Server(("127.0.0.1", 0), Handler)
        PORTS.add(self._server.server_address[1])
        self.closed = self._server.closed = threading.Semaphore(0)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self, prefix: str = "/data") -> list[Request]:
        """The requests whose path begins so."""
        return [request for request in self.requests if request.path.startswith(prefix)]

    def answer(self, request: Request) -> Answer:
        about = request.path == "/" or request.path.startswith("/metadata")
        if self.script is not None and (self.serves_metadata or not about):
            with self._lock if self.one_at_a_time else nullcontext():
                answer = self.script(request)
            if answer is not None:
                return answer
        if request.path == "/oauth/token":
            return self.issue(request)
        if not request.path.startswith("/data/v3/ed-fi/"):
            return Answer(404, {"detail": "No such resource.", "correlationId": "c-404"})
        if request.token not in self.tokens:
            return Answer(401, {"detail": "Not you."})
        if request.method == "GET" and "limit" in request.query:
            return self.page(request)
        return self.item(request)

    def item(self, request: Request) -> Answer:
        if request.method == "POST":
            name = hashlib.md5(request.body, usedforsecurity=False).hexdigest()
            with self._lock:
                known = name in self.items
                self.items[name] = request.body
            location = {"location": f"{self.url}{request.path}/{name}", "etag": '"1"'}
            return Answer(200 if known else 201, headers=location)
        name = unquote(request.path.rpartition("/")[2])
        with self._lock:
            get = self.items.pop if request.method == "DELETE" else self.items.get
            body = get(name, None)
        if body is None:
            return Answer(404, {"detail": "No such item.", "correlationId": "c-404"})
        return Answer(200, body) if request.method == "GET" else Answer(204)

    def hold_first_token(self) -> tuple[threading.Event, threading.Event]:
        """Let the first request for a token wait, then break: when it came, and until when."""
        asked, let_go = threading.Event(), threading.Event()

        def script(request: Request) -> Answer | None:
            if request.path == "/oauth/token" and not asked.is_set():
                asked.set()
                let_go.wait(60)
                return Answer(close=True)
            return None

        self.script, self.one_at_a_time = script, False
        return asked, let_go

    def issue(self, request: Request) -> Answer:
        if request.basic != self.secret:
            return Answer(401, {"error": "invalid_client"})
        with self._lock:
            self._issued += 1
            token = f"issued-{self._issued}"
            self.tokens.add(token)
        return Answer(200, {"access_token": token, "expires_in": self.expires_in})

    def page(self, request: Request) -> Answer:
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        if limit > self.max_limit:
            text = f"Limit must be omitted or set to a value between 0 and {self.max_limit}."
            return Answer(400, {"detail": "The limit was incorrect.", "errors": [text]})
        headers = {}
        if self.total_count and request.query.get("totalCount") == "true":
            headers["Total-Count"] = str(len(self.records))
        return Answer(200, self.records[offset : offset + limit], headers)


@pytest.fixture
def make_ods() -> Iterator[Callable[..., ScriptedOds]]:
    servers: list[ScriptedOds] = []

    def make(records: int | list[dict[str, Any]] = 3) -> ScriptedOds:
        ods = ScriptedOds()
        servers.append(ods)
        if isinstance(records, int):
            records = [
                {"id": f"{n:032x}", "n": n, "ref": {"name": f"r{n}"}} for n in range(records)
            ]
        ods.records = records
        return ods

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def ods(make_ods: Callable[..., ScriptedOds]) -> ScriptedOds:
    return make_ods()


@pytest.fixture
def runner() -> edfi.StudentAssessment:
    """A runner that does not ask for the version, and waits little."""
    return edfi.StudentAssessment(api_version="v3", max_retries=1, timeout=10)


def district(ods: ScriptedOds, bk: str = "a", /, **columns: object) -> pl.DataFrame:
    """A frame of one district."""
    row = {"District BK": bk, "targetUrl": ods.url, "EdFi Token": "token"} | columns
    return pl.DataFrame({name: [value] for name, value in row.items()})


def rows(ods: ScriptedOds, column: pl.Series, **columns: object) -> pl.DataFrame:
    """One row per value of a column, numbered by ``key``, all for one district."""
    cells = {"targetUrl": ods.url, "EdFi Token": "token"} | columns
    lits = {name: pl.lit(cell) for name, cell in cells.items() if not isinstance(cell, list)}
    lists = {name: pl.Series(cell) for name, cell in cells.items() if isinstance(cell, list)}
    key = pl.int_range(pl.len(), dtype=pl.Int64).alias("key")
    return pl.DataFrame(column).with_columns(key, **lits).with_columns(**lists)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Tells when Ctrl-C has reached Python."""
    seen = threading.Event()

    def handler(number: int, frame: object) -> None:
        seen.set()
        signal.default_int_handler(number, frame)  # type: ignore[arg-type]

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip("no folder of real Ed-Fi data beside the project")
    return DATA
