"""File that fills a disk, to test a service while there is no space, and after there is space again."""

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
    """File that fills and empties a disk by turns.

    Args:
        directory: Directory on the disk.
        seconds: Duration of all turns together.
        kept: Number of free bytes below which the service rejects writes. Every other time the disk is filled, three
            quarters of them remain free, so that deletions are accepted; the other times nothing remains free.
    """

    def __init__(self, directory: Path, seconds: float, kept: int) -> None:
        self._path = directory / _NAME
        self._turns = 2 * max(2, int(seconds / 60)) + 1  # the disk has space in the first and the last turn
        self._seconds = seconds
        self._left = (0, kept * 3 // 4)
        self._full = False

    def at(self, elapsed: float) -> None:
        """Fill or empty the disk for the turn that is due ``elapsed`` seconds after the start."""
        turn = int(elapsed / self._seconds * self._turns)
        full = turn % 2 == 1 and turn < self._turns - 1
        if full and not self._full:
            self._fill(self._left[turn // 2 % 2])
        elif self._full and not full:
            self.empty()
        self._full = full

    def empty(self) -> None:
        """Empty the disk."""
        self._path.unlink(missing_ok=True)

    def _fill(self, left: int) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT)
        try:
            size = shutil.disk_usage(self._path).free - left
            # Other processes write to the disk too, so the last free bytes may be in use already.
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
    """Yield a ballast that is removed at the end of the block.

    Raises:
        UsageError: The disk is too large to be filled.
    """
    free = shutil.disk_usage(directory).free
    if free > _MOST:
        raise UsageError(
            f"{free / 2**30:.0f} GiB are free on the disk of {directory}, which is more than this test fills.",
            "set TEXTHASH_HOME to a small disk of its own, for instance mount -t tmpfs -o size=1g tmpfs DIRECTORY.",
        )
    made = Ballast(directory, seconds, kept)
    try:
        yield made
    finally:
        made.empty()
