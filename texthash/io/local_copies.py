"""Local copies of large objects of a store, each with a known SHA-256, on a disk of this node within a budget.

A process that uses a copy holds a shared lock on it, which the system frees when the process dies; only copies that
nobody holds are removed. Objects never change, so a copy whose digest is right is good for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import IO

from texthash.errors import TexthashError
from texthash.io.atomic import exclusive
from texthash.io.digests import size_and_sha256
from texthash.progress import log_line, megabytes

_BLOCK = 1 << 24
_UNUSED_S = 86_400.0  # after which a copy that nobody holds is removed
_LEAST_FREE = 500_000_000  # bytes that copies leave to everything else on their disk
_PARTIAL, _LOCK = ".partial", ".lock"

# Copies that this process has read completely: path, inode, time of change and size.
_checked: set[tuple[str, int, int, int]] = set()


class NoRoomError(TexthashError):
    """Error raised when a copy does not fit into the budget or on the disk, or its folder cannot be written."""


@dataclass(frozen=True)
class HeldCopy:
    """Copy that is not removed as long as this object lives.

    Attributes:
        path: Path of the copy.
        file: Open file that holds the lock.
    """

    path: Path
    file: IO[bytes]


class LocalCopies:
    """Copies below one folder, which all processes of the node share.

    Where a copy does not fit into the budget, those that nobody holds are removed, the one that was used the longest
    time ago first; so are other copies of the same folder, and all that were not used for a day.

    Args:
        folder: Folder of the copies.
        most_bytes: Budget of all copies together.
        least_free: Bytes that stay free on the disk.

    Attributes:
        refused: Objects that were found to have no room.
    """

    def __init__(self, folder: Path, most_bytes: int, least_free: int = _LEAST_FREE) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._least_free = least_free
        self.refused: set[Path] = set()

    def hold(self, source: Path, size: int, sha256: str) -> HeldCopy:
        """Return the copy of an object; it is fetched if there is none, or if the one that is there is damaged.

        Of several processes one fetches it, and the others wait.

        Args:
            source: Path of the object.
            size: Its bytes.
            sha256: Its SHA-256 in hexadecimal.

        Raises:
            NoRoomError: There is no room for the copy; the error names the reason.
            TexthashError: The object has other bytes.
        """
        target = self._folder / str(source).partition("://")[2].strip("/")
        target = target.with_name(f"{target.stem}-{sha256[:16]}{target.suffix}")
        with _as_no_room(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            found = _intact(target, size, sha256)
            if found is None:
                with exclusive(target.with_name(target.name + _LOCK)):
                    found = _intact(target, size, sha256)  # another process may have fetched it meanwhile
                    if found is None:
                        self._fetch(source, target, size, sha256)
                        found = _intact(target, size, sha256)
            if found is None:
                raise NoRoomError(f"the copy {target} of {source} was removed at once.", "see what removes it.")
            os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))
            self._tidy(target)
        return found

    def _fetch(self, source: Path, target: Path, size: int, sha256: str) -> None:
        target.unlink(missing_ok=True)
        partial = target.with_name(f".{target.name}{_PARTIAL}")  # of one process at a time
        try:
            with partial.open("w+b") as file:
                with exclusive(self._folder / f"room{_LOCK}"):
                    fcntl.flock(file, fcntl.LOCK_SH)
                    self._make_room(source, size)
                    os.posix_fallocate(file.fileno(), 0, size)  # others count it, and the disk cannot become full
                log_line(f"copying {source} ({megabytes(size)}) to {target}")
                with _of_the_store():
                    found = _received(source, file)
                if found != (size, sha256):
                    raise TexthashError(
                        f"{source} is damaged: it has other bytes than were written.",
                        "restore a backup, or `texthash index rollback` to an intact release.",
                    )
            partial.rename(target)
            _checked.add(_key(target))
        finally:
            partial.unlink(missing_ok=True)

    def _make_room(self, source: Path, size: int) -> None:
        """Remove unused copies until another one fits.

        Raises:
            NoRoomError: It does not fit nevertheless.
        """
        copies = sorted(self._copies(), key=_used)
        for path in [*copies, None]:
            taken = sum(_size(copy) for copy in self._copies())
            free = shutil.disk_usage(self._folder).free - self._least_free
            if taken + size <= self._most_bytes and size <= free:
                return
            if path is not None and size <= self._most_bytes:
                _remove_unheld(path)
        if size > free:
            raise NoRoomError(
                f"{source} has {megabytes(size)}, and the disk of {self._folder} has {megabytes(max(0, free))} left "
                f"beside the {megabytes(self._least_free)} that stay free.",
                "make room on that disk.",
            )
        raise NoRoomError(
            f"{source} has {megabytes(size)}; with the copies in use it exceeds the budget of "
            f"{megabytes(self._most_bytes)}.",
            "raise service.document_copies_bytes.",
        )

    def _tidy(self, target: Path) -> None:
        """Remove what nobody holds: others of the same folder, and what was not used for a day."""
        for path in self._copies():
            old = path.parent == target.parent or _used(path) < time.time() - _UNUSED_S
            if old and path != target and path.suffix != _PARTIAL:
                _remove_unheld(path)

    def _copies(self) -> list[Path]:
        """Return all copies, also those that are being fetched."""
        return [path for path in self._folder.rglob("*") if path.suffix != _LOCK and path.is_file()]


def _intact(path: Path, size: int, sha256: str) -> HeldCopy | None:
    """Return a copy with a lock on it; None if there is none, or if it is damaged. Its bytes are read once."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    try:
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # removed before it was locked
            return _intact(path, size, sha256)
        key = _key(path)
    except FileNotFoundError:
        return None
    if key not in _checked:
        if size_and_sha256(path) != (size, sha256):
            log_line(f"the copy {path} is damaged, and is fetched again")
            return None
        _checked.add(key)
    return HeldCopy(path, file)


def _received(source: Path, file: IO[bytes]) -> tuple[int, str]:
    """Write an object into a file, and return its bytes and its SHA-256."""
    size, total = 0, new_sha256()
    with source.open("rb") as remote:
        while block := remote.read(_BLOCK):
            size += len(block)
            total.update(block)
            file.write(block)
    return size, total.hexdigest()


def _key(path: Path) -> tuple[str, int, int, int]:
    facts = path.stat()
    return str(path), facts.st_ino, facts.st_mtime_ns, facts.st_size


def _used(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_atime
    return 0.0


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _remove_unheld(path: Path) -> None:
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


class _StoreFailure(Exception):
    """Error of the store, passed through the handler of errors of the disk."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _of_the_store() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _StoreFailure(error) from error


@contextmanager
def _as_no_room(source: Path) -> Iterator[None]:
    """Raise errors of the disk of the copies as :class:`NoRoomError`, and those of the store unchanged."""
    try:
        yield
    except _StoreFailure as error:
        raise error.error from None
    except OSError as error:
        raise NoRoomError(f"{source} cannot be copied: {error}", "make its folder writable, with room.") from error
