"""An ODS that answers rightly but for one fault, and notes what it has applied."""

from __future__ import annotations

import collections
import gzip
import json
import random
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from client.support import read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECORDS = 7
IDS = [f"{n:032x}" for n in range(RECORDS)]
THINGS, OTHERS = "ed-fi/things", "ed-fi/others"


def _described(name: str, key: str, *references: str) -> dict[str, Any]:
    """What a document says of a resource whose key is one number."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    key_parameter = {"name": key, "in": "query", "x-Ed-Fi-isIdentity": True}
    answers = {
        "200": {"content": {"application/json": {"schema": {"type": "array", "items": schema}}}}
    }
    get = {"parameters": [key_parameter], "responses": answers}
    post = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    properties: dict[str, Any] = {
        "id": {"type": "string"},
        key: {"type": "integer", "x-Ed-Fi-isIdentity": True},
        "codeValue": {"type": "string"},
    }
    for other in references:
        properties[f"{other}Reference"] = {"$ref": f"#/components/schemas/{other}Reference"}
    return {
        "paths": {f"/ed-fi/{name}s": {"get": get, "post": post}},
        "schemas": {
            name: {"type": "object", "required": [key], "properties": properties},
            f"{name}Reference": {
                "type": "object",
                "required": [key],
                "properties": {key: {"type": "integer"}},
            },
        },
    }


def _document() -> bytes:
    parts = _described("thing", "n", "other"), _described("other", "m")
    whole = {
        "openapi": "3.0.1",
        "paths": parts[0]["paths"] | parts[1]["paths"],
        "components": {"schemas": parts[0]["schemas"] | parts[1]["schemas"]},
    }
    return json.dumps(whole).encode()


DOCUMENT = _document()
BOMB = gzip.compress(b"[" + b" " * (48 << 20) + b"]")


@dataclass
class Exchange:
    """One request, and the right answer to it."""

    connection: socket.socket
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    apply: Callable[[], tuple[int, bytes, dict[str, str]]]

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer in full."""
        lines = {"content-length": str(len(body))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.connection.sendall(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body)

    def answer(self) -> None:
        """Do what was asked for, and say so."""
        status, body, headers = self.apply()
        self.send(status, body, **headers)


class ClosedError(Exception):
    """The connection is to be closed."""


Fault = "Callable[[Exchange], None]"


def status(code: int, **headers: str) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        body = json.dumps({"detail": "No.", "correlationId": "c"}).encode()
        exchange.send(code, b"" if code == 304 else body, **headers)

    return fault


def closes(_: Exchange) -> None:
    raise ClosedError


def applies_and_closes(exchange: Exchange) -> None:
    exchange.apply()
    raise ClosedError


def applies_and_resets(exchange: Exchange) -> None:
    exchange.apply()
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ClosedError


def applies_and_is_silent(exchange: Exchange) -> None:
    exchange.apply()
    exchange.connection.settimeout(5)
    exchange.connection.recv(1)
    raise ClosedError


def answers_and_closes(exchange: Exchange) -> None:
    exchange.answer()
    raise ClosedError


def with_body(change: Callable[[bytes], bytes], **headers: str) -> Callable[[Exchange], None]:
    """Applies, and says something else than it should."""

    def fault(exchange: Exchange) -> None:
        code, body, right = exchange.apply()
        code = 200 if code == 204 else code
        exchange.send(code, change(body), **(right | headers))

    return fault


def raw(text: bytes) -> Callable[[Exchange], None]:
    """Applies, and sends what is no answer."""

    def fault(exchange: Exchange) -> None:
        exchange.apply()
        exchange.connection.sendall(text)
        raise ClosedError

    return fault


def cuts(exchange: Exchange) -> None:
    code, body, headers = exchange.apply()
    body = body or b"{}"
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {code} Said\r\ncontent-length: {len(body) + 9}\r\n{lines}\r\n"
    exchange.connection.sendall(head.encode() + body[: len(body) // 2])
    raise ClosedError


def stalls_within(exchange: Exchange) -> None:
    code, _, _ = exchange.apply()
    exchange.connection.sendall(f"HTTP/1.1 {code} Said\r\ncontent-length: 99\r\n\r\n[".encode())
    exchange.connection.settimeout(5)
    exchange.connection.recv(1)
    raise ClosedError


def drips(exchange: Exchange) -> None:
    exchange.apply()
    exchange.connection.sendall(b"HTTP/1.1 200 Said\r\ncontent-length: 9999\r\n\r\n")
    for _ in range(200):
        exchange.connection.sendall(b" ")
        time.sleep(0.05)
    raise ClosedError


def counts(total: str) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        code, body, headers = exchange.apply()
        exchange.send(code, body, **(headers | {"total_count": total}))

    return fault


FAULTS: dict[str, Callable[[Exchange], None]] = {
    **{str(code): status(code) for code in (304, 400, 401, 403, 404, 408, 409, 412, 418)},
    **{str(code): status(code) for code in (429, 500, 501, 502, 503, 504, 599)},
    "429 after 0": status(429, retry_after="0"),
    "503 after 0": status(503, retry_after="0"),
    "429 after a day": status(429, retry_after="86400"),
    "503 after ever": status(503, retry_after="9" * 40),
    "302 elsewhere": status(302, location="http://127.0.0.1:1/"),
    "302 in circles": status(302, location="?again"),
    "closes": closes,
    "applies and closes": applies_and_closes,
    "applies and resets": applies_and_resets,
    "applies and is silent": applies_and_is_silent,
    "answers and closes": answers_and_closes,
    "html": with_body(lambda _: b"<html>Sign in</html>", content_type="text/html"),
    "object or array": with_body(lambda body: b"{}" if body.startswith(b"[") else b"[]"),
    "half of it": with_body(lambda body: body[: len(body) // 2]),
    "nothing": with_body(lambda _: b""),
    "two documents": with_body(lambda body: body + b" " + (body or b"{} {}")),
    "no utf-8": with_body(lambda body: body.replace(b'"', b'"\xff') or b"\xff"),
    "nulls": with_body(lambda _: b"[null, null]"),
    "a number": with_body(lambda _: b"1e999999"),
    "deep": with_body(lambda _: b"[" * 100_000),
    "no gzip": with_body(lambda _: b"\x1f\x8bno", content_encoding="gzip"),
    "a bomb": with_body(lambda _: BOMB, content_encoding="gzip"),
    "cuts": cuts,
    "stalls within": stalls_within,
    "drips": drips,
    "no status": raw(b"HTTP/1.1 banana\r\n\r\n"),
    "no http": raw(b"\x00" * 4096),
    "large head": raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000),
    "wrong chunks": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n[]"),
    "lies of length": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n["),
    "counts too many": counts("18446744073709551615"),
    "counts below zero": counts("-1"),
    "counts too few": counts("1"),
}


@dataclass
class FaultyOds:
    """A district; ``fault`` befalls the requests that ``hits`` says, by their number."""

    fault: Callable[[Exchange], None]
    hits: Callable[[int], bool]
    workers: int
    port: int = 0
    requests: int = 0
    in_flight: int = 0
    most: int = 0
    applied: collections.Counter[bytes] = field(default_factory=collections.Counter)
    seen: collections.Counter[bytes] = field(default_factory=collections.Counter)
    log: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        """Answers what comes on one connection."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ClosedError):
            while (request := read_request(connection)) is not None:
                self.exchange(connection, request)

    def exchange(self, connection: socket.socket, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        url = urlsplit(target)
        item = body if method in ("POST", "PUT") else url.path.rpartition("/")[2].encode()
        with self.lock:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            number, is_hit = self.requests, self.hits(self.requests)
            self.requests += 1
            self.seen[item] += 1
            self.log.append(f"{number} {method} {target} {'fault' if is_hit else ''}")
        done = []

        def apply() -> tuple[int, bytes, dict[str, str]]:
            with self.lock:
                self.applied[item] += 1
                # What is answered is no more in flight.
                if not done:
                    done.append(True)
                    self.in_flight -= 1
            return self.right(method, url.path, dict(parse_qsl(url.query)))

        query = dict(parse_qsl(url.query))
        exchange = Exchange(connection, method, url.path, query, body, apply)
        try:
            (self.fault if is_hit else Exchange.answer)(exchange)
        finally:
            with self.lock:
                if not done:
                    self.in_flight -= 1

    def right(  # noqa: C901, PLR0911
        self, method: str, path: str, query: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        """The answer of an ODS with a handful of records, the n-th with the change version n."""
        last = path.rpartition("/")[2]
        key = "m" if path.startswith("/data/v3/ed-fi/others") else "n"
        records = [{"id": name, key: n, "codeValue": f"c{n}"} for n, name in enumerate(IDS)]

        def found(answer: object, total: int = RECORDS) -> tuple[int, bytes, dict[str, str]]:
            return 200, json.dumps(answer).encode(), {"total_count": str(total)}

        match method, last:
            case "POST", "token":
                return found({"access_token": "issued", "expires_in": 1800})
            case "POST", "token_info":
                allowed = [{"resource": "/ed-fi/things", "operations": ["Create", "Read"]}]
                return found({"active": True, "claim_set": {"name": "C"}, "resources": allowed})
            case "POST", _:
                return 201, b"", {"location": f"{path}/{IDS[0]}"}
            case "PUT" | "DELETE", _:
                return 204, b"", {}
            case _, "availableChangeVersions":
                return found({"oldestChangeVersion": 0, "newestChangeVersion": RECORDS})
            case _, "deletes" | "keyChanges":
                return found([], 0)
            case _, "dependencies":
                return found([{"resource": "/ed-fi/things", "order": 1, "operations": ["Create"]}])
            case "GET", "" if path == "/metadata/":
                return 200, DOCUMENT, {}
            case _, name if name in IDS:
                return found(records[IDS.index(name)])
        if path in (f"/data/v3/{THINGS}", f"/data/v3/{OTHERS}"):
            low, high = (
                int(query.get("minChangeVersion", 0)),
                int(query.get("maxChangeVersion", 99)),
            )
            records = [
                record
                for n, record in enumerate(records)
                if low <= n <= high and query.get(key, str(n)) == str(n)
            ]
            offset, limit = int(query.get("offset", 0)), int(query.get("limit", 25))
            return found(records[offset : offset + limit], len(records))
        return 404, b"{}", {}


@contextmanager
def faulty(name: str, mode: str, workers: int, seed: int) -> Iterator[FaultyOds]:
    """An ODS whose fault befalls the first request, all, or some of them."""
    chance = random.Random(seed)
    hits: dict[str, Callable[[int], bool]] = {
        "first": lambda number: number == 0,
        "always": lambda _: True,
        "some": lambda _: chance.random() < 0.3,
    }
    with serving(FaultyOds(FAULTS[name], hits[mode], workers)) as ods:
        yield ods


@contextmanager
def serving(ods: FaultyOds) -> Iterator[FaultyOds]:
    """Have an ODS listen."""

    def handle(connection: socket.socket) -> None:
        with suppress(OSError, ClosedError), connection:
            ods.serve(connection)

    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    ods.port = listener.getsockname()[1]
    try:
        yield ods
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
