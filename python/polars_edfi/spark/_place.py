"""Where the results of a job lie: a folder, or an object store that PyArrow can write to."""

from __future__ import annotations

import contextlib
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from polars_edfi._errors import EdFiError

if TYPE_CHECKING:
    import polars as pl

#: Spark's names of a scheme, and PyArrow's.
SCHEMES = {"s3a": "s3", "s3n": "s3"}
#: What PyArrow opens; whether it may is known to the machine that opens it.
REMOTE = {"s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"}
#: ``dbfs:/mnt`` would be a folder of that name wherever a task happens to be; ``C:\`` is a drive.
PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


class Place:
    """A folder of files: a path, or the URL of an object store that PyArrow can write to."""

    def __init__(self, text: str, option: str = "results") -> None:
        parts = urlsplit(text)
        self.url: str | None = None
        self.path: Path | None = None
        if parts.scheme == "file":
            self.path = Path(unquote(parts.path))
        elif "://" in text:
            scheme, _, rest = text.rstrip("/").partition("://")
            scheme = SCHEMES.get(scheme.lower(), scheme.lower())
            if scheme not in REMOTE:
                msg = (
                    f"option {option!r}: PyArrow writes to no {scheme}://; name s3, gs, abfss, hdfs"
                )
                raise EdFiError(msg)
            self.url = f"{scheme}://{rest}"
        elif found := PREFIX.match(text):
            msg = (
                f"option {option!r} begins with {found[0]!r}, which is no folder: name it as the "
                "machines see it (/dbfs/..., /Volumes/...), or a URL (s3://...)"
            )
            raise EdFiError(msg)
        else:
            self.path = Path(text).absolute()

    def check(self, name: str) -> None:
        """Find out whether a file can be put there, by putting one there for a moment."""
        probe = f".{name}.{uuid.uuid4().hex}"
        try:
            if self.path is not None:
                self.path.mkdir(parents=True, exist_ok=True)
                (self.path / probe).touch(exist_ok=False)
                (self.path / probe).unlink()
                return
            files, path = self._open(probe)
            files.open_output_stream(path).close()
        except (OSError, pa.ArrowException) as error:
            msg = f"option 'results': nothing can be written there, so nothing is sent: {error}"
            raise EdFiError(msg) from None
        with contextlib.suppress(OSError, pa.ArrowException):
            files.delete_file(path)

    def write(self, name: str, frame: pl.DataFrame) -> None:
        """Put a file there whole, or not at all."""
        table = frame.to_arrow()
        if self.path is not None:
            self.path.mkdir(parents=True, exist_ok=True)
            begun = self.path / f".{name}.{uuid.uuid4().hex}"
            try:
                pq.write_table(table, begun)
                begun.replace(self.path / name)
            finally:
                begun.unlink(missing_ok=True)
            return
        files, path = self._open(name)
        with files.open_output_stream(path) as out:
            pq.write_table(table, out)

    def keep_only(self, names: set[str], like: str) -> None:
        """Remove what an earlier run of the same name has left beyond these."""
        with contextlib.suppress(OSError, pa.ArrowException):
            if self.path is not None:
                for path in self.path.iterdir():
                    if re.fullmatch(like, path.name) and path.name not in names:
                        path.unlink(missing_ok=True)
                return
            files, folder = self._open("")
            for found in files.get_file_info(pyarrow.fs.FileSelector(folder.rstrip("/"))):
                if re.fullmatch(like, found.base_name) and found.base_name not in names:
                    files.delete_file(found.path)

    def _open(self, name: str) -> tuple[pyarrow.fs.FileSystem, str]:
        location, _, query = str(self.url).partition("?")
        where = f"{location}/{name}" + (f"?{query}" if query else "")
        found: tuple[pyarrow.fs.FileSystem, str] = pyarrow.fs.FileSystem.from_uri(where)
        return found
