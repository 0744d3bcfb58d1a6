"""Files that the processes of a node share, on its disk within a budget: copies of objects, and files made from others.

A process that uses a file holds a shared lock on it, which the system frees when the process dies; only files that
nobody holds are removed. What they are made from never changes, so an undamaged one is good for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import IO, Protocol

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


class Made(Protocol):
    """Content of a file that is made on this node."""

    @property
    def size_bytes(self) -> int: ...

    def write(self, file: IO[bytes]) -> None: ...


class LocalCopies:
    """Copies below one folder, which all processes of the node share.

    Where a copy does not fit into the budget, those that nobody holds are removed, the one that was used the longest
    time ago first; so are other copies of the same folder, and all that were not used for a day.

    Args:
        folder: Folder of the copies.
        most_bytes: Budget of all copies together.
        least_free: Bytes that stay free on the disk.
        setting: Name of the setting of the budget, for errors.

    Attributes:
        refused: Objects that were found to have no room.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        least_free: int = _LEAST_FREE,
        setting: str = "service.document_copies_bytes",
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._least_free = least_free
        self._setting = setting
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
        return self._hold(
            source,
            target,
            lambda path: size_and_sha256(path) == (size, sha256),
            lambda: self._put(source, target, size, partial(_receive, source, (size, sha256))),
        )

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name, whole or not."""
        return (self._folder / name).exists()

    def hold_made(
        self, name: str, source: Path, is_intact: Callable[[Path], bool], make: Callable[[], Made]
    ) -> HeldCopy:
        """Return a file that is made from a source; it is made if there is none, or if the one there is damaged.

        Of several processes one makes it, and the others wait.

        Args:
            name: Path of the file, relative to the folder.
            source: Path of the source, for errors and the log.
            is_intact: Function that returns whether a file is whole, and that of the source.
            make: Function that returns the content.

        Raises:
            NoRoomError: There is no room for the file; the error names the reason.
        """
        target = self._folder / name

        def put() -> None:
            with _of_the_store():
                content = make()
            self._put(source, target, content.size_bytes, content.write)

        return self._hold(source, target, is_intact, put)

    def _hold(self, source: Path, target: Path, is_intact: Callable[[Path], bool], put: Callable[[], None]) -> HeldCopy:
        with _as_no_room(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            found = _intact(target, is_intact)
            if found is None:
                with exclusive(target.with_name(target.name + _LOCK)):
                    found = _intact(target, is_intact)  # another process may have put it there meanwhile
                    if found is None:
                        put()
                        found = _intact(target, is_intact)
            if found is None:
                raise NoRoomError(f"the copy {target} of {source} was removed at once.", "see what removes it.")
            os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))
            self._tidy(target)
        return found

    def _put(self, source: Path, target: Path, size: int, write: Callable[[IO[bytes]], None]) -> None:
        target.unlink(missing_ok=True)
        unfinished = target.with_name(f".{target.name}{_PARTIAL}")  # of one process at a time
        try:
            with unfinished.open("w+b") as file:
                with exclusive(self._folder / f"room{_LOCK}"):
                    fcntl.flock(file, fcntl.LOCK_SH)
                    self._make_room(source, size)
                    os.posix_fallocate(file.fileno(), 0, size)  # others count it, and the disk cannot become full
                log_line(f"writing {target} ({megabytes(size)}) from {source}")
                write(file)
            unfinished.rename(target)
            _checked.add(_key(target))
        finally:
            unfinished.unlink(missing_ok=True)

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
            f"raise {self._setting}.",
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


def _intact(path: Path, is_intact: Callable[[Path], bool]) -> HeldCopy | None:
    """Return a file with a lock on it; None if there is none, or if it is damaged. Its bytes are read once."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    try:
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # removed before it was locked
            return _intact(path, is_intact)
        key = _key(path)
    except FileNotFoundError:
        return None
    if key not in _checked:
        if not is_intact(path):
            log_line(f"the copy {path} is damaged, and is made again")
            return None
        _checked.add(key)
    return HeldCopy(path, file)


def _receive(source: Path, expected: tuple[int, str], file: IO[bytes]) -> None:
    """Write an object into a file.

    Raises:
        TexthashError: Its bytes or its SHA-256 are not as expected.
    """
    size, total = 0, new_sha256()
    with _of_the_store(), source.open("rb") as remote:
        while block := remote.read(_BLOCK):
            size += len(block)
            total.update(block)
            file.write(block)
    if (size, total.hexdigest()) != expected:
        raise TexthashError(
            f"{source} is damaged: it has other bytes than were written.",
            "restore a backup, or `texthash index rollback` to an intact release.",
        )


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
