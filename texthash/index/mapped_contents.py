"""Contents of a shard in a file of this node, which all processes that search the shard map into memory.

Codes, their tables, row addresses, and postings of words then take memory once, whatever the number of processes, and
only the first of them reads and sorts them. The file is made from one version of a shard and never changed; what is
written afterwards is in the memory of each process, as without a file.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texthash.config import MAPPED_FILES_BYTES
from texthash.index.contents import Contents, read_contents
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.document_map import DocumentMap
from texthash.index.storage.row_addresses import StoredRows
from texthash.index.storage.stored_filters import BaseTable
from texthash.io.array_file import ArrayFile, holds
from texthash.io.local_copies import HeldCopy, LocalCopies, NoRoomError
from texthash.paths import node_cache
from texthash.progress import log_line

if TYPE_CHECKING:
    import lance

_FORMAT = 1
# A small shard takes less memory than the code that searches it.
LEAST_DOCUMENTS = 4_096


def mapped_files(most_bytes: int = MAPPED_FILES_BYTES) -> LocalCopies | None:
    """Return the files of this node, in its cache; None if their budget is 0."""
    folder = node_cache() / "shards"
    return LocalCopies(folder, most_bytes, setting="service.mapped_files_bytes") if most_bytes else None


def map_contents(
    files: LocalCopies | None,
    path: Path,
    dataset: lance.LanceDataset,
    mapped: DocumentMap | None,
    bits: int,
    checksum: str | None,
) -> Contents:
    """Return the contents of a version from the file of this node, which is made first if there is none.

    Without a known checksum, of a small shard, or without room for the file, they are read into memory.

    Args:
        files: Files of this node; None reads into memory.
        path: Path of the shard.
        dataset: Version of its documents.
        mapped: Map of the documents, if there is one.
        bits: Width of the codes.
        checksum: Expected checksum, if known.

    Raises:
        TexthashError: The version is damaged.
    """
    read: list[Contents] = []

    def contents() -> Contents:
        if not read:
            read.append(read_contents(path, dataset, mapped, bits, checksum))
        return read[0]

    if files is None or checksum is None or dataset.count_rows() < LEAST_DOCUMENTS:
        return contents()
    source = {
        "format": _FORMAT,
        "order": sys.byteorder,
        "shard": str(path),
        "version": dataset.version,
        "files": _digest_of_files(dataset),
        "checksum": checksum,
        "bits": bits,
    }
    folder = str(path).partition("://")[2] or str(path)
    name = f"{folder.strip('/')}/{dataset.version:020d}-{checksum}.arrays"
    try:
        held = files.hold_made(name, path, lambda file: holds(file, source), lambda: _file_of(source, contents()))
    except NoRoomError as error:
        if path not in files.refused:  # logged once, not after every write
            files.refused.add(path)
            log_line(f"warning: each process has codes and tables of its own: {error}")
        return contents()
    read.clear()
    return _contents_of(held, dataset, mapped)


def _digest_of_files(dataset: lance.LanceDataset) -> str:
    """Return a digest of the names of the files of a version, which are unique."""
    named = [
        f"{fragment.fragment_id} {fragment.deletion_file()} {[file.path for file in fragment.metadata.files]}"
        for fragment in dataset.get_fragments()
    ]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def _file_of(source: dict[str, Any], contents: Contents) -> ArrayFile:
    """Return the file of contents, with the tables of their index."""
    from texthash.hamming.kernels import warmup
    from texthash.index.memory.mapped import arrays_of

    warmup(source["bits"])
    index, rows = contents.index.prepare(), contents.rows
    facts, arrays = arrays_of(index)
    arrays |= {"rows.numbers": rows.numbers, "rows.addresses": rows.addresses}
    if index.numbers is not rows.numbers:  # some documents have no known word
        arrays["index.numbers"] = index.numbers
    return ArrayFile({**source, "index": facts}, arrays)


def _contents_of(held: HeldCopy, dataset: lance.LanceDataset, mapped: DocumentMap | None) -> Contents:
    from texthash.index.memory.mapped import index_of

    file = ArrayFile.map(held.path)
    arrays = file.arrays
    numbers = arrays["rows.numbers"]
    rows = StoredRows.of(BaseTable(dataset, numbers, held), dataset, arrays["rows.addresses"], mapped)
    index = index_of(file.facts["index"], arrays, arrays.get("index.numbers", numbers))
    return Contents(rows, index, Checksum(file.facts["checksum"]))
