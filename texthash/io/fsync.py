"""What is acknowledged is on disk: files and directories are synced before anybody is told of them."""

from __future__ import annotations

import os
from pathlib import Path

from texthash.io.atomic import is_local


class Synced:
    """Brings what was written below a directory to disk, so that it outlives a loss of power, not only of a process.

    It is for files that never change once they are written, as those of Lance: each is synced once, and a directory
    whenever it gets a new one. Does nothing in an object store, which keeps what it has accepted.

    Args:
        root: The directory.
        known: Whether what is there already is on disk.
    """

    def __init__(self, root: Path, known: bool = False) -> None:
        self._root = root if is_local(root) else None
        self._known = {file for _, files in self._walk() for file in files} if known else set()

    def sync(self) -> None:
        """Sync every file that is new since the last call, and the directories that hold them."""
        there: set[str] = set()
        for directory, files in self._walk():
            new = [file for file in files if file not in self._known]
            for file in [*new, directory] if new else []:
                sync(Path(file))
            there.update(files)
        self._known = there  # what was deleted is forgotten

    def _walk(self) -> list[tuple[str, list[str]]]:
        if self._root is None:
            return []
        return [(parent, [os.path.join(parent, name) for name in names]) for parent, _, names in os.walk(self._root)]


def sync(path: Path) -> None:
    """Bring a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
