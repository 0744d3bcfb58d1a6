"""What a shard holds in memory of one version: the index of its codes, the addresses of its rows, its postings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.errors import TexthashError
from texthash.index.memory.deferred import DeferredIndex
from texthash.index.storage.arrow_schema import codes_of, known_of
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.document_map import DocumentMap
from texthash.index.storage.lance_errors import REMEDY, reading
from texthash.index.storage.row_addresses import StoredRows

if TYPE_CHECKING:
    import lance

    from texthash.index.keywords.postings import KeywordIndex
    from texthash.index.memory.multi_index import MultiIndex


@dataclass(frozen=True)
class Contents:
    """Contents of one version of a shard.

    Attributes:
        rows: Its documents.
        index: Their codes.
        checksum: Checksum of their numbers and codes.
        keywords: Their words, if these were read.
    """

    rows: StoredRows
    index: DeferredIndex | MultiIndex
    checksum: Checksum
    keywords: KeywordIndex | None = None


def read_contents(
    path: Path, dataset: lance.LanceDataset, mapped: DocumentMap | None, bits: int, checksum: str | None
) -> Contents:
    """Read the contents of a version.

    Args:
        path: Path of the shard, for errors.
        dataset: Version of its documents.
        mapped: Map of the documents, if there is one.
        bits: Width of the codes.
        checksum: Expected checksum, if known.

    Raises:
        TexthashError: The version is damaged.
    """
    what = f"version {dataset.version} of {path}"
    with reading(what):
        rows, table = StoredRows.read(dataset, mapped)
    found = counted(Checksum(), table, bits)
    compare(what, found, checksum)
    return Contents(rows, _index_of(table, bits, rows.numbers), found)


def counted(checksum: Checksum, rows: pa.Table, bits: int) -> Checksum:
    """Add rows to a checksum and return it."""
    checksum.add(rows["number"].to_numpy(), codes_of(rows["code"], bits), known_of(rows))
    return checksum


def compare(what: str, found: Checksum, expected: str | None) -> None:
    """Compare a checksum with the one of a release, if that is known.

    Raises:
        TexthashError: They differ.
    """
    if expected is not None and str(found) != expected:
        raise TexthashError(
            f"{what} is damaged: its rows have the checksum {found}, but {expected} was released.", REMEDY
        )


def _index_of(rows: pa.Table, bits: int, ascending: NDArray[np.int64]) -> DeferredIndex:
    """Return the index of the rows that have a known word; it shares ``ascending``, their numbers, where it can."""
    known = known_of(rows)
    if not known.all():
        rows = rows.filter(pa.array(known))
    numbers = rows["number"].to_numpy()
    same = np.array_equal(numbers, ascending)
    return DeferredIndex(codes_of(rows["code"], bits), ascending if same else numbers)
