"""One run at a time: a lock that ends with its process."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polars_edfi._errors import EdFiError
from polars_edfi._sync.places import is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = ".polars-edfi.lock"


@contextmanager
def only_run(into: str) -> Iterator[None]:
    """Keep other runs away from a folder; from an object store, those of this machine."""
    if is_remote(into):
        user = os.getuid() if hasattr(os, "getuid") else 0
        name = hashlib.sha256(into.rstrip("/").encode()).hexdigest()[:24]
        path = Path(tempfile.gettempdir()) / f"polars-edfi-{user}-{name}.lock"
    else:
        path = Path(into) / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            is_file = isinstance(error, FileExistsError | NotADirectoryError)
            why = "it must be a folder" if is_file else error.strerror or error
            msg = f"into: {why}: {into!r}"
            raise EdFiError(msg) from None
    try:
        # The file stays: to remove it would let two runs lock two files of one name.
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        msg = f"into: the lock cannot be opened: {error.strerror or error}: {str(path)!r}"
        raise EdFiError(msg) from None
    try:
        try:
            is_taken = _taken(file)
        except OSError as error:
            msg = f"into: it cannot be locked: {error.strerror or error}: {str(path)!r}"
            raise EdFiError(msg) from None
        if not is_taken:
            msg = f"another run is copying into {into!r}; wait for its end, or copy elsewhere"
            raise EdFiError(msg)
        try:
            yield
        finally:
            _give_back(file)
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    """Take the lock, which the system gives back when the process ends, however that comes.

    ``False`` where somebody else has it; a file system that knows no locks raises.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise
        return False
    return True


def _give_back(file: int) -> None:
    """Let go of the lock, which would outlive this run in a child that was forked meanwhile."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
