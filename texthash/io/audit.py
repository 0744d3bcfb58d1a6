"""Audit lines: who wrote what to an index, how many documents, and when; never a text, a title or the id of a document.

Each write adds one line of JSON to ``audit.jsonl`` in the state directory, whether it came over HTTP, from the command
line or from Python. With a state in an object store, each node has the lines of its own writes.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from texthash.paths import StateDir
from texthash.progress import warn

FILE = "audit.jsonl"
_OUTCOMES = {True: "done", False: "failed", None: "unknown"}
_FULL_BYTES = 1 << 26  # A file of this size is set aside, in place of the one that was set aside before.


def record(home: StateDir, operation: str, who: Mapping[str, Any], facts: Mapping[str, Any], *, done: bool) -> None:
    """Add the line of a write as :func:`add_line` does; an error is logged, since the write itself is not undone."""
    try:
        add_line(home, operation, who, facts, done=done)
    except Exception as error:  # noqa: BLE001  (whatever is wrong with the line, the write is done)
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        warn(f"no audit line of {operation} is in {home.root / FILE}: {reason}")


def add_line(
    home: StateDir, operation: str, who: Mapping[str, Any], facts: Mapping[str, Any], *, done: bool | None
) -> None:
    """Add the line of a write.

    Args:
        home: State directory.
        operation: Name of the operation on the index.
        who: Who wrote it, and through what.
        facts: Counts, the release that holds the write, and names that the user has given to things but documents.
        done: False for a write that failed; facts then describe what of it was written, if anything. None where the
            request ended before the write did.

    Raises:
        OSError: The line cannot be written, or not all of it.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "operation": operation, **who, **facts, "outcome": _OUTCOMES[done]}
    home.make()
    text = json.dumps({name: value for name, value in line.items() if value is not None})
    _append(home.root / FILE, text.encode() + b"\n")


@contextmanager
def audited(home: StateDir, operation: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Add the line of the write that this process makes in the block, also if the block fails.

    Yields:
        Facts of the line, to which the block adds what it has written.
    """
    who = {"by": "process", "user": _user(), "host": socket.gethostname(), "process": os.getpid()}
    known = dict(facts)
    try:
        yield known
    except BaseException:
        record(home, operation, who, known, done=False)
        raise
    record(home, operation, who, known, done=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return str(os.getuid())


def _append(path: Path, line: bytes) -> None:
    """Append a line by one call, which the system does not mix with those of other processes."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # A pipe would be waited for.
            raise OSError(errno.EINVAL, "it is not a file")
        size = os.fstat(descriptor).st_size
        cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # by a disk that became full
        line = b"\n" + line if cut else line
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if size > _FULL_BYTES:
            _set_aside(path, descriptor)
    finally:
        os.close(descriptor)


def _set_aside(path: Path, descriptor: int) -> None:
    """Rename a full file; of several processes that find it full, one does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            path.replace(path.with_name(f"{path.stem}.1{path.suffix}"))
    except (BlockingIOError, FileNotFoundError):
        return
