"""Free space that writes need: with less they are refused before their first step, while searches go on.

A disk that runs full in the middle of a write is no danger to what was acknowledged, but it stops everything else that
writes to it: logs, the tracking store, the undoing of what was begun.
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

# Deleting, compacting and going back to a snapshot lead out of a full disk, so they get along with less.
LEAST_SHARE = 0.5
_REMEDY = "make room (`texthash index drop-snapshot`, `texthash index compact` free what nothing needs)"


class DiskFullError(TexthashError):
    """Too little space is left for a write, or the disk became full while it was made; no release holds any of it."""


class FreeSpace:
    """Space that is left where an index and its releases are. An object store is taken to have enough.

    Args:
        home: State directory.
        index: Directory or URI of the index, as its release names it.
        least: Bytes that have to be free for a write; None: TEXTHASH_MIN_FREE_BYTES, or its default.
    """

    def __init__(self, home: StateDir, index: str, least: int | None = None) -> None:
        places = (home.root, home.path(index))
        self._places: list[Path] = [place for place in places if is_local(place)]
        self._least = _configured() if least is None else least

    def left(self) -> tuple[int, Path]:
        """Free bytes of the fuller of the disks, and a directory on it."""
        return min((shutil.disk_usage(place).free, place) for place in self._places)

    def check(self, share: float = 1.0) -> None:
        """Raise :class:`DiskFullError` where less than ``share`` of the least free space is left."""
        free, place = self.left()
        least = int(share * self._least)
        if free < least:
            raise DiskFullError(
                f"{free:,} bytes are free on the disk of {place}; this write needs {least:,}.",
                f"{_REMEDY}; {limit_variable('min_free_bytes')} sets how much has to be free.",
            )


def _configured() -> int:
    return parse_section(LimitsConfig, {}, "the environment").min_free_bytes


@contextmanager
def explaining_full_disk(place: str) -> Iterator[None]:
    """Raise what a full disk makes of a write in the block as :class:`DiskFullError`."""
    try:
        yield
    except BaseException as error:
        if not out_of_space(error):
            raise
        raise DiskFullError(
            f"the disk of {place} became full while it was written to: {error}", f"{_REMEDY}."
        ) from error
