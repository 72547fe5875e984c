"""What processes do that are ended at some moment; each is forked from one that did nothing."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import polars as pl

import polars_edfi as edfi

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["polars_edfi"])
TIMEOUT = 100


def start(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """Begin some work in a process of its own."""
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """End a process, and see its end; from any thread, while another one waits for it."""
    assert process.pid, "it has begun"
    with suppress(ProcessLookupError):  # it was quicker
        os.kill(process.pid, signal.SIGKILL)
    assert multiprocessing.connection.wait([process.sentinel], TIMEOUT)


def end(process: BaseProcess, timeout: float = TIMEOUT) -> bool:
    """Wait for a process: whether it was ended before it was done."""
    process.join(timeout)
    assert process.exitcode in {0, -signal.SIGKILL, -signal.SIGXFSZ}
    return process.exitcode != 0


def limit_files(size: int | None) -> None:
    """Have the system end this process in the write by which a file becomes larger."""
    if size is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def read(journal: Path, limit: int | None = None) -> None:
    """Read a journal, which sorts in what is new."""
    limit_files(limit)
    edfi.read_journal(journal)


def post(url: str, journal: Path, numbers: range, limit: int | None = None) -> None:
    """Post a payload for each number."""
    limit_files(limit)
    df = pl.DataFrame({"k": numbers}).with_columns(
        pl.format('{{"n": {}}}', "k").alias("payload"),
        pl.lit(url).alias("targetUrl"),
        pl.lit("token").alias("EdFi Token"),
    )
    edfi.StudentAssessment(api_version="v3").batch_post_payload(
        df, payload_col="payload", key_col="k", commit=True, journal=journal, workers=8
    )


def send(url: str, frames: dict[str, pl.DataFrame], result: Path, options: dict[str, Any]) -> None:
    """Send frames, and keep the result once it is whole."""
    client = edfi.EdFiClient(base_url=url, bearer_token="token", api_version="v3")
    sent = client.send(frames, key_col="k", commit=True, retry_backoff=0.0, **options)
    sent.write_parquet(result)
