"""Many ODSs in one call: workers over all, renewed tokens, and some that fail."""

import socket
import threading
import time
from typing import Any

import polars as pl
from conftest import Answer, Request

import polars_edfi as edfi
from send.support import LEVELS, SCHOOLS, STUDENTS, MakeOds, frame, school, serve, student


def test_workers_are_those_of_all_together(make_ods: MakeOds) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def write(_request: Request) -> Answer:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return Answer(201)

    odses = [make_ods() for _ in range(5)]
    for ods in odses:
        serve(ods, LEVELS, write)
    columns = [{"targetUrl": ods.url, "EdFi Token": "token"} for ods in odses]
    frames = {
        SCHOOLS: pl.concat(frame(map(school, range(20)), **one) for one in columns),
        STUDENTS: pl.concat(frame((student(f"{n}") for n in range(20)), **one) for one in columns),
    }
    client = edfi.EdFiClient(api_version="v3")
    for workers in [1, 3, 16]:
        most[0] = 0
        sent = client.send(frames, commit=True, workers=workers)
        assert sent["status"].null_count() == 200
        assert most[0] <= workers
        assert most[0] >= min(workers, 3)


def test_odses_that_fail_fail_alone(make_ods: MakeOds) -> None:
    good, broken, strange = make_ods(), make_ods(), make_ods()
    serve(good, LEVELS, lambda _request: Answer(201))

    def fail(request: Request) -> Answer:
        return Answer(500 if "dependencies" in request.path else 404)

    broken.script, broken.serves_metadata = fail, True
    strange.script, strange.serves_metadata = (lambda _request: Answer(200, "<html>")), True
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    urls: list[Any] = [good.url, broken.url, strange.url, dead, None, "ftp://x"]
    rows = [
        frame([student("a")]).with_columns(
            pl.lit(url, pl.String).alias("targetUrl"), pl.lit("token").alias("EdFi Token")
        )
        for url in urls
    ]
    frames = {STUDENTS: pl.concat(rows), SCHOOLS: pl.concat(rows).lazy()}
    client = edfi.EdFiClient(api_version="v3", max_retries=1, connect_timeout=2)
    sent = client.send(frames, commit=True)
    assert sent["status"].to_list() == [None, *["error"] * 5] * 2
    starts = [
        "dependencies: HTTP 500",
        "dependencies: HTTP 200",
        "d",
        "missing 't",
        "'targetUrl': ",
    ]
    for message, start in zip(sent["message"].to_list()[1:6], starts, strict=True):
        assert message.startswith(start), message
    assert sent["attempts"].to_list() == [1, 0, 0, 0, 0, 0] * 2


def test_tokens_are_renewed_on_the_way(make_ods: MakeOds) -> None:
    ods = make_ods()
    count, lock = [0], threading.Lock()

    def write(request: Request) -> Answer:
        with lock:
            count[0] += 1
            # Halfway all tokens are revoked.
            if count[0] == 20:
                ods.tokens.clear()
            return Answer(201) if request.token in ods.tokens else Answer(401)

    serve(ods, LEVELS, write)
    cells = {"targetUrl": ods.url, "key": "key", "secret": "secret"}
    frames = {
        SCHOOLS: frame(map(school, range(30)), **cells),
        STUDENTS: frame((student(f"{n}") for n in range(30)), **cells),
    }
    sent = edfi.EdFiClient(api_version="v3").send(
        frames,
        commit=True,
        auth_key_col="key",
        auth_secret_col="secret",
        oauth_endpoint="oauth/token",
    )
    assert sent["status"].null_count() == 60
    tokens = {request.token for request in ods.paths("/data")}
    assert len(tokens) == 2
