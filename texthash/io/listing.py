"""Lists of the files in a folder, which tell a folder that cannot be read from an empty one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from texthash.io.atomic import is_local
from texthash.progress import log_line

_WILD = re.compile(r"[*?[]")


def matching(folder: Path, pattern: str) -> list[Path]:
    """Return the paths below a folder that match a pattern, in order; none if the folder does not exist.

    :meth:`pathlib.Path.glob` finds nothing in a folder that the user may not read, as if it were empty. Here that is an
    error. A closed folder further down, which may belong to another user, is left out and logged.

    Args:
        folder: Folder, in a file system or an object store.
        pattern: Names divided by ``/``, each with the wildcards of :mod:`fnmatch`.

    Raises:
        OSError: The folder cannot be read.
    """
    name, _, below = pattern.partition("/")
    if _WILD.search(name):
        found = [folder / each for each in sorted(_names(folder)) if fnmatchcase(each, name)]
    else:
        found = [folder / name] if _exists(folder / name) else []
    return [path for inner in found for path in _inside(inner, below)] if below else found


def _names(folder: Path) -> list[str]:
    try:
        if is_local(folder):
            return os.listdir(folder)
        # One request, where glob asks four times.
        paths = [path.rstrip("/") for path in folder.fs.ls(folder.path, detail=False)]  # type: ignore[attr-defined]
        return [path.rpartition("/")[2] for path in paths if path != folder.path.rstrip("/")]  # type: ignore[attr-defined]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _inside(folder: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from matching(folder, pattern)
    except PermissionError:
        log_line(f"warning: {folder} is closed to this user, so that what it holds is left out")
