"""Leases: the right to do something, held by one process at a time and named in a record.

In a file system the lease is a lock of the system, which ends with its holder. In an object store it is a record of
holder, epoch and expiry, which the holder renews. It only keeps processes from working in vain: a holder that was
suspended, or whose clock is wrong, may still believe that it holds the lease when another one has taken it over. What
must not happen twice is therefore also written by :func:`texthash.io.places.swap`, over the version that was read.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from texthash.errors import TexthashError
from texthash.io.atomic import is_local
from texthash.io.outputs import naming
from texthash.io.places import ABSENT, create, read, swap
from texthash.progress import log_line, warn

SECONDS = 30.0
_LOOK_EVERY_S = 0.5
_PATIENCE_S = 5.0  # A wait is logged once it has lasted this long.
_held: set[str] = set()  # leases in an object store that this process holds or is about to take


class LeaseHeldError(TexthashError):
    """Error raised when another process holds a lease.

    Attributes:
        holder: What the holder has written of itself.
    """

    def __init__(self, path: Path, holder: Mapping[str, Any]) -> None:
        shown = ", ".join(f"{name} {value}" for name, value in holder.items() if value is not None) or "unknown"
        super().__init__(f"{path} is held by another process: {shown}.", "wait until it ends.")
        self.holder = holder


class LeaseLostError(TexthashError):
    """Error raised when a lease has expired, or another process has taken it over."""


class Lease(Protocol):
    """Lease that this process holds.

    Attributes:
        epoch: Number of the holder, in an object store one more than that of the holder before; 0 in a file system.
    """

    epoch: int

    def check(self) -> None:
        """Raise LeaseLostError if the lease is no longer held."""

    def release(self) -> None:
        """Give the lease up. A second call does nothing."""


def acquire(
    path: Path,
    holder: Mapping[str, Any],
    *,
    seconds: float = SECONDS,
    wait_s: float = 0.0,
    outlive_dead: bool = False,
) -> Lease:
    """Acquire the lease of a path.

    Args:
        path: File or object of the lease.
        holder: Plain values that describe this process, for those that find the lease held.
        seconds: Time after which the lease of a holder that has died is free; of no meaning in a file system.
        wait_s: Seconds to wait for another holder.
        outlive_dead: Wait for as long as the holder may have died: until it renews the lease, or has not done so for
            the lease's duration. Of no meaning in a file system, where the death of a holder ends its lock.

    Raises:
        LeaseHeldError: Another process holds it, and did so during the whole wait.
    """
    if not is_local(path):
        return _StoreLease(path, holder, seconds, wait_s, outlive_dead)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return _FileLease(path, holder)
        except LeaseHeldError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(min(_LOOK_EVERY_S, max(0.0, deadline - time.monotonic())))


@contextmanager
def lease(path: Path, holder: Mapping[str, Any], *, seconds: float = SECONDS, wait_s: float = 0.0) -> Iterator[Lease]:
    """Hold the lease of a path during the block. Takes the arguments of :func:`acquire`."""
    held = acquire(path, holder, seconds=seconds, wait_s=wait_s)
    try:
        yield held
    finally:
        held.release()


def holder_of(path: Path) -> dict[str, Any]:
    """Return what the last holder has written of itself; empty if there is none, or if the record is broken."""
    try:
        record = read(path)[0] or {}
    except TexthashError:
        return {}
    found = record if is_local(path) else record.get("holder")
    return found if isinstance(found, dict) else {}


class _FileLease:
    """Lock of the system on a file that holds the description of the holder.

    Raises:
        LeaseHeldError: Another process, or another part of this one, holds it.
    """

    epoch = 0

    def __init__(self, path: Path, holder: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with naming(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(dict(holder)).encode(), 0)
        except BlockingIOError:
            os.close(descriptor)
            raise LeaseHeldError(path, holder_of(path)) from None
        except BaseException:
            os.close(descriptor)  # An open descriptor would hold the lock without an owner.
            raise
        self._path, self._descriptor = path, descriptor

    def check(self) -> None:
        if self._descriptor is None:
            raise LeaseLostError(f"the lease of {self._path} was given up.")

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None  # type: ignore[assignment]


class _StoreLease:
    """Record in an object store, renewed by a thread three times in its duration."""

    def __init__(
        self, path: Path, holder: Mapping[str, Any], seconds: float, wait_s: float, outlive_dead: bool
    ) -> None:
        self._path, self._holder, self._seconds = path, dict(holder), seconds
        self._own = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._lost = ""
        _held.add(self._own)
        try:
            self.epoch, self._valid_until = self._take(wait_s, outlive_dead)
        except BaseException:
            _held.discard(self._own)
            raise
        self._thread = threading.Thread(target=self._renew_until_released, name="texthash-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        if self._lost or self._ended.is_set() or time.monotonic() > self._valid_until:
            raise LeaseLostError(
                f"this process no longer holds {self._path}: {self._lost or 'its lease has expired'}.",
                "nothing more is written; run the command again.",
            )

    def release(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        _held.discard(self._own)
        self._thread.join()
        try:
            with self._lock:
                record, version = read(self._path)
                if record is not None and record.get("own") == self._own:
                    swap(self._path, self._record(self.epoch, 0.0), version)
        except TexthashError as error:
            # It ends by itself, at once for this process and when its duration is over for others.
            warn(f"the lease of {self._path} could not be given up: {error.problem}")

    def _take(self, wait_s: float, outlive_dead: bool) -> tuple[int, float]:
        began, seen = time.monotonic(), (ABSENT, time.monotonic())
        told, renewals = False, -1  # the version that is found first is no renewal
        while True:
            record, version = read(self._path)
            asked = time.monotonic()
            if version != seen[0]:
                seen, renewals = (version, asked), renewals + 1
            if record is None or self._is_free(record, asked - seen[1]):
                epoch = int((record or {}).get("epoch", 0)) + 1
                made = self._record(epoch, time.time() + self._seconds)
                if create(self._path, made) if record is None else swap(self._path, made, version):
                    return epoch, asked + self._seconds
                continue
            waited = asked - began
            may_be_dead = outlive_dead and not renewals and not self._is_here(record)
            if waited >= wait_s and not may_be_dead:
                raise LeaseHeldError(self._path, record.get("holder") or {})
            if waited > _PATIENCE_S and not told:
                log_line(f"waiting for another process that holds {self._path}")
                told = True
            time.sleep(min(_LOOK_EVERY_S, self._seconds / 4))

    def _is_free(self, record: Mapping[str, Any], unchanged: float) -> bool:
        """Return whether nobody holds the lease.

        A holder that has not renewed for a whole duration, measured by the clock of this process, has died. Only if
        the record expired long ago is its own clock believed.
        """
        duration = float(record.get("seconds", self._seconds))
        expires = float(record.get("expires", 0.0))
        if not expires or time.time() > expires + duration or unchanged > duration:
            return True
        if not self._is_here(record):
            return False
        if record["process"] == os.getpid():
            return record.get("own") not in _held
        return not os.path.exists(f"/proc/{record['process']}")

    @staticmethod
    def _is_here(record: Mapping[str, Any]) -> bool:
        """Return whether the holder is one of the processes that this one can see, so that its death is seen too."""
        return record.get("node") == _node() and isinstance(record.get("process"), int)

    def _record(self, epoch: int, expires: float) -> dict[str, Any]:
        return {
            "holder": self._holder,
            "epoch": epoch,
            "expires": expires,
            "seconds": self._seconds,
            "own": self._own,
            "node": _node(),
            "process": os.getpid(),
        }

    def _renew_until_released(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001  (storage raises anything, and nothing may end this thread)
                problem = error.problem if isinstance(error, TexthashError) else f"{type(error).__name__}: {error}"
                if time.monotonic() > self._valid_until:
                    self._lost = problem
                warn(f"the lease of {self._path} could not be renewed: {problem}")
            if self._lost:
                return

    def _renew(self) -> None:
        with self._lock:
            asked = time.monotonic()
            record, version = read(self._path)
            if record is None or record.get("own") != self._own:
                self._lost = f"it was taken over by {(record or {}).get('holder')}"
            elif swap(self._path, self._record(self.epoch, time.time() + self._seconds), version):
                self._valid_until = asked + self._seconds
            else:
                self._lost = "another process has changed it"


def describe_process() -> dict[str, Any]:
    """Return host and number of this process, and the present time, for the record of a lease."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "process": os.getpid(), "since": since}


def _node() -> str:
    """Return what identifies the processes that this one can see, or an unrepeatable name where nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex
