"""Builds the site: runs what stands on its pages, puts them together, and checks every link.

    python docs/tools/build.py [--serve]

Pages come from ``docs/``, and a few from elsewhere in the project. Each Python block runs, and what
it shows is put below it. Zensical then makes HTML of the pages that were put together.
"""

from __future__ import annotations

import hashlib
import html
import json
import multiprocessing
import os
import posixpath
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blocks import ROOT, blocks, run_into, unmarked
from links import broken

CACHE = ROOT / "target" / "docs"
PAGES = CACHE / "pages"  # as zensical.toml has it
SITE = ROOT / "site"
ELSEWHERE = {
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benches/README.md": "benchmarks.md",
}
EXAMPLES = {
    path.relative_to(ROOT).as_posix(): f"examples/{path.name.replace('.', '_')}.md"
    for pattern in ("*.py", "*.rs", "*/*.py")
    for path in sorted((ROOT / "examples").glob(pattern))
}
# Where a file of the project is on the site.
PLACES = {**ELSEWHERE, **EXAMPLES, "README.md": "index.md", "LICENSE": "index.md"}
LINK = re.compile(r"(!?\]\()([^)\s#]*)(#[^)\s]*)?(\))")
Shown = list[dict[str, str] | None]


def main() -> None:
    """Run, put together, build, check."""
    start = time.monotonic()
    subprocess.run([sys.executable, ROOT / "benches/charts.py", "--check"], check=True)
    sources = sorted(path for path in (ROOT / "docs").rglob("*.md") if "tools" not in path.parts)
    names = [path.relative_to(ROOT).as_posix() for path in sources]
    for name in names:
        if wrong := unmarked((ROOT / name).read_text("utf-8")):
            sys.exit(f"{name} has blocks that nothing runs: {wrong}")
    notebooks = sorted((ROOT / "docs").glob("*.ipynb"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        told = pool.map(as_page, notebooks)
        shown = dict(zip(names, pool.map(ran, names), strict=True))
        texts = {
            path.with_suffix(".md").name: text for path, text in zip(notebooks, told, strict=True)
        }
    print(f"every block ran, {time.monotonic() - start:.0f} s", flush=True)

    shutil.rmtree(PAGES, ignore_errors=True)
    left = shutil.ignore_patterns("tools", "*.md", "*.ipynb", "requirements.txt", "__pycache__")
    shutil.copytree(ROOT / "docs", PAGES, ignore=left)
    for name in names:
        texts[name.removeprefix("docs/")] = whole((ROOT / name).read_text("utf-8"), shown[name])
    for path, place in ELSEWHERE.items():
        texts[place] = (ROOT / path).read_text("utf-8")
    for path, place in EXAMPLES.items():
        language = "python" if path.endswith(".py") else "rust"
        code = (ROOT / path).read_text("utf-8")
        texts[place] = f"# `{path}`\n\n```{language}\n{code}```\n"
    for place, text in texts.items():
        own = next((path for path, at in PLACES.items() if at == place), f"docs/{place}")
        (PAGES / place).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / place).write_text(moved(text, own, place), "utf-8")

    if "--serve" in sys.argv:
        subprocess.run([Path(sys.executable).with_name("zensical"), "serve"], cwd=ROOT, check=True)
        return
    shutil.rmtree(SITE, ignore_errors=True)
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"]
    subprocess.run(command, cwd=ROOT, check=True)
    if wrong := broken(SITE):
        sys.exit("\n".join(wrong))
    pages = len(list(SITE.rglob("*.html")))
    print(f"{pages} pages in {SITE}, every link leads somewhere, {time.monotonic() - start:.0f} s")


def ran(page: str) -> Shown:
    """Run a page in a process of its own, unless it and the library are as they were."""
    text = (ROOT / page).read_text("utf-8")
    if not any(block.language == "python" for block in blocks(text)):
        return [None for _ in blocks(text)]
    known = CACHE / f"{digest(page, text)}.json"
    if not known.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Processes begin with the library imported.
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["pages"])
        process = server.Process(target=run_into, args=(page, known))
        process.start()
        process.join(300)
        process.kill()
        if not known.exists():
            sys.exit(f"{page} does not run")
    found: Shown = json.loads(known.read_text("utf-8"))
    return found


def as_page(notebook: Path) -> str:
    """Run a notebook; its cells and what they show as a page."""
    known = CACHE / f"{digest(notebook.name, notebook.read_text('utf-8'))}.md"
    if not known.exists():
        command = [sys.executable, ROOT / "docs/tools/notebook.py", notebook, known]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            sys.exit(f"{notebook} does not run:\n{done.stderr}")
    return known.read_text("utf-8")


def digest(name: str, text: str) -> str:
    """Tell one state of a page and of all that it runs with from another."""
    found = hashlib.sha256(f"{name}\n{text}".encode())
    patterns = ("python/**/*.py", "python/**/*.so", "docs/tools/blocks.py", "docs/tools/[np]*.py")
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        found.update(f"{path} {path.stat().st_mtime_ns}".encode())
    return found.hexdigest()[:32]


def whole(text: str, shown: Shown) -> str:
    """Put what blocks show below them."""
    for block, output in reversed(list(zip(blocks(text), shown, strict=True))):
        if output:
            text = text[: block.end] + as_markdown(output) + text[block.end :]
    return text


def as_markdown(output: dict[str, str]) -> str:
    """Write what a block shows as a block of its own."""
    parts = []
    if "missing" in output:
        print(f"warning: a block did not run, as {output['missing']} is missing", file=sys.stderr)
    if "text" in output:
        text = html.escape(output["text"].strip("\n"), quote=False)
        kind = "shows" if "┌" in text else "shows words"
        parts.append(f'<div class="{kind}"><pre>{text}</pre></div>')
    if "html" in output:
        face, kind = re.sub(r"\n\s*", "", output["html"]), "shows face"
        if 'class="dataframe"' in face:  # the site has a style of its own for frames
            face, kind = re.sub(r"<style>.*?</style>", "", face), "shows"
        parts.append(f'<div class="{kind}">{face}</div>')
    return "".join(f"\n\n{part}" for part in parts) + "\n"


def moved(text: str, own: str, place: str) -> str:
    """Point links to where their targets are on the site."""

    def link(match: re.Match[str]) -> str:
        opening, target, anchor, closing = match.groups()
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(own), target))
        goal = PLACES.get(path, path.removeprefix("docs/").replace(".ipynb", ".md"))
        relative = posixpath.relpath(goal, posixpath.dirname(place) or ".")
        return f"{opening}{relative}{anchor or ''}{closing}"

    return LINK.sub(link, text)


if __name__ == "__main__":
    main()
