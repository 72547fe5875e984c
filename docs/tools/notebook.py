"""Runs a notebook and writes it as a page, or runs it in place.

python docs/tools/notebook.py docs/first_night.ipynb page.md
python docs/tools/notebook.py docs/first_night.ipynb            # keep what its cells show
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from build import as_markdown
from nbclient import NotebookClient


def main() -> None:
    """Run the notebook in a folder of its own."""
    path = Path(sys.argv[1])
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(page(notebook), "utf-8")
        return
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which are another each time
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)


def page(notebook: Any) -> str:
    """Write cells and what they show as Markdown."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if output.get("name") == "stderr" or output.output_type == "error":
                sys.exit(f"a cell complains: {output}")
            data = output.get("data", {})
            if "image/svg+xml" in data:
                parts.append(f'<div class="chart">{flat(data["image/svg+xml"])}</div>')
            elif "text/html" in data:
                parts.append(as_markdown({"html": data["text/html"]}).strip())
            elif text := output.get("text") or data.get("text/plain"):
                parts.append(as_markdown({"text": text}).strip())
    return "\n\n".join(parts) + "\n"


def flat(svg: str) -> str:
    """Put a drawing into one line, which Markdown leaves alone."""
    return re.sub(r"\s*\n\s*", " ", svg)


if __name__ == "__main__":
    main()
