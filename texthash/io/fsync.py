"""What is acknowledged is on disk: files and directories are synced before anybody is told of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from texthash.io.atomic import is_local, partial_name


class FsyncTracker:
    """Brings what was written below a directory to disk, so that it outlives a loss of power, not only of a process.

    It is for files that never change once they are written, as those of Lance: each is synced once, and a directory
    whenever something new is in it. Does nothing in an object store, which keeps what it has accepted.

    Args:
        root: The directory.
        known: Whether what is there already is on disk.
    """

    def __init__(self, root: Path, known: bool = False) -> None:
        self._root = root if is_local(root) else None
        self._known = {path for _, *inside in self._walk() for paths in inside for path in paths} if known else set()

    def sync(self) -> None:
        """Sync every file that is new since the last call, and the directories that hold them."""
        there: set[str] = set()
        for directory, folders, files in self._walk():
            for file in (new := [file for file in files if file not in self._known]):
                sync(Path(file))
            if new or not self._known.issuperset(folders):
                sync(Path(directory))
            there.update(files, folders)
        self._known = there  # what was deleted is forgotten

    def _walk(self) -> list[tuple[str, list[str], list[str]]]:
        if self._root is None:
            return []
        return [
            (parent, [os.path.join(parent, name) for name in folders], [os.path.join(parent, name) for name in files])
            for parent, folders, files in os.walk(self._root)
        ]


def sync(path: Path) -> None:
    """Bring a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON in place of the one that is there: whole at any time, and on disk when this returns."""
    with _on_disk(path, record) as partial:
        partial.replace(path)
        sync(path.parent)


def write_once(path: Path, record: dict[str, Any]) -> bool:
    """Write a record as JSON, which is on disk when this returns, unless the name is taken. An error leaves nothing.

    Returns:
        Whether the name was free.
    """
    with _on_disk(path, record) as partial:
        try:
            os.link(partial, path)  # unlike a rename, fails when somebody else took the name
        except FileExistsError:
            return False
        try:
            sync(path.parent)
        except BaseException:
            path.unlink()
            raise
    return True


@contextmanager
def _on_disk(path: Path, record: dict[str, Any]) -> Iterator[Path]:
    """A temporary file beside ``path`` that holds the record, on disk; what is left of it is removed at the end."""
    partial = partial_name(path)
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)
