"""Places that several processes share, in a file system or an object store, and the four verbs by which they change.

* :func:`create` writes a record unless the name is taken.
* :func:`swap` replaces a record only in the version that was read (:func:`read`).
* :func:`publish` makes a folder appear as a whole: its list of files comes last (:mod:`texthash.io.folders`).
* :func:`texthash.io.leases.lease` gives one process at a time the right to something.

In a file system they rest on links, renames and locks of the system, in an object store on conditional requests
(:mod:`texthash.io.conditional`). Both forms have the same contract: of several attempts over one version exactly one
succeeds, and a record that was written is durable. A version is that of the content: a record that was changed and
changed back is in its first version again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texthash.errors import TexthashError
from texthash.io import conditional
from texthash.io.atomic import is_local
from texthash.io.fsync import replace_durably, write_once

_LOCK = ".lock"


@dataclass(frozen=True)
class Version:
    """Version of a record: a digest of its content, or its ETag; None if there was no record."""

    tag: str | None


ABSENT = Version(None)


def read(path: Path) -> tuple[dict[str, Any] | None, Version]:
    """Return the members of a record and its version; None and :data:`ABSENT` if there is none.

    Raises:
        TexthashError: The content is not a JSON object.
    """
    found = _content(path)
    if found is None:
        return None, ABSENT
    content, version = found
    try:
        record = json.loads(content)
        if not isinstance(record, dict):
            raise ValueError("it is not a JSON object")
    except ValueError as error:
        raise TexthashError(f"{path} is broken: {error}.", "restore it from a copy.") from None
    return record, version


def version_of(path: Path) -> Version:
    """Return the version of a record, whatever its content is; :data:`ABSENT` if there is none."""
    found = _content(path)
    return ABSENT if found is None else found[1]


def create(path: Path, record: dict[str, Any]) -> bool:
    """Write a new record durably; False if the name is taken."""
    if is_local(path):
        return write_once(path, record)
    return conditional.put(path, _encoded(record), None) is not None


def swap(path: Path, record: dict[str, Any], version: Version) -> bool:
    """Replace a record durably, but only in the version that was read; False if another one is there now.

    Args:
        path: Path of the record.
        record: New members.
        version: Version from :func:`read`; :data:`ABSENT` if there was no record.
    """
    if not is_local(path):
        return conditional.put(path, _encoded(record), version.tag) is not None
    with locked(path.parent):
        if version_of(path) != version:
            return False
        replace_durably(path, record)
    return True


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of the records in a directory during the block; an object store has none."""
    if not is_local(directory):
        yield
        return
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK).open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _content(path: Path) -> tuple[bytes, Version] | None:
    if not is_local(path):
        found = conditional.get(path)
        return None if found is None else (found[0], Version(found[1]))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return content, Version(hashlib.sha256(content).hexdigest())


def _encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=2).encode()
