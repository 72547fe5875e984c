"""What a person asks after a night, as one page: what was done, what was refused, what it took."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_edfi import _native
from polars_edfi._errors import EdFiError
from polars_edfi._exchange import kind
from polars_edfi._html import Column, Html, bar, table, text
from polars_edfi._report_tallies import messages, numbers, ordered, tally, told

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from polars_edfi._stats import Stats

TOP = 10
"""The messages that are shown."""
LONGEST = 200
"""The rows of a table that are shown."""

_KINDS = {
    "ok": "ok",
    "same": "ok",
    "confirmed": "ok",
    "error": "bad",
    "failed": "bad",
} | dict.fromkeys(("warning", "changed", "sent"), "warn")
_WORD = re.compile(r"(?<=/)|(?<=[a-z])(?=[A-Z])")
_STYLE = """
.edfi-report { --ok: #2b8a5b; --bad: #d0433f; --warn: #c98a12; --else: #6f7fb5; --time: #7a7f88;
  --line: color-mix(in srgb, currentColor 18%, transparent);
  font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; text-align: left; }
.edfi-report h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .25rem; }
.edfi-report h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.edfi-report p { margin: .25rem 0; }
.edfi-report .quiet { opacity: .72; font-size: .87rem; }
.edfi-report .tiles { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0; padding: 0; }
.edfi-report .tiles div { border: 1px solid var(--line); border-top: 3px solid var(--else);
  border-radius: 4px; padding: .4rem .8rem; min-width: 5.5rem; }
.edfi-report .tiles .ok { border-top-color: var(--ok); }
.edfi-report .tiles .bad { border-top-color: var(--bad); }
.edfi-report .tiles .warn { border-top-color: var(--warn); }
.edfi-report .tiles dt { font-size: .8rem; opacity: .72; }
.edfi-report .tiles dd { font-size: 1.25rem; margin: 0; font-variant-numeric: tabular-nums; }
.edfi-report .wide { overflow-x: auto; }
.edfi-report table { border-collapse: collapse; width: 100%; margin: 0; font-size: .87rem;
  border: 0; }
.edfi-report th, .edfi-report td { padding: .3rem .6rem; border: 0;
  border-bottom: 1px solid var(--line); vertical-align: top; text-align: left; background: none;
  overflow-wrap: break-word; min-width: 3rem; max-width: none; white-space: normal; }
.edfi-report th { font-weight: 600; white-space: nowrap; }
.edfi-report .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.edfi-report .long { display: block; min-width: 16rem; }
.edfi-report .name { display: block; min-width: 9rem; overflow-wrap: anywhere; }
.edfi-report .bar { display: block; width: 100%; min-width: 6rem; height: .6rem; margin-top: .4rem;
  background: var(--line); border-radius: 2px; }
.edfi-report rect.ok { fill: var(--ok); } .edfi-report rect.bad { fill: var(--bad); }
.edfi-report rect.warn { fill: var(--warn); } .edfi-report rect.else { fill: var(--else); }
.edfi-report rect.time { fill: var(--time); }
@media (max-width: 40rem) {
  .edfi-report .stack thead { display: none; }
  .edfi-report .stack tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  .edfi-report .stack td { display: inline-block; border: 0; min-width: 0;
    padding: .1rem .8rem .1rem 0; }
  .edfi-report .stack .name, .edfi-report .stack .long { min-width: 0; }
}
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>:root {{ color-scheme: light dark; }} body {{ margin: 1.25rem; }}</style>
</head>
<body>
{body}
</body>
</html>
"""


class Report:
    """What results tell, as a page; made by :func:`report`."""

    __slots__ = ("_body", "_statuses", "_title")

    def __init__(self, title: str, body: str, statuses: Mapping[str, int]) -> None:
        self._title, self._body, self._statuses = title, body, statuses

    @property
    def html(self) -> str:
        """The page: HTML that needs nothing else, no scripts, fonts or pictures from elsewhere."""
        return _PAGE.format(title=text(self._title), body=self._body)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, and give its path."""
        path = Path(path)
        path.write_text(self.html, "utf-8")
        return path

    def _repr_html_(self) -> str:
        return self._body

    def __repr__(self) -> str:
        told = [f"{self._statuses[status]:,} {status}" for status in ordered(self._statuses)]
        return f"Report({', '.join(told) or 'no rows'})"


