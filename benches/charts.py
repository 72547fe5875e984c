"""Draws the tables of README.md as charts, for the site: docs/images/bench-*.svg.

python benches/charts.py            # draw them
python benches/charts.py --check    # only say whether those that are there are of these tables
"""

from __future__ import annotations

import html
import sys
from pathlib import Path

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"
OURS = "polars-edfi"
NAMES = {
    "polars-edfi, Python batches": "polars-edfi",
    "polars-edfi, scan": "polars-edfi, lazily",
    "polars-edfi, expression": "polars-edfi, in a query",
    "aiohttp + orjson + polars": "aiohttp, orjson, polars",
    "tha-edfi-runner": "tha-edfi-runner",
    "edfi-api-client": "edfi-api-client",
}
# File, section of README.md, table of that section, column, title.
CHARTS = [
    ("read", "get_all, 8 districts", 0, "0 ms, 8", "Records read in a second"),
    ("memory", "get_all, 8 districts", 1, "above start", "MB taken to read 40,000 records"),
    ("distant", "get_all, 8 districts", 0, "20 ms, 32", "Records a second, 20 ms away"),
    ("post", "posts", 0, "0 ms, 16", "Posts in a second"),
    ("by-id", "get by id, with columns", 0, "0 ms, 16", "Items read by id in a second"),
]
STYLE = """
  .card { fill: #ffffff; stroke: #d5dde5 } .text { fill: #1f2933 } .faint { fill: #66788a }
  .ours { fill: #0f766e } .other { fill: #a3b3c2 }
  text { font: 13px system-ui, sans-serif } .name { text-anchor: end }
  .title { font-weight: 600; font-size: 15px }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1b2430; stroke: #344252 } .text { fill: #e4eaf0 } .faint { fill: #9fb0c0 }
    .ours { fill: #2dd4bf } .other { fill: #5b6b7b }
  }
"""


def tables(text: str) -> dict[str, list[list[list[str]]]]:
    """Read all tables of a Markdown text by the heading that they stand below."""
    found: dict[str, list[list[list[str]]]] = {}
    heading, inside = "", False
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        is_row = line.startswith("|")
        if is_row:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not inside:
                found.setdefault(heading, []).append([])
            if not cells[0].startswith("---"):
                found[heading][-1].append(cells)
        inside = is_row
    return found


def bars(title: str, values: list[tuple[str, float]]) -> str:
    """Draw bars from the left, with their values behind them."""
    top, row, left, most = 58, 30, 185, 230
    height = top + row * len(values) + 12
    greatest = max(value for _, value in values)
    drawn = []
    for number, (name, value) in enumerate(values):
        y = top + row * number
        kind = "ours" if name.startswith(OURS) else "other"
        width = max(2.0, most * value / greatest)
        drawn += [
            f'<text class="name text" x="{left - 10}" y="{y + 14}">{html.escape(name)}</text>',
            f'<rect class="{kind}" x="{left}" y="{y}" width="{width:.1f}" height="19" rx="3"/>',
            f'<text class="text" x="{left + width + 8:.1f}" y="{y + 14}">{value:,.0f}</text>',
        ]
    body = "\n".join(drawn)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 500 {height}" width="500" \
height="{height}" role="img" aria-label="{html.escape(title)}">
<style>{STYLE}</style>
<rect class="card" x="0.5" y="0.5" width="499" height="{height - 1}" rx="8"/>
<text class="title text" x="16" y="30">{html.escape(title)}</text>
{body}
</svg>
"""


def main() -> None:
    """Draw all charts, or compare them."""
    found = tables((HERE / "README.md").read_text("utf-8"))
    stale = []
    for name, section, number, column, title in CHARTS:
        head, *rows = found[section][number]
        place = head.index(column)
        values = [
            (NAMES[row[0]], float(row[place].split()[0].replace(",", "")))
            for row in rows
            if row[0] in NAMES
        ]
        path, chart = IMAGES / f"bench-{name}.svg", bars(title, values)
        if "--check" not in sys.argv:
            path.write_text(chart, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != chart:
            stale.append(path.name)
    if stale:
        sys.exit(f"run benches/charts.py: {', '.join(stale)} are not of these tables")


if __name__ == "__main__":
    main()
