"""What must be there before Spark can be spoken to, and what to do where it is not."""

from __future__ import annotations

import importlib
import re

EXTRA = 'pip install "polars-edfi[spark]"'
OLDEST = {"pyspark": (4, 0), "pyarrow": (15, 0)}


def check_needs() -> None:
    """Refuse to go on without PySpark 4 and PyArrow."""
    for package, oldest in OLDEST.items():
        wanted = f"polars_edfi.spark needs {package} {'.'.join(map(str, oldest))} or newer"
        try:
            found = str(importlib.import_module(package).__version__)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            msg = f"{wanted}, which is not installed: {EXTRA}"
            raise ImportError(msg) from None
        if tuple(map(int, re.findall(r"\d+", found)[:2])) < oldest:
            msg = f"{wanted}, found {found}: {EXTRA}"
            raise ImportError(msg)
