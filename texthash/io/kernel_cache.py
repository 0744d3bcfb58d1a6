"""Disk cache of compiled kernels, in a directory whose name depends on the source files of their package.

Numba's own cache checks only the file of a kernel. Functions that it calls from other files are compiled into it, so
changes there would go unnoticed. Here, a change of any file of the package selects another directory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from texthash.environment import check_numba
from texthash.paths import node_cache


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function with Numba at its first call, without the GIL, and cache it on disk if a disk is writable.

    Args:
        function: Kernel; functions that it calls must be in the same directory.
        options: Options of :func:`numba.njit`.

    Raises:
        UsageError: A variable of the environment keeps Numba from being loaded.
    """
    check_numba()
    import numba

    directory = _directory(Path(function.__code__.co_filename).parent)
    if directory is None:
        return numba.njit(function, nogil=True, **options)
    settings: Any = numba.config  # Numba reads the directory when a function is decorated.
    given, settings.CACHE_DIR = settings.CACHE_DIR, str(directory)
    try:
        return numba.njit(function, nogil=True, cache=True, **options)
    finally:
        settings.CACHE_DIR = given


def is_cached(package: Path) -> bool:
    """Return whether the cache has kernels of a package; true as well where there is no cache to fill."""
    directory = _directory(package)
    return directory is None or any(directory.rglob("*.nbi"))


@cache
def _directory(package: Path) -> Path | None:
    """Return the first writable cache directory; None if there is none, as in a read-only installation."""
    for candidate in _candidates(package):
        directory = candidate / f"{package.name}-{_digest(package)}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
        except OSError:
            continue
    return None


def _candidates(package: Path) -> Iterator[Path]:
    configured = os.environ.get("NUMBA_CACHE_DIR")
    if configured:
        yield Path(configured)
        return
    yield package / "__pycache__"
    try:
        yield node_cache() / "numba"
    except RuntimeError:  # There is no home directory.
        return


def _digest(package: Path) -> str:
    """Return a digest of the names and contents of the source files of a package."""
    total = hashlib.sha256()
    for path in sorted(package.glob("*.py")):
        content = path.read_bytes()
        total.update(f"{path.name} {len(content)} ".encode() + content)
    return total.hexdigest()[:16]
