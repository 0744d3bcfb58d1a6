"""Record of stored vectors: of which source they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt

from texthash.io.records import read_typed

META = "encoder.json"


@dataclass(frozen=True)
class StoredVectors:
    """Content of ``encoder.json``.

    Attributes:
        encoder: Identity of the source.
        width: Width of the vectors.
        sha256: Digest of the file from which the user's own were read; None for other sources.
    """

    encoder: str
    width: Annotated[int, Gt(0)]
    sha256: str | None = None


def read_stored(folder: Path) -> StoredVectors:
    """Read the record of a folder; FileNotFoundError where there is none."""
    return read_typed(StoredVectors, folder / META, "delete that folder to store the vectors again.")
