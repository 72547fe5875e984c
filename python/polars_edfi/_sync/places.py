"""Where copies are: folders of this machine, or object stores."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from polars_edfi._errors import EdFiError

SUFFIX = ".parquet"
LONGEST = 180
"""Characters of a district's name in that of its file; file systems allow 255 in all."""
ALONE = "data"
"""The name of the copy of a client's own ODS."""


def is_remote(into: str) -> bool:
    """Tell whether a place is no folder of this machine."""
    return "://" in into


def as_text(into: str | os.PathLike[str]) -> str:
    """Give a place as text; ``file://`` is a folder."""
    text = os.fspath(into)
    if not text.strip():
        msg = "into must name a folder, or the URL of an object store"
        raise EdFiError(msg)
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    return text if is_remote(text) else str(Path(text).expanduser())


def below(into: str, endpoint: str) -> str:
    """Give the place of a resource."""
    if is_remote(into):
        return f"{into.rstrip('/')}/{endpoint}"
    return os.path.join(into, *endpoint.split("/"))  # noqa: PTH118 - of very many


@lru_cache(maxsize=1024)
def file_name(key: str | None) -> str:
    """Give the name of a district's file, whatever its key holds."""
    if key is None:
        return ALONE + SUFFIX
    name = quote(key, safe=" ()+,;=@'!&$")
    if name.startswith("."):  # which would hide the file from whoever reads the folder
        name = name.replace(".", "%2E", 1)
    if len(name) > LONGEST:
        digest = hashlib.sha256(key.encode()).hexdigest()[:24]
        name = f"{name[:LONGEST].rsplit('%', 1)[0]}~{digest}"
    return name + SUFFIX
