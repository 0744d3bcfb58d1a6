"""Where compiled kernels are kept: in a directory for each state of the room whose code they are.

Numba's own cache looks at the file of a kernel alone. What a kernel calls from another file is compiled into it, so a
change there would go unseen; here any change of any file of the room leads to another directory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba

from texthash.paths import node_cache


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function with Numba at its first call, without the GIL, kept on disk where a disk can be written.

    Args:
        function: A kernel; what it calls lies in the same directory.
        options: Of :func:`numba.njit`.
    """
    directory = _directory(Path(function.__code__.co_filename).parent)
    if directory is None:
        return numba.njit(function, nogil=True, **options)
    settings: Any = numba.config  # Numba asks for the directory when a function is decorated, and only there
    given, settings.CACHE_DIR = settings.CACHE_DIR, str(directory)
    try:
        return numba.njit(function, nogil=True, cache=True, **options)
    finally:
        settings.CACHE_DIR = given


@cache
def _directory(room: Path) -> Path | None:
    """The first place that can be written to; None where there is none, as in a read-only installation."""
    for place in _places(room):
        directory = place / f"{room.name}-{_digest(room)}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
        except OSError:
            continue
    return None


def _places(room: Path) -> Iterator[Path]:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        yield Path(named)
        return
    yield room / "__pycache__"
    try:
        yield node_cache() / "numba"
    except RuntimeError:  # no home directory
        return


def _digest(room: Path) -> str:
    """Fingerprint of the names and contents of the files of a room."""
    total = hashlib.sha256()
    for path in sorted(room.glob("*.py")):
        content = path.read_bytes()
        total.update(f"{path.name} {len(content)} ".encode() + content)
    return total.hexdigest()[:16]
