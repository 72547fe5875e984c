"""Checks a built site: every link leads somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path


class Links(HTMLParser):
    """The links of one page, what it loads, and the places that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what matters of a tag."""
        found = {name: value or "" for name, value in attrs}
        self.places |= {found.get("id", ""), found.get("name", "")}
        if tag == "a" and found.get("href"):
            self.targets.append(found["href"])
        stays = tag == "link" and found.get("rel") in {"canonical", "next", "prev"}
        for name in ("src", "href"):
            if tag in {"img", "script", "link", "iframe"} and found.get(name) and not stays:
                self.loaded.append(found[name])


def broken(site: Path) -> list[str]:
    """Say what of a site leads nowhere, or is loaded from another machine."""
    pages = {path: Links(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    wrong = []
    for page, links in pages.items():
        if page.name == "404.html":  # its links begin at the root of a host
            continue
        name = page.relative_to(site)
        elsewhere = [target for target in links.loaded if urlsplit(target).netloc]
        wrong += [f"{name} loads {target}" for target in elsewhere]
        for target in [*links.targets, *links.loaded]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            path = path / "index.html" if path.is_dir() else path
            if not path.exists():
                wrong.append(f"{name} links to {target}, which is not there")
            elif parts.fragment and path.suffix == ".html":
                places = pages[path].places if path in pages else set()
                if unquote(parts.fragment) not in places | {"__comments", "__search"}:
                    wrong.append(f"{name} links to {target}, which has no such place")
    return wrong
