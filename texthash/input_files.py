"""Files that users name: refused where they are none, and read within limits where they are small.

A pipe is waited for until somebody writes to it, a device may have no end, and a huge file fills the memory; so
the kind of a path is checked before it is opened.
"""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path
from typing import Any, BinaryIO

from texthash.errors import TexthashError, UsageError
from texthash.paths import local_path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
MOST_BYTES = 4_000_000  # of a file of settings; the largest one that is shipped has 3 KB
_PIPE_S = 10.0  # time in which a pipe or terminal has to say something
_BLOCK = 65_536


def require_file(path: Path, remedy: str = "name a file.", error: type[TexthashError] = UsageError) -> Path:
    """Return the path if it is a file, or a link to one; objects of a store are not looked at.

    Args:
        path: Path that a user named.
        remedy: Remedy for the error.
        error: Class of the error.

    Raises:
        TexthashError: It does not exist, cannot be reached, or is a folder, pipe, socket or device.
        UsageError: It is an address, which ``Path`` has made a name of this machine.
    """
    if not isinstance(path, Path):
        return path
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as problem:  # ValueError: a null character
        local_path(path)  # an address is refused as one, not as a file that is missing
        raise error(f"{path} cannot be read: {_reason(problem)}.", remedy) from None
    if not os.access(path, os.R_OK):
        raise error(f"{path} cannot be read: access is denied.", "grant access to it, or name another file.")
    for is_kind, name in _KINDS:
        if is_kind(mode):
            hint = " Write its content to a file first: it is read more than once." if name == "a pipe" else ""
            raise error(f"{path} is {name}, not a file.", remedy + hint)
    return path


def read_settings(path: Path, what: str) -> str:
    """Return the text of a small file of settings, such as YAML, in UTF-8; a pipe is read too.

    Args:
        path: File, or a pipe such as ``/dev/stdin`` or that of ``<(command)``.
        what: Kind of the file with its article, for errors: "a configuration".

    Raises:
        UsageError: It cannot be read, is no UTF-8, is empty or larger than :data:`MOST_BYTES`, or nothing was
            written to the pipe for ten seconds.
    """
    remedy = f"name a YAML file that holds {what}."
    try:
        with _opened(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISDIR(mode):
                raise UsageError(f"{path} is a folder, not a file.", remedy)
            content = _read(file, path, remedy, waits=not stat.S_ISREG(mode))
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as problem:
        raise UsageError(f"{path} cannot be read: {_reason(problem)}.", remedy) from None
    if not text.strip():
        raise UsageError(f"{path} is empty.", f"write {what} into it, or leave it out.")
    return text


def _opened(path: Path) -> BinaryIO:
    # Without O_NONBLOCK the opening of a pipe waits for its writer.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)


def _read(file: BinaryIO, path: Path, remedy: str, *, waits: bool) -> bytes:
    content, limit = bytearray(), time.monotonic() + _PIPE_S
    poll = select.poll()
    poll.register(file, select.POLLIN)
    while len(content) <= MOST_BYTES:
        if waits and not poll.poll(max(0.0, limit - time.monotonic()) * 1_000):
            raise UsageError(f"nothing was written to {path} in {_PIPE_S:g} seconds.", remedy)
        block: Any = file.read(_BLOCK)
        if block is None:  # A terminal or pipe that has nothing just now.
            continue
        if not block:
            return bytes(content)
        content += block
        limit = time.monotonic() + _PIPE_S
    raise UsageError(f"{path} is larger than {MOST_BYTES:,} bytes.", remedy)


def _reason(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or " ".join(str(problem).split())
