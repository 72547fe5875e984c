"""Does one piece of work in one way, in a process of its own, and says what it took.

Usage: ``contestant.py NAME WORK [--compare]``: a module of ``contestants``, and a JSON object with
the fields of ``common.work.Work``. One line of JSON comes back: the seconds of the call by
the clock and of all cores, its memory in bytes, and with ``--compare`` a hash of what it brought.
"""

import importlib
import json
import sys

from common.measure import measured
from common.result import digest
from common.work import SkipError, Work


def main() -> None:
    """Measure the contestant and the work that the arguments name."""
    name, text, *compare = sys.argv[1:]
    work = Work.parse(text)
    try:
        call = getattr(importlib.import_module(f"contestants.{name}"), work.job)(work)
    except SkipError as skip:
        print(json.dumps({"skipped": str(skip)}))
        return
    frame, outcome = measured(call)
    brought = {"digest": digest(frame, work)} if compare else {}
    print(json.dumps(outcome | {"rows": frame.height} | brought))


if __name__ == "__main__":
    main()
