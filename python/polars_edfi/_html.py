"""Small pieces of HTML, in which everything that came from elsewhere is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escape what is not HTML; nothing for ``None``, and numbers with their thousands."""
    match value:
        case Html():
            return value
        case None:
            return Html()
        case bool():
            return Html(value)
        case int():
            return Html(f"{value:,}")
        case float():
            return Html(f"{value:,.1f}")
        case _:
            return Html(escape(str(value)))


def facts(title: str, values: Mapping[str, object]) -> str:
    """Give the face of an object: its name, and a row for each thing that it tells."""
    rows = (
        f'<tr><th style="text-align:left">{text(name)}</th>'
        f'<td style="text-align:left">{text(value)}</td></tr>'
        for name, value in values.items()
    )
    return f"<table><caption>{text(title)}</caption><tbody>{''.join(rows)}</tbody></table>"


class Column(NamedTuple):
    """A column of a table."""

    name: str
    numeric: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]], kind: str = "") -> Html:
    """Give a table that scrolls by itself where it is wider than its page."""

    def cell(tag: str, column: Column, value: object) -> str:
        align = ' class="n"' if column.numeric else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{align}{scope}>{text(value)}</{tag}>"

    head = "".join(cell("th", column, column.name) for column in columns)
    body = "".join(
        f"<tr>{''.join(map(cell, ['td'] * len(columns), columns, row))}</tr>\n" for row in rows
    )
    parts = f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>"
    return Html(f'<div class="wide {kind}"><table>{parts}</table></div>')


def bar(parts: Iterable[tuple[str, float]], whole: float, label: str) -> Html:
    """Draw parts of a whole beside each other, each in the colour of its class."""
    drawn, at = [], 0.0
    for kind, size in parts:
        width = 100 * size / whole if whole else 0.0
        if width:
            # What is there can be seen, however little it is.
            width = max(width, 0.8)
            drawn.append(f'<rect class="{kind}" x="{at:.2f}" width="{width:.2f}" height="8"/>')
            at += width
    return Html(
        f'<svg class="bar" viewBox="0 0 {max(at, 100):.2f} 8" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'
    )