def report(
    results: pl.DataFrame | Mapping[str, pl.DataFrame],
    *,
    key_col: str | None = None,
    stats: Stats | None = None,
    title: str = "Ed-Fi results",
    show_data: bool = False,
) -> Report:
    """Tell what became of a night's work, as one page for a person.

    How many rows have which status, by resource; the ten most frequent messages, those of errors
    first, with the first row of each; records, requests and seconds by district, where the results
    tell them.

    Parameters
    ----------
    results
        What a call gave: of posts, puts, deletes and reads, of ``send``, ``remove``, ``sync``,
        ``validate``, ``compare``, ``batch_fetch_tokens``, ``batch_permissions``,
        :func:`summary` or :func:`read_journal`. Or several, by names of your own.
    key_col
        The column that tells districts apart, to count by it. Results of ``sync``,
        :func:`summary`, tokens and permissions are counted by theirs without it.
    stats
        What a call has cost: ``client.stats``.
    title
        What stands above.
    show_data
        ``False``: no data of people. Keys and row ids stay out; in messages, which are the
        server's own words, what is quoted or given after ``=``, what has digits, and capitalized
        words other than those of Ed-Fi's model become ``…``. A name in lower case that nothing
        quotes cannot be told from other words. ``True``: everything, word for word.

    Returns
    -------
    Report
        ``html`` (str) is the page, ``save(path)`` writes it, and a notebook shows it.

    Raises
    ------
    EdFiError
        ``results`` is no result, or ``key_col`` is not in it.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_edfi as edfi
    >>> payloads = pl.DataFrame({"k": ["1", "2"], "payload": ['{"schoolYear": 2026}', "{"]})
    >>> with edfi.Sandbox(districts=["255901"], records=2) as ods:
    ...     url, key, secret = ods.districts().row(0)[1:]
    ...     client = edfi.EdFiClient(base_url=url, client_id=key, client_secret=secret)
    ...     results = client.batch_post_payload(
    ...         payloads, payload_col="payload", key_col="k", endpoint="ed-fi/sessions"
    ...     )
    >>> page = edfi.report(results, stats=client.stats)
    >>> page
    Report(1 dry_run, 1 error)
    >>> page.html.startswith("<!DOCTYPE html>")
    True
    """
    rows = told(_named(results), key_col)
    shares = tally(rows.with_columns(pl.lit(0).alias("all")), "all")
    statuses: dict[str, int] = shares[0]["statuses"] if shares else {}
    now = datetime.now(UTC)
    parts = [
        f"<h1>{text(title)}</h1>",
        f'<p class="quiet">{now:%Y-%m-%d %H:%M} UTC, polars-edfi {text(_native.__version__)}</p>',
        _tiles(rows, statuses, shares, stats),
        *_counts(rows, "endpoint", "By resource", "resource"),
        *_messages(rows, show_data=show_data),
    ]
    parts += _counts(rows.drop_nulls("district"), "district", "By district", "district")
    parts.insert(0, f"<style>{_STYLE}</style>")
    body = "\n".join(['<div class="edfi-report">', *parts, "</div>"])
    return Report(title, body, statuses)


def _named(results: object) -> Iterable[tuple[str | None, pl.DataFrame]]:
    named: Mapping[Any, object] = results if isinstance(results, Mapping) else {None: results}
    for name, df in named.items():
        if not isinstance(df, pl.DataFrame) or not (name is None or isinstance(name, str)):
            hint = "; collect it first" if isinstance(df, pl.LazyFrame) else ""
            msg = (
                "results must be a DataFrame, or a dict of names and DataFrames, "
                f"got {kind(df)}{hint}"
            )
            raise EdFiError(msg)
        yield name, df


def _name(name: str | None) -> Html:
    """Let a long name be broken where its words begin."""
    return Html(f'<span class="name">{_WORD.sub("<wbr>", text(name))}</span>')


def _kind(status: str) -> str:
    return _KINDS.get(status, "else")


