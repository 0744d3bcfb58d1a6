"""Digests of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 2**20


def size_and_sha256(path: Path) -> tuple[int, str]:
    """Return the bytes of a file, local or in an object store, and its SHA-256 in hexadecimal, in one reading."""
    size, total = 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            size += len(block)
            total.update(block)
    return size, total.hexdigest()
