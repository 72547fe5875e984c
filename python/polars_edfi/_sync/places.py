"""Where copies are: folders of this machine, or object stores."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

SUFFIX = ".parquet"
ALONE = "data"
"""The name of the copy of a client's own ODS."""


def is_remote(into: str) -> bool:
    """Tell whether a place is no folder of this machine."""
    return "://" in into


def as_text(into: str | os.PathLike[str]) -> str:
    """Give a place as text; ``file://`` is a folder."""
    text = os.fspath(into)
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    return text if is_remote(text) else str(Path(text).expanduser())


def below(into: str, endpoint: str) -> str:
    """Give the place of a resource."""
    return f"{into.rstrip('/')}/{endpoint}" if is_remote(into) else str(Path(into, endpoint))


def file_name(key: str | None) -> str:
    """Give the name of a district's file, whatever its key holds."""
    if key is None:
        return ALONE + SUFFIX
    name = quote(key, safe=" ()+,;=@'!&$")
    # A leading dot would hide the file from whoever reads the folder.
    return name.replace(".", "%2E", 1) + SUFFIX if name.startswith(".") else name + SUFFIX
