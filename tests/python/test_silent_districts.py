"""Districts whose hosts keep silent, among healthy ones: nobody waits behind them."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds
from faults.server import DOCUMENT as DOCUMENT_OF_THINGS
from faults.server import THINGS

import polars_edfi as edfi

ENDPOINT = "ed-fi/students"
SILENT = [0, 3, 7, 12, 18, 25, 31, 39]
TIMEOUT = 1.5
DOCUMENT = {
    "openapi": "3.0.1",
    "paths": {
        f"/{ENDPOINT}": {
            "get": {
                "parameters": [{"name": "n", "in": "query", "x-Ed-Fi-isIdentity": True}],
                "responses": {},
            }
        }
    },
    "components": {},
}


@pytest.fixture
def silent() -> Iterator[list[str]]:
    """Hosts that take connections and say nothing."""
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in SILENT]
    yield [f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()


def times_of(ods: ScriptedOds) -> list[float]:
    """Note when each request comes."""
    served: list[float] = []

    def script(_: Request) -> Answer | None:
        served.append(time.monotonic())
        return None

    ods.script = script
    return served


@pytest.mark.parametrize("in_front", [True, False])
def test_healthy_districts_are_done_within_one_timeout(
    make_ods: Callable[..., ScriptedOds], silent: list[str], in_front: bool
) -> None:
    ods = make_ods(3)
    served = times_of(ods)
    urls = [f"{ods.url}" for _ in range(40)]
    places = range(len(SILENT)) if in_front else SILENT
    for place, url in zip(places, silent, strict=True):
        urls[place] = url
    districts = pl.DataFrame(
        {"District BK": [f"d{n}" for n in range(40)], "targetUrl": urls, "EdFi Token": "token"}
    )
    runner = edfi.Resource(ENDPOINT, api_version="v3", timeout=TIMEOUT, max_retries=1)
    begin = time.monotonic()
    out = runner.batch_get_all(districts, key_col="District BK", schema="infer", workers=8)
    took = time.monotonic() - begin
    failed = out.filter(pl.col("status") == "error")
    assert set(failed["District BK"]) == {f"d{place}" for place in places}
    assert out.height == 3 * (40 - len(SILENT)) + len(SILENT)
    # Results keep the order of the districts.
    assert out["District BK"].unique(maintain_order=True).to_list() == [f"d{n}" for n in range(40)]
    assert max(served) - begin < 1.8 * TIMEOUT
    assert took < 4 * TIMEOUT


def test_more_silent_districts_than_pages_that_may_wait(
    make_ods: Callable[..., ScriptedOds],
) -> None:
    ods = make_ods(3)
    served = times_of(ods)
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(12)]
    urls = [f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets] + [ods.url] * 24
    districts = pl.DataFrame(
        {"District BK": [f"d{n}" for n in range(36)], "targetUrl": urls, "EdFi Token": "token"}
    )
    runner = edfi.Resource(ENDPOINT, api_version="v3", timeout=TIMEOUT, max_retries=2)
    begin = time.monotonic()
    out = runner.batch_get_all(districts, key_col="District BK", schema="infer", workers=6)
    for one in sockets:
        one.close()
    assert out.filter(status="error").height == 12
    # First tries go six at a time, and nothing is tried again before all healthy ones are done.
    assert max(served) - begin < 3.8 * TIMEOUT


@pytest.mark.parametrize("schema", ["infer", {"id": pl.String}])
def test_a_scan_goes_on_beside_districts_that_do_not_answer(
    make_ods: Callable[..., ScriptedOds], silent: list[str], schema: Any
) -> None:
    ods = make_ods(3)
    served = times_of(ods)
    urls = [ods.url] * 40
    for place, url in zip(SILENT, silent, strict=True):
        urls[place] = url
    districts = pl.DataFrame(
        {"District BK": [f"d{n}" for n in range(40)], "targetUrl": urls, "EdFi Token": "token"}
    )
    client = edfi.EdFiClient(api_version="v3", timeout=TIMEOUT, max_retries=1)
    scan = edfi.scan_all(
        districts,
        ENDPOINT,
        key_col="District BK",
        client=client,
        schema=schema,
        workers=8,
        on_error="row",
    )
    begin = time.monotonic()
    out = scan.collect()
    assert out.filter(status="error").height == len(SILENT)
    assert out.height == 3 * (40 - len(SILENT)) + len(SILENT)
    assert out["District BK"].unique(maintain_order=True).to_list() == [f"d{n}" for n in range(40)]
    assert max(served) - begin < 1.8 * TIMEOUT


def validates(districts: pl.DataFrame, runner: edfi.EdFiClient) -> pl.DataFrame:
    return runner.validate(districts, workers=8)


def compares(districts: pl.DataFrame, runner: edfi.EdFiClient) -> pl.DataFrame:
    return runner.compare(districts, workers=8).filter(status="error")


@pytest.mark.parametrize("call", [validates, compares])
@pytest.mark.parametrize("documented", [False, True])
def test_silent_districts_are_waited_for_together(
    make_ods: Callable[..., ScriptedOds],
    silent: list[str],
    call: Callable[[pl.DataFrame, edfi.EdFiClient], pl.DataFrame],
    documented: bool,
) -> None:
    end = threading.Event()
    served: list[float] = []

    def script(is_silent: bool) -> Callable[[Request], Answer | None]:
        def answer(request: Request) -> Answer | None:
            if request.path.endswith("/metadata/"):
                return Answer(200, DOCUMENT_OF_THINGS)
            if is_silent:
                end.wait(60)
                return Answer(close=True)
            served.append(time.monotonic())
            return Answer(200, [{"id": "a" * 32, "n": 1, "m": 1}])

        return answer

    def ods(is_silent: bool) -> str:
        it = make_ods()
        it.serves_metadata, it.one_at_a_time, it.script = True, False, script(is_silent)
        return it.url

    healthy = ods(False)
    urls = [f"{healthy}/{n}" for n in range(40)]
    for place, url in zip(SILENT, silent, strict=True):
        urls[place] = ods(True) if documented else url
    payload = '{"n": 1, "otherReference": {"m": 1}}'
    districts = pl.DataFrame({"targetUrl": urls, "EdFi Token": "token", "payload": payload})
    runner = edfi.Resource(THINGS, api_version="v3", timeout=TIMEOUT, max_retries=1)
    begin = time.monotonic()
    out = call(districts, runner)
    took = time.monotonic() - begin
    end.set()
    assert out.height == len(SILENT)
    assert len(served) >= 32
    if documented:
        assert max(served) - begin < 1.8 * TIMEOUT
    assert took < 4 * TIMEOUT


def find_ids(districts: pl.DataFrame, runner: edfi.EdFiClient) -> pl.DataFrame:
    rows = districts.with_columns(n=pl.lit(1))
    return runner.batch_find_ids(rows, key_cols=["n"], workers=4)


def read_what_is_checked(districts: pl.DataFrame, runner: edfi.EdFiClient) -> pl.DataFrame:
    return runner.batch_get_all(
        districts, key_col="District BK", params={"n": 1}, schema="infer", workers=4
    )


def read_in_cells(districts: pl.DataFrame, runner: edfi.EdFiClient) -> pl.DataFrame:
    cell = edfi.get_all(
        "targetUrl", token="EdFi Token", client=runner, endpoint=ENDPOINT, workers=4
    )
    return districts.with_columns(cell=cell)["cell"].struct.unnest()


def copies(districts: pl.DataFrame, runner: edfi.EdFiClient) -> pl.DataFrame:
    options: dict[str, Any] = {"key_col": "District BK", "schema": {"id": pl.String}}
    with tempfile.TemporaryDirectory() as folder:
        return edfi.sync(districts, [ENDPOINT], into=folder, client=runner, workers=4, **options)


@pytest.mark.parametrize("call", [find_ids, read_what_is_checked, read_in_cells, copies])
def test_nobody_stands_behind_documents_that_do_not_come(
    make_ods: Callable[..., ScriptedOds],
    call: Callable[[pl.DataFrame, edfi.EdFiClient], pl.DataFrame],
) -> None:
    ods = make_ods([{"id": "a" * 32, "n": 1}])
    served: list[float] = []

    def script(request: Request) -> Answer | None:
        served.append(time.monotonic())
        return Answer(200, DOCUMENT) if request.path.endswith("/metadata/") else None

    ods.script, ods.serves_metadata, ods.total_count = script, True, False
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(8)]
    silent = [f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    urls = silent + [f"{ods.url}/{n}" for n in range(12)]
    districts = pl.DataFrame(
        {"District BK": [f"d{n}" for n in range(20)], "targetUrl": urls, "EdFi Token": "token"}
    )
    runner = edfi.Resource(ENDPOINT, api_version="v3", timeout=TIMEOUT, max_retries=2)
    begin = time.monotonic()
    out = call(districts, runner)
    for one in sockets:
        one.close()
    assert out.height == 20
    assert len(served) >= 12
    # Four at a time, each once; what comes after that may stand behind one that is asked again.
    assert max(served) - begin < 3.9 * TIMEOUT


def test_nobody_waits_for_documents_as_long_as_another_client() -> None:
    asked = socket.create_server(("127.0.0.1", 0), backlog=64)
    url = f"http://127.0.0.1:{asked.getsockname()[1]}"
    given = {"base_url": url, "bearer_token": "token", "api_version": "v3"}
    patient = edfi.EdFiClient(timeout=600, max_retries=0, **given)
    hasty = edfi.EdFiClient(timeout=0.3, max_retries=0, **given)
    errors: list[str] = []

    def wait() -> None:
        with pytest.raises(edfi.HttpError) as raised:
            patient.schema(ENDPOINT)
        errors.append(str(raised.value))

    first = threading.Thread(target=wait)
    with asked:
        first.start()
        connection, _ = asked.accept()
        connection.recv(1)
        with pytest.raises(edfi.HttpError, match=r"no byte for 0\.3 s"):
            hasty.schema(ENDPOINT)
        assert not errors
        connection.close()
    first.join(60)
    assert errors
