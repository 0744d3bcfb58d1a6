"""A disk of a few megabytes that a test can fill to the last page and empty again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096
_BALLAST = "ballast"


class SmallDisk:
    """A file system of its own.

    Attributes:
        path: Where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, pages: int = 0) -> None:
        """Leave so many free pages; a file takes at least one."""
        self.empty()
        size = shutil.disk_usage(self.path).free - pages * PAGE
        if size > 0:
            descriptor = os.open(self.path / _BALLAST, os.O_WRONLY | os.O_CREAT)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)

    def empty(self) -> None:
        """Give back what :meth:`fill` took."""
        (self.path / _BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount a disk in memory for as long as the block lasts; skips the test where mounting is not allowed."""
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
