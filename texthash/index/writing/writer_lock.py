"""One writer an index: a lock that the system frees when its holder dies, and a word on who holds it."""

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
    """Somebody else writes to the index.

    Attributes:
        address: URL of the service that does, through which others write; None for another program.
    """

    def __init__(self, problem: str, remedy: str, address: str | None) -> None:
        super().__init__(problem, remedy)
        self.address = address


def service_of(home: StateDir, index: str) -> str | None:
    """URL of the service that signed as writer of an index last; it may have ended since. None: there was none.

    Args:
        home: State directory.
        index: Directory or URI of the index, as its release names it.
    """
    try:
        signed = json.loads(_lock_file(home, index).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nobody wrote yet, or somebody is about to sign
        return None
    address = signed.get("address") if isinstance(signed, dict) else None
    return address if isinstance(address, str) else None


def _lock_file(home: StateDir, index: str) -> Path:
    return home.root / "locks" / f"{Path(index).name}.writer"


class WriterLock:
    """The right to write to an index, held from :meth:`acquire` to :meth:`release`.

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
            address: URL under which this process takes the writes of others.

        Raises:
            IndexLockedError: another process is the writer; it is named.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sign(descriptor, address)
        except BlockingIOError:
            os.close(descriptor)
            raise self._held() from None
        except BaseException:
            os.close(descriptor)  # without which this process would hold the lock and not know it
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another become the writer. Does nothing if this is not the writer."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _held(self) -> IndexLockedError:
        try:
            holder: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except ValueError:  # it has the lock and has not signed yet
            holder = {}
        who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}, since {holder.get('since', 'now')}"
        address = holder.get("address")
        return IndexLockedError(
            f"the index has a writer already: {who}{f', the service at {address}' if address else ''}.",
            f"write through {address}." if address else "wait until it ends.",
            address,
        )


def _sign(descriptor: int, address: str | None) -> None:
    me = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "address": address,
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(me).encode(), 0)
