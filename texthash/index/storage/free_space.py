"""Free disk space that a write requires. With less, it is rejected before its first step; searches continue.

A disk that becomes full during a write does not endanger acknowledged writes, but it stops everything else that writes
to it: logs, the tracking store, and the undoing of the failed write.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from texthash.config import LimitsConfig, limit_variable, parse_section
from texthash.errors import TexthashError, out_of_space
from texthash.io.atomic import is_local

if TYPE_CHECKING:
    from pathlib import Path

    from texthash.paths import StateDir

# Deletes, compaction and restoring a snapshot are the way out of a full disk, so they require less free space.
LEAST_SHARE = 0.5
_REMEDY = "make room (`texthash index drop-snapshot` and `texthash index compact` free unused space)"


class DiskFullError(TexthashError):
    """Error raised when a disk has too little space for a write, or became full during it.

    No release contains any part of the write.
    """


class FreeSpace:
    """Free space on the disks of an index and its releases. An object store is assumed to have enough.

    Args:
        home: State directory.
        index: Directory or URI of the index, as its release names it.
        least: Free bytes that a write requires; None takes TEXTHASH_MIN_FREE_BYTES or its default.
    """

    def __init__(self, home: StateDir, index: str, least: int | None = None) -> None:
        if home.state_name:
            home.make()  # The scratch directory of a node that has only read so far.
        paths = (home.root, home.path(index))
        self._paths: list[Path] = [path for path in paths if is_local(path)]
        self.least = _configured() if least is None else least

    def left(self) -> tuple[int, Path]:
        """Return the free bytes of the fuller disk, and a directory on it."""
        return min((shutil.disk_usage(path).free, path) for path in self._paths)

    def check(self, share: float = 1.0) -> None:
        """Raise :class:`DiskFullError` if less than ``share`` of the required space is free."""
        free, path = self.left()
        least = int(share * self.least)
        if free < least:
            raise DiskFullError(
                f"{free:,} bytes are free on the disk of {path}; this write needs {least:,}.",
                f"{_REMEDY}; {limit_variable('min_free_bytes')} sets the required free space.",
            )


def _configured() -> int:
    return parse_section(LimitsConfig, {}, "the environment").min_free_bytes


@contextmanager
def explaining_full_disk(path: str) -> Iterator[None]:
    """Raise the errors of a full disk in the block as :class:`DiskFullError`."""
    try:
        yield
    except BaseException as error:
        if not out_of_space(error):
            raise
        raise DiskFullError(f"the disk of {path} became full during a write: {error}", f"{_REMEDY}.") from error
