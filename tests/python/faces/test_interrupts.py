"""One Ctrl-C in a scan is one exception, whichever thread reads when it comes."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, threading, time
import polars_edfi as edfi

signal.signal(signal.SIGINT, signal.default_int_handler)
with edfi.Sandbox(records=4000, latency=0.02) as ods:
    url, key, secret = ods.districts().row(0)[1:]
    client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    lf = edfi.scan("ed-fi/studentAssessments", client=client, limit=20)
    lf.collect_schema()
    threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        lf.collect(engine=sys.argv[1])
    except KeyboardInterrupt:
        time.sleep(0.3)
        print("once")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_one_interrupt_raises_once(engine: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("once\n", "")
