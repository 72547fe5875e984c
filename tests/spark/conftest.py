"""Real Spark, started once for each kind of it: threads of one process, and a cluster of two."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import polars_edfi as edfi
from polars_edfi import spark as edfi_spark

# The scripted server of the other Python tests.
_PATH = Path(__file__).parents[1] / "python" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("scripted", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
scripted = importlib.util.module_from_spec(_SPEC)
sys.modules["scripted"] = scripted
_SPEC.loader.exec_module(scripted)

os.environ["PYSPARK_PYTHON"] = sys.executable
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what needs a cluster behind what does not: a process has one kind of Spark at a time."""
    items.sort(key=lambda item: "cluster" in getattr(item, "fixturenames", ()))


def start(master: str, events: Path) -> SparkSession:
    active = SparkSession.getActiveSession()
    if active is not None:
        active.stop()
    source = str(Path(edfi.__file__).parents[1])
    builder = (
        SparkSession.builder.master(master)
        .config("spark.ui.enabled", "false")
        .config("spark.eventLog.enabled", "true")
        .config("spark.eventLog.dir", events.as_uri())
        .config("spark.eventLog.compress", "false")
        .config("spark.eventLog.rolling.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.executorEnv.PYTHONPATH", source)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.log.level", "ERROR")
    )
    session = builder.getOrCreate()
    edfi_spark.register(session)
    return session


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Spark logs its events, and its executors what they print."""
    folder = tmp_path_factory.mktemp("events")
    os.environ["SPARK_WORKER_DIR"] = str(tmp_path_factory.mktemp("work"))
    return folder


@pytest.fixture(scope="session")
def spark(events: Path) -> Iterator[SparkSession]:
    """Two tasks at once, in threads of one process."""
    session = start("local[2]", events)
    yield session
    active = SparkSession.getActiveSession()
    if active is not None:
        active.stop()


@pytest.fixture(scope="session")
def cluster(events: Path) -> Iterator[SparkSession]:
    """Two executors of one core each, processes of their own."""
    session = start("local-cluster[2,1,1024]", events)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def ods() -> Iterator[edfi.Sandbox]:
    """Three districts of an ODS with page tokens, whose small pages make partitions."""
    with edfi.Sandbox(districts=["1", "2", "3"], records=1200, page_limit=50) as sandbox:
        yield sandbox


@pytest.fixture
def auth(ods: edfi.Sandbox) -> dict[str, str]:
    """The options of the first district."""
    return auth_of(ods)


def auth_of(ods: edfi.Sandbox, row: int = 0) -> dict[str, str]:
    _, url, key, secret = ods.districts().row(row)
    return {"base_url": url, "client_id": key, "client_secret": secret}


def client_of(auth: dict[str, Any]) -> edfi.EdFiClient:
    return edfi.EdFiClient(**auth)


@contextmanager
def collection(size: int) -> Iterator[Any]:
    """A scripted ODS with so many students."""
    ods = scripted.ScriptedOds()
    ods.records = [{"id": f"{n:032x}", "n": n} for n in range(size)]
    try:
        yield ods
    finally:
        ods.stop()


def descendants(pid: int) -> list[tuple[int, str]]:
    """Give the processes below one, with what they were started as."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        for child in children.get(left.pop(), []):
            left.append(child)
            try:
                found.append((child, (Path("/proc") / str(child) / "cmdline").read_text()))
            except OSError:
                continue
    return found


def executors() -> list[int]:
    name = "CoarseGrainedExecutorBackend"
    return [pid for pid, started_as in descendants(os.getpid()) if name in started_as]