def _tiles(
    rows: pl.DataFrame,
    statuses: Mapping[str, int],
    shares: Sequence[Mapping[str, Any]],
    stats: Stats | None,
) -> str:
    tiles: list[tuple[str, str, object]] = [("", "rows", rows.height)]
    tiles += [(_kind(status), status, statuses[status]) for status in ordered(statuses)]
    districts = rows["district"].n_unique() - (rows["district"].null_count() > 0)
    if districts > 1:
        tiles.append(("", "districts", districts))
    sums = {number: shares[0][number] for number in numbers(rows)}
    if stats is not None:
        wanted = ("requests", "retries", "pauses", "token_requests", "seconds")
        sums |= {name: value for name, value in stats.items() if name in wanted and value}
        sums |= {"MB received": stats["bytes_received"] / 1e6, "MB sent": stats["bytes_sent"] / 1e6}
    tiles += [
        ("", name.replace("_", " "), value)
        for name, value in sums.items()
        if value and name != "rows"
    ]
    drawn = (
        f'<div class="{kind}"><dt>{text(name)}</dt><dd>{text(value)}</dd></div>'
        for kind, name, value in tiles
    )
    return f'<dl class="tiles">{"".join(drawn)}</dl>'


def _counts(rows: pl.DataFrame, by: str, heading: str, first: str) -> list[str]:
    """Give the table of resources or districts: the worst first, then those that took longest."""
    groups = tally(rows, by)
    if not groups:
        return []
    statuses = ordered({status for group in groups for status in group["statuses"]})
    sums = numbers(rows)
    groups.sort(
        key=lambda group: (
            -group["statuses"].get("error", 0),
            -(group.get("seconds") or 0),
            -group["len"],
            group[by] or "",
        )
    )
    longest = max(group.get("seconds") or 0 for group in groups)
    shown = [status for status in statuses if len(statuses) > 1]
    columns = [Column(first), Column("rows by status"), Column("rows", numeric=True)]
    columns += [Column(status, numeric=True) for status in shown]
    columns += [Column("records" if name == "rows" else name, numeric=True) for name in sums]
    if longest:
        columns.append(Column("time"))

    def line(group: Mapping[str, Any]) -> list[object]:
        counts = group["statuses"]
        parts = Counter[str]()
        for status in statuses:
            parts[_kind(status)] += counts.get(status, 0)
        label = ", ".join(f"{counts[status]:,} {status}" for status in statuses if status in counts)
        name = "all" if len(groups) == 1 else "none named"
        cells = [
            _name(name if group[by] is None else group[by]),
            bar(parts.items(), group["len"], label),
            group["len"],
            *(counts.get(status, 0) for status in shown),
            *(group[number] for number in sums),
        ]
        if longest:
            seconds = group["seconds"]
            part = [("time", seconds or 0)]
            cells.append(None if seconds is None else bar(part, longest, f"{seconds:.1f} s"))
        return cells

    left_out = len(groups) - LONGEST
    more = [f'<p class="quiet">and {left_out:,} more</p>'] if left_out > 0 else []
    return [f"<h2>{heading}</h2>", table(columns, map(line, groups[:LONGEST])), *more]


def _messages(rows: pl.DataFrame, *, show_data: bool) -> list[str]:
    found, forms = messages(rows, TOP, show_data=show_data)
    if not found:
        return []

    def example(one: Mapping[str, Any]) -> str:
        told = [] if one["row_index"] is None else [f"row {one['row_index']}"]
        if show_data:
            told += [f"{name} {one[name]}" for name in ("key", "row_id") if one[name] is not None]
        if one["correlation_id"] is not None and (show_data or _is_id(one["correlation_id"])):
            told.append(f"correlation id {one['correlation_id']}")
        return ", ".join(told)

    lines = [
        (
            one["count"],
            one["status"],
            _name(one["endpoint"]),
            Html(f'<span class="long">{text(one["message"])}</span>'),
            Html(f'<span class="name">{text(example(one))}</span>'),
        )
        for one in found
    ]
    columns = [Column("rows", numeric=True)]
    columns += map(Column, ("status", "resource", "message", "its first row"))
    heading = f"The {len(found)} most frequent of {forms:,} messages" if forms > TOP else "Messages"
    note = (
        "As the servers wrote them: they and the keys may name people."
        if show_data
        else "Where … stands, something was left out that may name people; "
        "<code>show_data=True</code> shows it."
    )
    return [f"<h2>{heading}</h2>", f'<p class="quiet">{note}</p>', table(columns, lines, "stack")]


def _is_id(correlation: str) -> bool:
    """Tell an id from words: hexadecimal, as ODSs make them."""
    digits = correlation.replace("-", "")
    return len(digits) >= 8 and all(digit in "0123456789abcdefABCDEF" for digit in digits)  # noqa: PLR2004
