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

import pyarrow as pa

from texthash.config import MAPPED_FILES_BYTES
from texthash.index.contents import Contents, read_contents
from texthash.index.keywords.postings import KeywordIndex, Segment
from texthash.index.keywords.stored import StoredKeywords
from texthash.index.keywords.stored_terms import StoredTerms
from texthash.index.keywords.weights import WordWeights
from texthash.index.storage.arrow_schema import weights_of
from texthash.index.storage.checksum import Checksum
from texthash.index.storage.document_map import DocumentMap
from texthash.index.storage.row_addresses import StoredRows
from texthash.index.storage.stored_filters import BaseTable, Postings
from texthash.io.array_file import ArrayFile, holds, packed, unpacked
from texthash.io.local_copies import HeldCopy, LocalCopies, NoRoomError
from texthash.paths import node_cache
from texthash.processes import run_module
from texthash.progress import log_line

if TYPE_CHECKING:
    import lance

_FORMAT = 1
_POSTINGS = ("starts", "rows", "counts", "lengths", "boosts", "numbers")
# A small shard takes less memory than the code that searches it.
LEAST_DOCUMENTS = 4_096


class MappedFiles(LocalCopies):
    """Files of this node from which its processes map shards, in its cache.

    Args:
        most_bytes: Budget of all files together.
        apart: True makes files in a process of its own. Reading and sorting takes several times the memory of the
            contents, much of which would stay with a process that goes on.
        least_documents: Number of documents of a shard from which it has a file.
    """

    def __init__(
        self, most_bytes: int = MAPPED_FILES_BYTES, *, apart: bool = False, least_documents: int = LEAST_DOCUMENTS
    ) -> None:
        super().__init__(node_cache() / "shards", most_bytes, setting="service.mapped_files_bytes")
        self._most_bytes, self._apart, self.least_documents = most_bytes, apart, least_documents

    def prepare(self, path: Path, version: int, checksum: str, name: str) -> None:
        """Make the file of a version in another process, if it has to be made there and there is none.

        Errors are left to the process that goes on, which meets them again.
        """
        if self._apart and not self.has(name):
            run_module("texthash.index.make_mapped", str(path), str(version), checksum, str(self._most_bytes))


def map_contents(
    files: MappedFiles | None,
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

    if files is None or checksum is None or dataset.count_rows() < files.least_documents:
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
    files.prepare(path, dataset.version, checksum, name)

    def made() -> ArrayFile:
        own = contents()
        stored = StoredKeywords(str(path), own.rows)
        return _file_of(source, own, None if stored.analysis is None else stored.prepare())

    try:
        held = files.hold_made(name, path, lambda file: holds(file, source), made)
    except NoRoomError as error:
        if path not in files.refused:  # logged once, not after every write
            files.refused.add(path)
            log_line(f"warning: each process has codes and tables of its own: {error}")
        return contents()
    read.clear()
    return _contents_of(held, dataset, mapped, weights_of(dataset.schema))


def _digest_of_files(dataset: lance.LanceDataset) -> str:
    """Return a digest of the names of the files of a version, which are unique."""
    named = [
        f"{fragment.fragment_id} {fragment.deletion_file()} {[file.path for file in fragment.metadata.files]}"
        for fragment in dataset.get_fragments()
    ]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def _file_of(source: dict[str, Any], contents: Contents, keywords: KeywordIndex | None) -> ArrayFile:
    """Return the file of contents, with the tables of their index, and of the words of the documents."""
    from texthash.hamming.kernels import warmup
    from texthash.index.memory.mapped import arrays_of

    warmup(source["bits"])
    index, rows = contents.index.prepare(), contents.rows
    facts, arrays = arrays_of(index)
    arrays |= {"rows.numbers": rows.numbers, "rows.addresses": rows.addresses}
    if index.numbers is not rows.numbers:  # some documents have no known word
        arrays["index.numbers"] = index.numbers
    labels, starts, numbers = rows.base.postings.arrays
    arrays |= {"labels.names": packed(pa.array(list(labels), pa.string())), "labels.starts": starts}
    arrays["labels.numbers"] = numbers
    if keywords is not None:
        (segment,) = keywords.segments
        words = pa.array(list(segment.terms), pa.string())
        arrays |= {"words.terms": packed(words), "words.order": StoredTerms.order_of(words)}
        arrays |= {f"words.{name}": getattr(segment, name) for name in _POSTINGS}
    return ArrayFile({**source, "index": facts}, arrays)


def _contents_of(
    held: HeldCopy, dataset: lance.LanceDataset, mapped: DocumentMap | None, weights: WordWeights | None
) -> Contents:
    from texthash.index.memory.mapped import index_of

    file = ArrayFile.map(held.path)
    arrays = file.arrays
    numbers = arrays["rows.numbers"]
    labels = {name: place for place, name in enumerate(unpacked(arrays["labels.names"]).to_pylist())}
    postings = Postings(dataset, (labels, arrays["labels.starts"], arrays["labels.numbers"]))
    rows = StoredRows.of(BaseTable(dataset, numbers, postings, held), dataset, arrays["rows.addresses"], mapped)
    index = index_of(file.facts["index"], arrays, arrays.get("index.numbers", numbers))
    keywords = None
    if "words.terms" in arrays:
        terms = StoredTerms(unpacked(arrays["words.terms"]), arrays["words.order"])
        columns = {name: arrays[f"words.{name}"] for name in _POSTINGS}
        keywords = KeywordIndex((Segment.of_postings(terms, **columns),), weights)
    return Contents(rows, index, Checksum(file.facts["checksum"]), keywords)
