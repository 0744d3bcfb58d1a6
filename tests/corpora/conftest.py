"""What tests of corpora share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """Checksums of all files of a prepared corpus but its cache."""

    def checksums(path: Path) -> dict[str, str]:
        files = (file for file in sorted(path.rglob("*")) if file.is_file() and "csr-cache" not in file.parts)
        return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    return checksums
