"""A file that fills a disk: what a service does when there is no space left, and when there is some again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from texthash.errors import UsageError

_NAME = ".ballast"
_MOST = 8 * 2**30


class Ballast:
    """Fills a disk and empties it in turns.

    Args:
        directory: On the disk.
        seconds: How long all turns last together.
        kept: Free bytes with less of which writes are refused; every other time three quarters of them are left, with
            which deletions are accepted, and nothing else of the time.
    """

    def __init__(self, directory: Path, seconds: float, kept: int) -> None:
        self._path = directory / _NAME
        self._turns = 2 * max(2, int(seconds / 60)) + 1  # the first and the last one have room
        self._seconds = seconds
        self._left = (0, kept * 3 // 4)
        self._full = False

    def at(self, elapsed: float) -> None:
        """Fill or empty the disk as it has to be so many seconds after the start."""
        turn = int(elapsed / self._seconds * self._turns)
        full = turn % 2 == 1 and turn < self._turns - 1
        if full and not self._full:
            self._fill(self._left[turn // 2 % 2])
        elif self._full and not full:
            self.empty()
        self._full = full

    def empty(self) -> None:
        """Give back all of it."""
        self._path.unlink(missing_ok=True)

    def _fill(self, left: int) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT)
        try:
            size = shutil.disk_usage(self._path).free - left
            # Others write to the disk meanwhile, so that the last of it may be gone already.
            while size > 0:
                try:
                    os.posix_fallocate(descriptor, 0, size)
                    break
                except OSError:
                    size = min(size - 2**16, shutil.disk_usage(self._path).free - left)
        finally:
            os.close(descriptor)


@contextmanager
def ballast(directory: Path, seconds: float, kept: int) -> Iterator[Ballast]:
    """A ballast that is thrown off at the end.

    Raises:
        UsageError: the disk is not one that may be filled.
    """
    free = shutil.disk_usage(directory).free
    if free > _MOST:
        raise UsageError(
            f"{free / 2**30:.0f} GiB are free on the disk of {directory}, which is more than is filled.",
            "set TEXTHASH_HOME to a small disk of its own, as mount -t tmpfs -o size=1g tmpfs DIRECTORY makes.",
        )
    made = Ballast(directory, seconds, kept)
    try:
        yield made
    finally:
        made.empty()
