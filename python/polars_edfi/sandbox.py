"""``python -m polars_edfi.sandbox`` runs a small Ed-Fi ODS on this machine until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import threading
from typing import TYPE_CHECKING

from polars_edfi._errors import EdFiError
from polars_edfi._sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Sandbox", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a sandbox until Ctrl-C, and print how to reach it."""
    parser = argparse.ArgumentParser(
        prog="python -m polars_edfi.sandbox", description="A small Ed-Fi ODS on this machine."
    )
    parser.add_argument("--port", type=int, default=8001, help="0 takes any free port")
    parser.add_argument("--districts", nargs="+", default=["255901", "255902"], metavar="NAME")
    parser.add_argument("--records", type=int, default=1200, help="studentAssessments per district")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--release", default="7.3", help="of the ODS/API, from 5.2 to 7.3")
    options = parser.parse_args(arguments)
    try:
        made = Sandbox(
            options.districts,
            options.records,
            seed=options.seed,
            port=options.port,
            release=options.release,
        )
    except EdFiError as error:
        parser.error(str(error))
    with made as ods:
        for name, url, key, secret in ods.districts().iter_rows():
            print(f"{name}: {url}  key {key}  secret {secret}", flush=True)
        print("serving until Ctrl-C", flush=True)
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()


if __name__ == "__main__":
    main()
