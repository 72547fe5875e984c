"""Runs mypy and pyright, where it is installed, over what they must accept and refuse."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from polars_edfi.stubs import write

HERE = Path(__file__).parent
FILES = ["accepted.py", "refused.py"]
PYTHON = HERE.parents[1] / "python"

Lines = set[tuple[str, int]]


def expected(checker: str) -> Lines:
    """The lines that say that they are refused, by all checkers or by this one."""
    return {
        (name, number)
        for name in FILES
        for number, line in enumerate((HERE / name).read_text("utf-8").splitlines(), 1)
        if line.endswith(("# refused", f"# refused by {checker}"))
    }


def environment(folder: Path) -> Path:
    """An interpreter that has the packages of this one, and the stubs."""
    venv.create(folder, with_pip=False)
    purelib = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    paths = f"{PYTHON}\n{sysconfig.get_path('purelib')}\n"
    (Path(purelib) / "here.pth").write_text(paths, "utf-8")
    write(Path(purelib))
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def run(*command: str) -> str:
    """What a checker prints, whatever it thinks of the files."""
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=HERE, check=False
    )
    return done.stdout + done.stderr


def mypy(python: Path, cache: Path) -> Lines:
    out = run(
        "mypy", "--strict", "--config-file=", f"--cache-dir={cache}",
        f"--python-executable={python}", *FILES,
    )  # fmt: skip
    found = re.findall(r"^(\w+\.py):(\d+): error", out, re.MULTILINE)
    return {(name, int(number)) for name, number in found}


def pyright(python: Path) -> Lines | None:
    """What pyright refuses; `None` where it cannot fetch what it runs on."""
    out = run("pyright", "--outputjson", f"--pythonpath={python}", *FILES)
    if "{" not in out:
        return None
    found = json.loads(out[out.index("{") :])["generalDiagnostics"]
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in found
        if one["severity"] == "error"
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        python = environment(Path(temporary) / "venv")
        checkers = {"mypy": mypy(python, Path(temporary) / "cache")}
        if importlib.util.find_spec("pyright") and (found := pyright(python)) is not None:
            checkers["pyright"] = found
        else:
            print("pyright: not installed, or without Node, skipped")
    wrong = 0
    for name, found in checkers.items():
        for what, lines in [
            ("refuses", found - expected(name)),
            ("accepts", expected(name) - found),
        ]:
            for file, number in sorted(lines):
                wrong += 1
                print(f"{name} {what} {file}:{number}")
        print(f"{name}: {len(found)} lines refused")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
