"""Checks of the paths that a user names for output, before the work whose result goes there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from texthash.errors import UsageError, out_of_space
from texthash.paths import local_path

# Errors of writing, which the system reports without the name of the file.
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in the errors of a full or failing disk that the block raises."""
    try:
        yield
    except OSError as error:
        if error.errno is None and out_of_space(error):
            raise OSError(errno.ENOSPC, str(error), str(path)) from error
        if error.errno in _OF_DISKS and error.filename is None:
            error.filename = str(path)
        raise


def replaceable(path: Path) -> Path:
    """Return the path of the file that is to be made or replaced: for a link, that of the file which it names.

    Raises:
        UsageError: A device, a pipe or a folder is there, or a link to nothing; or it is an address.
        PermissionError: The directory exists and cannot be written.
    """
    local_path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        check_no_broken_link(path)
    else:
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, device or socket"
            raise UsageError(f"{path} is {kind}, not a file that can be replaced.", "name a file.")
        path = path.resolve() if path.is_symlink() else path
    _check_writable(path.parent, path)
    return path


def output_folder(path: Path) -> Path:
    """Make the folder of an output, unless it exists, and return it.

    Raises:
        UsageError: Something else than a folder is there, or a link to nothing; or it is an address.
        PermissionError: The folder cannot be made or written.
    """
    check_no_broken_link(local_path(path))
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is not a folder.", "name a folder, which is made if it does not exist.")
    path.mkdir(parents=True, exist_ok=True)
    _check_writable(path, path)
    return path


@contextmanager
def made_folder(path: Path) -> Iterator[Path]:
    """Yield the folder of an output, which is made unless it exists, and removed again if the block fails.

    Raises the same errors as :func:`output_folder`.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    folder = output_folder(path)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # something else is in it
            for made in missing:
                made.rmdir()
        raise


def check_no_broken_link(path: Path) -> None:
    """Raise :class:`UsageError` for a link to nothing, which would otherwise look like a free name."""
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{path} is a link to nothing.", "name another path, or remove the link.")


def check_outside(output: Path, source: Path) -> None:
    """Raise :class:`UsageError` for an output in the folder that is read, of which it would become a part."""
    if is_folder_of(source, output):
        raise UsageError(
            f"{output} is in {source}, which is read: the output would become a part of it.",
            "name a path outside of it.",
        )


def is_folder_of(folder: Path, path: Path) -> bool:
    """Return whether a path is below a folder, through whatever links, or in whichever object store."""
    if isinstance(folder, Path) and isinstance(path, Path):
        folder, path = folder.resolve(), path.resolve()
    return folder in path.parents


def is_writable(path: Path) -> bool:
    """Return whether a file or folder may be written, or made where it does not exist."""
    existing = next(place for place in (path, *path.parents) if place.exists())
    wanted = os.W_OK | os.X_OK if existing.is_dir() else os.W_OK
    return os.access(existing, wanted, effective_ids=os.access in os.supports_effective_ids)


def _check_writable(folder: Path, path: Path) -> None:
    if folder.is_dir() and not is_writable(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
