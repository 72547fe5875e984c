"""Runs the Python of a page, block after block in one namespace, and keeps what each block shows.

A fence says what stands in it. ``python`` runs, as it stands there. ``py`` is somebody else's
Python and must have a title that says whose. Anything else has to be one of ``OTHER``. What a page
needs before its first block, and what must hold after its last one, stands in ``pages.py``.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
OTHER = {"sh", "text", "toml", "rust", "json", "sql", "ini", "html", "cron"}
# A page may use these where they are installed; `make docs` has them all.
OPTIONAL = {
    "deltalake",
    "duckdb",
    "pandas",
    "pyarrow",
    "pyiceberg",
    "pyspark",
    "sqlalchemy",
    "xlsxwriter",
}
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    code: str
    end: int


def blocks(text: str) -> list[Block]:
    """Find all fenced blocks of a page, whatever is in them."""
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match[1].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        found.append(Block(language, title[1] if title else "", match[2], match.end()))
    return found


def unmarked(text: str) -> list[str]:
    """Say which blocks of a page nobody runs and nothing marks as something else."""
    return [
        f"```{block.language}: {block.code.splitlines()[:1]}"
        for block in blocks(text)
        if block.language != "python"
        and block.language not in OTHER
        and not (block.language == "py" and block.title)
    ]


def pages() -> list[str]:
    """Name all pages with code, by their path below the project's folder."""
    found = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md")]
    return ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in found)]


def run(page: str, *, need_all: bool = False) -> list[dict[str, str] | None]:
    """Run a page in the current folder; what each block shows, ``None`` where it is not Python."""
    from pages import prepared

    shown: list[dict[str, str] | None] = []
    with prepared(page) as (names, replace):
        names["__name__"] = "__main__"
        for number, block in enumerate(blocks((ROOT / page).read_text("utf-8"))):
            code = block.code
            if block.language != "python":
                shown.append(None)
                continue
            for old, new in replace.items():
                code = code.replace(old, new)
            try:
                shown.append(show(code, f"{page}, block {number}", names))
            except ModuleNotFoundError as error:
                if need_all or error.name not in OPTIONAL:
                    raise
                shown.append({"missing": error.name})
    return shown


def show(code: str, where: str, names: dict[str, Any]) -> dict[str, str]:
    """Run one block; what it printed, and what its last line is."""
    tree = ast.parse(code, where)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec", dont_inherit=True), names)
        if last is not None:
            value = eval(
                compile(ast.Expression(last.value), where, "eval", dont_inherit=True), names
            )
    found = {"text": printed.getvalue()} if printed.getvalue() else {}
    if hasattr(value, "_repr_html_"):
        found["html"] = str(value._repr_html_())
    elif value is not None:
        found["text"] = found.get("text", "") + repr(value)
    return found


def run_into(page: str, path: Path) -> None:
    """Run a page in a folder of its own, and write what its blocks show as JSON."""
    import polars as pl

    warnings.simplefilter("error")
    pl.Config(tbl_rows=8, tbl_cols=8, fmt_str_lengths=120, tbl_width_chars=110)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        shown = run(page, need_all="pyspark" not in (ROOT / page).read_text("utf-8"))
        os.chdir(ROOT)
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(shown), "utf-8")
    whole.rename(path)


if __name__ == "__main__":
    run_into(sys.argv[1], Path(sys.argv[2]))
