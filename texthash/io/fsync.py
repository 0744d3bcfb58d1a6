"""Durability: files and directories are synced to disk before a write is acknowledged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from texthash.io.atomic import is_local, partial_name


class FsyncTracker:
    """Tracker that syncs new files in a directory to disk, so that they survive a loss of power.

    It is meant for files that never change once they are written, such as those of Lance: each file is synced once, and
    a directory whenever it has a new entry. Does nothing in an object store, whose writes are durable.

    Args:
        root: Directory to sync.
        known: Assume that the existing files are on disk already.
    """

    def __init__(self, root: Path, known: bool = False) -> None:
        self._root = root if is_local(root) else None
        self._known = {path for _, *inside in self._walk() for paths in inside for path in paths} if known else set()

    def sync(self) -> None:
        """Sync every file that is new since the last call, and its directory."""
        present: set[str] = set()
        for directory, folders, files in self._walk():
            for file in (new := [file for file in files if file not in self._known]):
                sync(Path(file))
            if new or not self._known.issuperset(folders):
                sync(Path(directory))
            present.update(files, folders)
        self._known = present  # Deleted files are forgotten.

    def _walk(self) -> list[tuple[str, list[str], list[str]]]:
        if self._root is None:
            return []
        return [
            (parent, [os.path.join(parent, name) for name in folders], [os.path.join(parent, name) for name in files])
            for parent, folders, files in os.walk(self._root)
        ]


def sync(path: Path) -> None:
    """Sync a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, record: dict[str, Any]) -> None:
    """Replace a JSON record atomically and durably."""
    with _on_disk(path, record) as partial:
        partial.replace(path)
        sync(path.parent)


def write_once(path: Path, record: dict[str, Any]) -> bool:
    """Write a new JSON record atomically and durably, unless the name is taken. An error leaves no file behind.

    Returns:
        True if the record was written, False if the name is taken.
    """
    with _on_disk(path, record) as partial:
        try:
            os.link(partial, path)  # Unlike a rename, this fails if the name is taken.
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
    """Yield a temporary file beside ``path`` that contains the record, synced to disk; remove it at the end."""
    partial = partial_name(path)
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)
