"""Schema of a SQLite store, which appears when it is complete.

MLflow makes about a hundred changes of its schema in turn. A process that is killed between two of them, or a disk that
is full, would leave a file that no later process can use.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from texthash.io.atomic import exclusive, whole
from texthash.io.outputs import is_writable

SQLITE = "sqlite:///"


@contextmanager
def schema_lock(uri: str) -> Iterator[None]:
    """Lock a SQLite store, since one of two processes that create its schema at once would fail.

    A server needs no lock, nor does a store that this process can only read.
    """
    path = _file_of(uri)
    if path is None or (path.exists() and not is_writable(path.parent)):
        yield
        return
    with exclusive(path.with_name(f".{path.name}.lock")):
        yield


def check_writable(uri: str) -> None:
    """Raise the system's error if the file of a SQLite store, or the folder of its journal, cannot be written."""
    path = _file_of(uri)
    if path is not None and path.exists():
        path.open("r+b").close()
        if not is_writable(path.parent):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))


def ensure_schema(uri: str, make: Callable[[str], object]) -> None:
    """Make the schema of a SQLite store, unless its file exists; call it under :func:`schema_lock`.

    Args:
        uri: Address of the store.
        make: Function that makes the schema in the store of an address.
    """
    path = _file_of(uri)
    if path is None or (path.exists() and path.stat().st_size):
        return
    with TemporaryDirectory(prefix="texthash-") as scratch, whole(path) as partial:
        made, copy = Path(scratch) / "made.db", Path(scratch) / "copy.db"
        make(f"{SQLITE}{made}")
        # MLflow keeps its connections open, so that the file alone may not have everything.
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        partial.write_bytes(copy.read_bytes())


def _file_of(uri: str) -> Path | None:
    """Return the file of a SQLite store in a directory that exists; None for any other store."""
    path = Path(uri.removeprefix(SQLITE))
    return path if uri.startswith(SQLITE) and path.parent.is_dir() else None
