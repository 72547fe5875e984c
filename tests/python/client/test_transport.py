"""Connections that close, hang or cannot be trusted."""

import gzip
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi
from client.support import OK, client, post, raw_server, read_request

DOUBT = "it may have been applied"


def test_a_server_that_closes_each_connection_without_a_word_loses_nothing() -> None:
    # Whether a kept connection is closed shows after a moment only: a busy machine may miss some.
    applied: list[bytes] = []

    def closing(connection: socket.socket) -> None:
        if (request := read_request(connection)) is not None:
            applied.append(request)
            connection.sendall(OK)

    with raw_server(closing) as port:
        out = post(client(port), [f'{{"n": {n}}}' for n in range(400)], workers=8)
    in_doubt = out["message"].drop_nulls()
    assert in_doubt.str.contains(DOUBT).all()
    assert len(in_doubt) <= 20
    assert len(applied) + len(in_doubt) >= 400


def test_a_connection_that_is_kept_is_used(ods: ScriptedOds) -> None:
    runner = edfi.StudentAssessment(base_url=ods.url, api_version="v3", bearer_token="token")
    out = post(runner, [f'{{"n": {n}}}' for n in range(200)], workers=4)
    assert out["status"].null_count() == 200
    assert len({request.port for request in ods.requests}) <= 4 + 2


def test_a_write_that_was_read_and_never_answered_is_in_doubt() -> None:
    seen: list[bytes] = []

    def silent(connection: socket.socket) -> None:
        if (request := read_request(connection)) is not None:
            seen.append(request)

    with raw_server(silent) as port:
        runner = client(port, max_retries=3)
        assert DOUBT in post(runner, ["{}"])["message"][0]
        assert len(seen) == 1
        deleted = runner.delete_by_id("a", key="k", commit=True)
    assert deleted["status"] == "error"
    assert DOUBT in str(deleted["message"])
    assert len(seen) == 1 + 4


@pytest.mark.parametrize("first", [504, 502, 500])
def test_a_delete_that_is_gone_after_a_gateways_error_is_deleted(
    ods: ScriptedOds, runner: edfi.StudentAssessment, first: int
) -> None:
    answers = [Answer(first), Answer(404)]
    ods.script = lambda request: answers.pop(0) if request.method == "DELETE" else None
    df = district(ods, id="a")
    out = runner.batch_delete_by_id(df, id_col="id", key_col="District BK", commit=True)
    assert out.row(0, named=True) | {"http_status": 404} == out.row(0, named=True)
    assert out["status"].to_list() == ["deleted"]


@pytest.mark.parametrize("first", [Answer(429), Answer(503)])
def test_a_delete_that_was_not_processed_is_not_deleted(
    ods: ScriptedOds, runner: edfi.StudentAssessment, first: Answer
) -> None:
    answers = [first, Answer(404)]
    ods.script = lambda request: answers.pop(0) if request.method == "DELETE" else None
    df = district(ods, id="a")
    out = runner.batch_delete_by_id(df, id_col="id", key_col="District BK", commit=True)
    assert out["status"].to_list() == ["error"]


@pytest.mark.parametrize("body", [b"<html>", b'{"a": "\xff"}', b"{} {}", b"\xff"])
def test_a_success_that_is_none_may_have_been_applied(
    ods: ScriptedOds, runner: edfi.StudentAssessment, body: bytes
) -> None:
    ods.script = lambda request: Answer(201, body) if request.method == "POST" else None
    df = district(ods, payload="{}")
    out = runner.batch_post_payload(df, payload_col="payload", key_col="District BK", commit=True)
    assert out["status"].to_list() == ["error"]
    assert out["message"][0].startswith("HTTP 201 Created: ")
    assert DOUBT in out["message"][0]


