"""Lock that admits one writer per index, and names it.

In a state directory the system frees the lock when its holder dies; in an object store it is a lease that ends then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from texthash.errors import TexthashError
from texthash.io.records import read_typed, typed

if TYPE_CHECKING:
    from texthash.io.leases import Lease
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
    return _holder(_lock_file(home, index)).address


@dataclass(frozen=True)
class _Holder:
    """Content of the lock file."""

    host: str = "?"
    process: int | str = "?"
    since: str = "now"
    address: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")] | None = None


def _holder(path: Path) -> _Holder:
    """Return the last writer; an unknown one if there was none, or if it has not written its record yet."""
    try:
        if isinstance(path, Path):
            return read_typed(_Holder, path, "")
        from texthash.io.leases import holder_of

        return typed(_Holder, holder_of(path), path, "")
    except (OSError, TexthashError):
        return _Holder()


def _lock_file(home: StateDir, index: str) -> Path:
    return home.state / "locks" / f"{Path(index).name}.writer"


class WriterLock:
    """Exclusive right to write to an index, held from :meth:`acquire` to :meth:`release`.

    Args:
        home: State directory; all writers of an index share it.
        index: Directory or URI of the index, as its release names it.
    """

    def __init__(self, home: StateDir, index: str) -> None:
        self._path = _lock_file(home, index)
        self._lease: Lease | None = None

    def acquire(self, address: str | None = None) -> None:
        """Become the writer.

        Args:
            address: URL under which this process accepts writes from others.

        Raises:
            IndexLockedError: Another process is the writer; the error names it.
        """
        # Imports arrays and tables, which a program that only asks for the writer does without.
        from texthash.io.leases import LeaseHeldError, acquire, describe_process

        try:
            self._lease = acquire(self._path, {**describe_process(), "address": address})
        except LeaseHeldError:
            raise self._locked_error() from None

    def check(self) -> None:
        """Raise :class:`texthash.io.leases.LeaseLostError` if the lock was acquired, and another process has it now."""
        if self._lease is not None:
            self._lease.check()

    def release(self) -> None:
        """Release the lock. Does nothing if it is not held."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _locked_error(self) -> IndexLockedError:
        holder = _holder(self._path)
        named = f"process {holder.process} on {holder.host}, since {holder.since}"
        who = "another process" if holder == _Holder() else named  # One that begins has not written its record yet.
        return IndexLockedError(
            f"the index has a writer already: {who}{f', the service at {holder.address}' if holder.address else ''}.",
            f"write through {holder.address}." if holder.address else "wait until it ends.",
            holder.address,
        )
