"""The working directory of a preparation: documents as read, in numbered chunks, and what becomes of them.

It lies beside the prepared corpus under a hidden name that carries the hash of the configuration, so that an
interrupted preparation is found and continued, and one with another configuration is not.
"""

from __future__ import annotations

import hashlib
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.config import CorpusConfig
from texthash.corpora.document import SPLITS, Document
from texthash.corpora.manifest import SourceFile
from texthash.corpora.splits import NONE, assign
from texthash.corpora.storage import read_arrow, read_json, whole, write_arrow, write_json
from texthash.errors import CorpusError
from texthash.progress import track

_CHUNK_BYTES = 32_000_000
_FIELDS = ("id", "text", "title", "origin")


def _chunk_documents(chunk: int) -> int:
    """Documents in a chunk: small ones first, so that a small corpus keeps several workers busy, then larger ones, so
    that a large corpus does not become a million files."""
    return 1024 << min(chunk // 32, 6)


@dataclass(frozen=True)
class Reading:
    """What is known when all documents are read.

    Attributes:
        starts: First document of each chunk, and the number of documents at the end.
        dropped: Documents left out, by reason.
        remarks: Documents kept, by what a person should know of them.
        label_names: All labels, sorted.
        checksum: SHA-256 over the documents.
    """

    starts: list[int]
    dropped: dict[str, int]
    remarks: dict[str, int]
    label_names: list[str]
    checksum: str

    @property
    def documents(self) -> int:
        return self.starts[-1]

    @property
    def chunks(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True)
class Staging:
    """Paths of one preparation; cheap to send to workers."""

    root: Path
    config: CorpusConfig

    @property
    def output(self) -> Path:
        """What becomes the prepared corpus."""
        return self.root / "corpus"

    @property
    def vocabulary(self) -> Path:
        return self.root / "vocabulary.json"

    def documents(self, chunk: int) -> Path:
        return self.root / "documents" / f"{chunk:06d}.arrow"

    def words(self, chunk: int) -> Path:
        """Word numbers of a chunk's documents; the numbers are of :meth:`terms`."""
        return self.root / "words" / f"{chunk:06d}.arrow"

    def terms(self, chunk: int) -> Path:
        """A chunk's own words with their frequencies in its training documents; written after :meth:`words`."""
        return self.root / "terms" / f"{chunk:06d}.arrow"

    def shard(self, split: str, number: int) -> Path:
        return self.output / split / f"part-{number:05d}.parquet"

    def shard_counts(self, split: str, number: int) -> Path:
        """Sizes of a shard; written after it, so a shard with one is finished."""
        return self.root / "shards" / f"{split}-{number:05d}.json"

    def splits(self) -> NDArray[np.int8]:
        """The split of every document, memory-mapped."""
        return np.load(self.root / "splits.npy", mmap_mode="r")

    def is_read(self, files: Sequence[SourceFile]) -> bool:
        """Whether all documents were read, by this run or an earlier one, and from files like these."""
        if not (self.root / "reading.json").exists():
            return False
        source: list[dict[str, Any]] = read_json(self.root / "source.json")
        return source == [asdict(file) for file in files]

    def reading(self) -> Reading:
        return Reading(**read_json(self.root / "reading.json"))

    def read(self, documents: Iterable[Document], files: Sequence[SourceFile]) -> Reading:
        """Write all documents in chunks, and decide their splits. Memory: 9 bytes a document and one chunk.

        Args:
            documents: In reading order.
            files: What they are read from: a later run goes on only where these are the same.

        Raises:
            CorpusError: for no documents, an id that occurs twice, or splits that the rule cannot give.
        """
        shutil.rmtree(self.root, ignore_errors=True)
        digest = hashlib.sha256()
        dropped: Counter[str] = Counter()
        remarks: Counter[str] = Counter()
        labels: set[str] = set()
        id_hashes, given = array("q"), array("b")
        starts = [0]
        for chunk, rows in enumerate(_chunks(_kept(track(documents, "reading documents"), dropped))):
            for row in rows:
                fields = (row.id, row.text, row.title, row.split, *row.labels)
                digest.update("\0".join(fields).encode("utf-8", "surrogatepass") + b"\1")
                id_hashes.append(hash(row.id))
                given.append(SPLITS.index(row.split) if row.split else NONE)
                labels.update(row.labels)
                if row.remark:
                    remarks[row.remark] += 1
            write_arrow(self.documents(chunk), _table(rows))
            starts.append(starts[-1] + len(rows))
        if starts[-1] == 0:
            left_out = f" (left out: {dict(dropped)})" if dropped else ""
            raise CorpusError(f"the corpus {self.config.name} has no documents{left_out}.", "check the source.")
        reading = Reading(
            starts, dict(sorted(dropped.items())), dict(sorted(remarks.items())), sorted(labels), digest.hexdigest()
        )
        self._check_ids(np.frombuffer(id_hashes, np.int64), reading)
        splits = assign(np.frombuffer(given, np.int8), self.config.edition.split)
        with whole(self.root / "splits.npy") as partial, partial.open("wb") as file:
            np.save(file, splits)
        write_json(self.root / "source.json", [asdict(file) for file in files])
        write_json(self.root / "reading.json", vars(reading))
        return reading

    def _check_ids(self, hashes: NDArray[np.int64], reading: Reading) -> None:
        """Equal hashes are only suspects: the ids themselves decide."""
        values, counts = np.unique(hashes, return_counts=True)
        if len(values) == len(hashes):
            return
        suspects = np.flatnonzero(np.isin(hashes, values[counts > 1]))
        seen: dict[str, str] = {}
        for chunk in range(reading.chunks):
            start, end = reading.starts[chunk : chunk + 2]
            rows = suspects[(suspects >= start) & (suspects < end)] - start
            for row in read_arrow(self.documents(chunk), ["id", "origin"]).take(pa.array(rows)).to_pylist():
                if row["id"] in seen:
                    raise CorpusError(
                        f"{row['origin'] or 'the corpus'}: the id {row['id']!r} occurs twice "
                        f"(first: {seen[row['id']] or 'before'}).",
                        "give each document an id of its own.",
                    )
                seen[row["id"]] = row["origin"]


def _kept(documents: Iterable[Document], dropped: Counter[str]) -> Iterator[Document]:
    for document in documents:
        if reason := document.excluded or ("" if document.text.strip() else "empty"):
            dropped[reason] += 1
        else:
            yield document


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    rows: list[Document] = []
    chunk, size = 0, 0
    for document in documents:
        rows.append(document)
        size += len(document.text)
        if len(rows) == _chunk_documents(chunk) or size >= _CHUNK_BYTES:
            yield rows
            rows, chunk, size = [], chunk + 1, 0
    if rows:
        yield rows


def _table(rows: list[Document]) -> pa.Table:
    try:
        columns: dict[str, Any] = {
            name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in _FIELDS
        }
        columns["labels"] = pa.array([sorted(set(row.labels)) for row in rows], pa.list_(pa.string()))
    except UnicodeEncodeError:
        for row in rows:
            for text in (row.id, row.text, row.title, *row.labels):
                _check_unicode(text, row)
        raise
    return pa.table(columns)


def _check_unicode(text: str, row: Document) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{row.origin or row.id}: the document {row.id!r} holds half a character ({error.reason}).",
            "write the source as valid Unicode.",
        ) from error
