"""``python -m polars_edfi.stubs`` lets type checkers and editors know ``df.edfi``.

Polars adds namespaces while a program runs, so that mypy, pyright and editors refuse them. This
writes the package ``polars-stubs`` beside Polars: its own sources of ``DataFrame``, ``LazyFrame``
and ``Expr``, with the namespace declared. Run it again after an update of Polars.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "write"]

CLASSES = {
    "dataframe/frame": ("DataFrame", "DataFrameNamespace"),
    "lazyframe/frame": ("LazyFrame", "LazyFrameNamespace"),
    "expr/expr": ("Expr", "ExprNamespace"),
}
MARK = "partial\n"
"""What a package says that stands beside another one's types (PEP 561)."""
FUTURE = "from __future__ import annotations\n"


def write(folder: Path) -> Path:
    """Write ``polars-stubs`` into a folder in which Python finds packages; return its path."""
    polars = Path(pl.__file__).parent
    stubs = folder / "polars-stubs"
    if stubs.exists() and not (stubs / "polars_edfi").exists():
        msg = f"{stubs} is there already, and was not written by polars_edfi"
        raise FileExistsError(msg)
    stubs.mkdir(parents=True, exist_ok=True)
    (stubs / "py.typed").write_text(MARK, "utf-8")
    (stubs / "polars_edfi").write_text(pl.__version__, "utf-8")
    for package in {"", *(module.split("/")[0] for module in CLASSES)}:
        (stubs / package).mkdir(exist_ok=True)
        source = (polars / package / "__init__.py").read_text("utf-8")
        (stubs / package / "__init__.pyi").write_text(source, "utf-8")
    for module, (name, namespace) in CLASSES.items():
        source = (polars / f"{module}.py").read_text("utf-8")
        declared, count = re.subn(
            rf"^class {name}\b[^:]*:\n",
            rf"\g<0>    edfi: {namespace}\n",
            source,
            flags=re.MULTILINE,
        )
        imported = f"{FUTURE}from polars_edfi._namespaces import {namespace}\n"
        if count != 1 or FUTURE not in source:
            msg = f"Polars {pl.__version__} has no class {name} in {module}.py"
            raise RuntimeError(msg)
        (stubs / f"{module}.pyi").write_text(declared.replace(FUTURE, imported, 1), "utf-8")
    return stubs


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the stubs, or remove them."""
    parser = argparse.ArgumentParser(
        prog="python -m polars_edfi.stubs",
        description="Let type checkers and editors know df.edfi, lf.edfi and expr.edfi.",
    )
    parser.add_argument("--remove", action="store_true", help="remove them again")
    options = parser.parse_args(arguments)
    folder = Path(pl.__file__).parents[1]
    if options.remove:
        stubs = folder / "polars-stubs"
        if (stubs / "polars_edfi").exists():
            shutil.rmtree(stubs)
        print(f"removed {stubs}")
    else:
        print(f"wrote {write(folder)} for Polars {pl.__version__}")


if __name__ == "__main__":
    main()