def test_an_upload_on_its_way_is_no_silence() -> None:
    """Ten parts, each well before the time-out, all of them well beyond it."""
    size = 40 << 20

    def slow(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        left = size
        pause = threading.Event()
        while left > 0:
            left -= len(connection.recv(1 << 20))
            if left % 64 == 0:
                pause.wait(0.001)
            if left < size * (1 - slow_parts[0] / 10):
                slow_parts[0] += 1
                pause.wait(0.25)
        connection.sendall(OK)

    slow_parts = [1]
    with raw_server(slow) as port:
        started = time.monotonic()
        runner = client(port, timeout=1, max_retries=0)
        out = post(runner, ['{"text": "' + "x" * size + '"}'])
    assert out["message"].to_list() == [None]
    assert time.monotonic() - started > 1


def test_a_silent_server_is_given_up() -> None:
    release = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        release.wait(30)

    with raw_server(silent) as port:
        out = post(client(port, timeout=0.2, max_retries=0), ["{}"])
        read = client(port, timeout=0.2, max_retries=0).get_by_id("a")
        release.set()
    assert out["message"].to_list() == [
        "connection broken after the request was sent; it may have been applied (no byte for 0.2 s)"
    ]
    assert read["message"] == "no byte for 0.2 s"


def test_what_never_had_a_connection_was_not_applied() -> None:
    """A full queue: the system drops who wants to connect."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            runner = client(port, timeout=0.1, connect_timeout=0.4, max_retries=0)
            out = post(runner, ["{}"])
        finally:
            for filler in fillers:
                filler.close()
    assert out["message"].to_list() == ["connect timeout after 0.4 s"]
    assert out["attempts"].to_list() == [0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's key and a certificate that signs itself, as one command makes them."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl")
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


def answering(connection: socket.socket) -> None:
    while read_request(connection) is not None:
        connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"id": "a"}')


def test_a_certificate_that_signs_itself_can_be_trusted(certificate: Path) -> None:
    with raw_server(answering, pem=certificate) as port:
        url = f"https://127.0.0.1:{port}"
        trusting = client(port, base_url=url, ca_certs=certificate)
        assert trusting.get_by_id("a")["data"] == {"id": "a"}
        elsewhere = client(port, base_url=f"https://127.0.0.2:{port}", ca_certs=certificate)
        assert elsewhere.get_by_id("a")["status"] == "error"


def test_a_server_that_is_not_trusted_is_asked_once(certificate: Path) -> None:
    connections = []

    def counting(connection: socket.socket) -> None:
        connections.append(connection)

    with raw_server(counting) as port:
        # Not TLS at all: this may pass, and is tried again.
        client(port, base_url=f"https://127.0.0.1:{port}", max_retries=1).get_by_id("a")
    assert len(connections) == 2
    with raw_server(answering, pem=certificate) as port:
        runner = client(port, base_url=f"https://127.0.0.1:{port}", max_retries=5)
        started = time.monotonic()
        out = post(runner, ["{}"])
        assert time.monotonic() - started < 3
    assert "certificate" in out["message"][0]
    assert out["attempts"].to_list() == [0]


def test_a_certificate_that_is_none_shows_at_once() -> None:
    for pem in [
        b"-----BEGIN CERTIFICATE-----\nMIIBIjANBgkq\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ]:
        with pytest.raises(edfi.EdFiError, match="ca_certs"):
            edfi.EdFiClient(ca_certs=pem)


HOSTS = """
import resource, sys
import polars as pl
import polars_edfi as edfi

resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
port = sys.argv[1]
urls = [f"http://127.0.{n // 200}.{n % 200 + 1}:{port}" for n in range(400)]
df = pl.DataFrame({"targetUrl": urls, "id": ["a"] * 400, "EdFi Token": ["t"] * 400})
runner = edfi.StudentAssessment(api_version="v3")
out = runner.batch_get_by_id(df, id_col="id", workers=8)
messages = out["message"].drop_nulls().unique().to_list()
assert not messages, messages
"""


@pytest.mark.skipif(sys.platform != "linux", reason="one address for loopback only")
def test_idle_connections_leave_descriptors_for_others() -> None:
    with raw_server(answering, host="0.0.0.0") as port:
        subprocess.run([sys.executable, "-c", HOSTS, str(port)], timeout=100, check=True)


def test_a_length_is_believed_when_it_comes() -> None:
    def lying(connection: socket.socket) -> None:
        if read_request(connection) is not None:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n{")

    script = """
import resource, sys
import polars_edfi as edfi
runner = edfi.StudentAssessment(
    base_url=sys.argv[1], api_version="v3", bearer_token="t", max_retries=0
)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (900 << 20), used + (900 << 20)))
assert runner.get_by_id("a")["status"] == "error"
"""
    if sys.platform != "linux":
        pytest.skip("no limit of memory")
    with raw_server(lying) as port:
        command = [sys.executable, "-c", script, f"http://127.0.0.1:{port}"]
        subprocess.run(command, timeout=60, check=True)


def test_a_body_in_drops_has_an_end() -> None:
    def dripping(connection: socket.socket) -> None:
        while (request := read_request(connection)) is not None:
            method = request.split()[0]
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n")
            drops = itertools.repeat(b"[" if method == b"GET" else b" ")
            for drop in drops:
                connection.sendall(drop)
                time.sleep(0.02)

    with raw_server(dripping) as port:
        runner = client(port, timeout=0.3, max_retries=0)
        read = runner.get_all(key="a", schema="infer")
        written = post(runner, ["{}"])
    assert re.match(r"the answer comes too slowly: \d+ bytes in [01]\.\d s", str(read["message"]))
    assert DOUBT in written["message"][0]
    assert "too slowly" in written["message"][0]


def test_a_slow_body_that_is_large_is_read() -> None:
    """Longer than a server may be silent, at some KiB a second."""
    body = json.dumps([{"id": "a", "text": "x" * 12_000}]).encode()

    def slow(connection: socket.socket) -> None:
        while read_request(connection) is not None:
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode())
            for start in range(0, len(body), 200):
                connection.sendall(body[start : start + 200])
                time.sleep(0.02)

    with raw_server(slow) as port:
        read = client(port, timeout=0.3, max_retries=0).get_all(key="a", schema="infer")
    assert read["message"] is None


def test_a_bomb_costs_only_itself(ods: ScriptedOds) -> None:
    bomb = gzip.compress(b"[" + b" " * (8 << 20) + b"]")
    huge = Answer(200, bomb, {"content-encoding": "gzip"})
    ods.script = lambda request: huge if request.path.endswith("/bomb") else Answer(200, "{}")
    ods.one_at_a_time = False
    df = pl.DataFrame({"id": ["bomb", *"abcdefg"] * 4})
    runner = edfi.StudentAssessment(
        base_url=ods.url, api_version="v3", bearer_token="token", max_body=1 << 20
    )
    out = runner.batch_get_by_id(df, id_col="id", flatten=False)
    failed = out.filter(pl.col("status").is_not_null())
    assert failed["id"].to_list() == ["bomb"] * 4
    assert all("max_body (1048576 bytes)" in text for text in failed["message"])
    with pytest.raises(edfi.EdFiError, match="max_body"):
        edfi.EdFiClient(max_body=0)


@pytest.mark.parametrize("asked", ["0", "-5", "NaN", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_no_server_shortens_the_back_off(ods: ScriptedOds, asked: str) -> None:
    ods.script = lambda _: Answer(503, headers={"retry-after": asked})
    runner = edfi.StudentAssessment(
        base_url=ods.url, api_version="v3", bearer_token="token", max_retries=2
    )
    started = time.monotonic()
    assert runner.get_by_id("a")["http_status"] == 503
    assert time.monotonic() - started >= 0.1 + 0.2


def test_a_wait_beyond_all_numbers_is_an_error(ods: ScriptedOds) -> None:
    ods.script = lambda _: Answer(503, headers={"retry-after": "9" * 400})
    runner = edfi.StudentAssessment(base_url=ods.url, api_version="v3", bearer_token="token")
    assert "longer than max_wait" in str(runner.get_by_id("a")["message"])
    assert len(ods.requests) == 1


def test_what_a_server_echoes_is_no_secret(ods: ScriptedOds) -> None:
    token = "a-token-that-nobody-may-see-0123456789"

    def echo(request: Request) -> Answer:
        header = request.headers["authorization"]
        text = "x" * 1970 + header
        return Answer(400, {"detail": text, "errors": {header: [header]}, "correlationId": header})

    ods.script = echo
    runner = edfi.StudentAssessment(base_url=ods.url, api_version="v3", bearer_token=token)
    with pytest.raises(edfi.HttpError) as raised:
        runner.count("ed-fi/students")
    shown = f"{raised.value!r} {raised.value} {runner.get_by_id('a')}"
    assert not any(token[:n] in shown for n in (8, len(token)))
    ods.script = lambda request: echo(request) if request.path == "/oauth/token" else None
    secret = edfi.EdFiClient(base_url=ods.url, client_id="key", client_secret="s3cr3t-s3cr3t")
    told = str(secret.fetch_token())
    header = ods.requests[-1].headers["authorization"].removeprefix("Basic ")
    assert header not in told
    assert "s3cr3t" not in told


def test_an_error_is_short_however_long_its_words(ods: ScriptedOds) -> None:
    name, ones = "n" * 60_000, [1] * 30_000
    ods.script = lambda _: Answer(
        400, {"validationErrors": {name: ones}, "correlationId": "c" * 500_000}
    )
    runner = edfi.StudentAssessment(base_url=ods.url, api_version="v3", bearer_token="token")
    out = runner.get_by_id("a")
    assert len(str(out["message"])) < 2_200
    assert len(str(out["correlation_id"])) < 300


def test_a_name_of_a_client_must_fit_into_a_header() -> None:
    with pytest.raises(edfi.EdFiError, match="user_agent"):
        edfi.EdFiClient(user_agent="a\nb")


PROXY = """
import os, sys
os.environ["HTTP_PROXY"] = f"http://user:pa55word@127.0.0.1:{sys.argv[1]}"
import polars_edfi as edfi
runner = edfi.EdFiClient(
    base_url="http://ods.example.org", allow_http=True, api_version="v3", bearer_token="t",
    max_retries=0,
)
print(runner.get_by_id("a", endpoint="ed-fi/students")["message"])
"""


def test_a_dead_proxy_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-c", PROXY, str(port)]
    told = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True).stdout
    assert f"could not connect through the proxy 127.0.0.1:{port}" in told
    assert "pa55word" not in told
