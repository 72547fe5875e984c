"""The package as a whole: examples, docstrings, Ctrl-C, progress, the sandbox."""

import doctest
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from conftest import Answer, Request, ScriptedOds, district

import polars_edfi as edfi

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(path: Path, tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONWARNINGS": "error"}
    run = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout


@pytest.mark.parametrize(
    "name",
    [
        module.name
        for module in pkgutil.walk_packages(edfi.__path__, "polars_edfi.", onerror=lambda _: None)
        if module.name != "polars_edfi._native"
    ],
)
def test_docstrings_tell_the_truth(name: str) -> None:
    if name.startswith("polars_edfi.spark"):
        pytest.importorskip("pyspark")
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    assert failed == 0


def test_ctrl_c_leaves_what_was_read(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    seen = threading.Event()

    def handler(number: int, frame: object) -> None:
        seen.set()
        signal.default_int_handler(number, frame)  # type: ignore[arg-type]

    def interrupt(request: Request) -> Answer | None:
        if request.query["offset"] == "1":
            os.kill(os.getpid(), signal.SIGINT)
            assert seen.wait(30)
        return None

    ods.script = interrupt
    df = pl.concat([district(ods, str(n)) for n in range(5)])
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            runner.batch_get_all(df, key_col="District BK", limit=1, workers=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert runner.rows is not None
    assert runner.rows["District BK"].to_list() == list("01234")
    assert runner.rows["status"].to_list() == ["error"] * 5
    assert runner.rows["message"].to_list()[-1] == "not sent: interrupted"


def test_a_late_ctrl_c_loses_nothing(ods: ScriptedOds, runner: edfi.StudentAssessment) -> None:
    ods.script = lambda _: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        runner.batch_get_all(district(ods), key_col="District BK")
    assert runner.rows is not None
    assert runner.rows.height > 0


def test_progress(
    ods: ScriptedOds, runner: edfi.StudentAssessment, capsys: pytest.CaptureFixture[str]
) -> None:
    def err(**arguments: str) -> str:
        runner.batch_get_all(
            district(ods),
            key_col="District BK",
            show_progress=True,
            **arguments,  # type: ignore[arg-type]
        )
        return capsys.readouterr().err

    assert "fetching records" in err()
    assert "[4/7]: fetching records" in err(progress_desc="[4/7]")
    assert "[4/7]: reading" in err(progress_desc="[4/7]", label="reading")
    runner.batch_get_all(district(ods), key_col="District BK")
    assert capsys.readouterr().err == ""


def test_the_sandbox_from_the_command_line() -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "polars_edfi.sandbox",
        "--port",
        "0",
        "--records",
        "5",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name, url, _, key, _, secret = process.stdout.readline().split()
        runner = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
        result = runner.get_all(key=name)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert result["data"] is not None
    assert result["data"].height == 5


def test_import_is_light() -> None:
    code = """
import sys, polars, polars_edfi as edfi
heavy = {"tqdm", "asyncio", "deltalake", "pyarrow", "polars_edfi._sync.sync", "polars_edfi.spark"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert set(edfi.__all__) <= set(dir(edfi))
assert edfi.sync.__module__ == "polars_edfi._sync.sync"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
