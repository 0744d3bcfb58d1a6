"""Claims to work, each by one process at a time: lock files in a file system, leases in an object store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from texthash.io.atomic import InUseError, claimed, exclusive, is_local
from texthash.io.leases import LeaseHeldError, acquire, describe_process, lease


@contextmanager
def claim(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold a lock file as :func:`texthash.io.atomic.claimed` does, or a lease in an object store.

    Takes the arguments, and raises the errors, of that function.
    """
    if is_local(path):
        with claimed(path, what, remedy):
            yield
        return
    try:
        held = acquire(path, describe_process(), outlive_dead=True)
    except LeaseHeldError as error:
        holder = error.holder
        raise InUseError(
            f"{what} is being done by process {holder.get('process', '?')} on {holder.get('host', '?')}, since "
            f"{holder.get('since', 'now')}.",
            remedy,
        ) from None
    try:
        yield
    finally:
        held.release()


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold a lock file, or a lease in an object store, during the block; wait for as long as another process does."""
    with exclusive(path) if is_local(path) else lease(path, describe_process(), wait_s=math.inf):
        yield
