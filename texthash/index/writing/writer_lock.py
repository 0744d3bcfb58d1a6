"""Lock that admits one writer per index. The system frees it when its holder dies; the lock file names the holder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.errors import TexthashError

if TYPE_CHECKING:
    from texthash.paths import StateDir


class IndexLockedError(TexthashError):
    """Error raised when another process is the writer of the index.

    Attributes:
        address: URL of the service that is the writer and accepts writes; None for another program.
    """

    def __init__(self, problem: str, remedy: str, address: str | None) -> None:
        super().__init__(problem, remedy)
        self.address = address


def service_of(home: StateDir, index: str) -> str | None:
    """Return the URL of the service that was the last writer of an index, or None. The service may have ended since.

    Args:
        home: State directory.
        index: Directory or URI of the index, as its release names it.
    """
    try:
        holder = json.loads(_lock_file(home, index).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # There was no writer yet, or one has not written its record yet.
        return None
    address = holder.get("address") if isinstance(holder, dict) else None
    return address if isinstance(address, str) else None


def _lock_file(home: StateDir, index: str) -> Path:
    return home.root / "locks" / f"{Path(index).name}.writer"


class WriterLock:
    """Exclusive right to write to an index, held from :meth:`acquire` to :meth:`release`.

    Args:
        home: State directory; all writers of an index share it.
        index: Directory or URI of the index, as its release names it.
    """

    def __init__(self, home: StateDir, index: str) -> None:
        self._path = _lock_file(home, index)
        self._descriptor: int | None = None

    def acquire(self, address: str | None = None) -> None:
        """Become the writer.

        Args:
            address: URL under which this process accepts writes from others.

        Raises:
            IndexLockedError: Another process is the writer; the error names it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_holder(descriptor, address)
        except BlockingIOError:
            os.close(descriptor)
            raise self._locked_error() from None
        except BaseException:
            os.close(descriptor)  # An open descriptor would hold the lock without an owner.
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock. Does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _locked_error(self) -> IndexLockedError:
        try:
            holder: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except ValueError:  # The holder has not written its record yet.
            holder = {}
        who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}, since {holder.get('since', 'now')}"
        address = holder.get("address")
        return IndexLockedError(
            f"the index has a writer already: {who}{f', the service at {address}' if address else ''}.",
            f"write through {address}." if address else "wait until it ends.",
            address,
        )


def _write_holder(descriptor: int, address: str | None) -> None:
    holder = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "address": address,
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)
