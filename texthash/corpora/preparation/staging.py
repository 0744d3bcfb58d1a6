"""Working directory of a preparation: documents in chunks, and the intermediate results of its steps.

It lies beside the prepared corpus under a hidden name with the hash of the configuration, so that an interrupted
preparation is found and continued, but not one with another configuration. Every existing file is complete, and a later
file implies that the earlier ones exist: the record of a part is written after its chunks, ``reading.json`` after the
splits, the sizes of a shard after the shard.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import StringConstraints

from texthash.api.attributes import AttributeType
from texthash.config import CorpusConfig
from texthash.corpora.document import NO_ID, SPLITS
from texthash.corpora.preparation.attribute_types import SeenType, joined_types
from texthash.corpora.preparation.splits import NONE, assign
from texthash.corpora.preparation.writing import Fit
from texthash.corpora.prepared.manifest import SourceFile
from texthash.errors import CorpusError, TexthashError
from texthash.io.atomic import read_arrow, remove_directory, side_by_side, write_arrow, write_json
from texthash.io.ragged import indptr_of
from texthash.io.records import read_typed
from texthash.progress import log_line

_NOT_DRAWN = "not in the sample"
MISSING = {"title": "no title", "labels": "no label", "split": "no split"}
"""Remark of a document without a value, by the key of ``corpus.columns`` that may name the column."""


@dataclass(frozen=True)
class PartRead:
    """Record of one part that was read.

    Attributes:
        sizes: Number of documents in each chunk.
        dropped: Number of documents left out, by reason.
        remarks: Number of documents kept with a remark, by remark.
        labels: Labels that occur, sorted.
        queries: Number of questions that its documents answer.
        checksums: SHA-256 of each chunk.
        fit: Fit of the token pattern to the beginning of each chunk.
        attributes: Types of the attributes that occur, by name.
        missing: Number of documents without a value that others may have, by remark.
    """

    sizes: list[int]
    dropped: dict[str, int]
    remarks: dict[str, int]
    labels: list[str]
    queries: int
    checksums: list[str]
    fit: Fit = field(default_factory=Fit)
    attributes: dict[str, SeenType] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """Record of all documents, after their splits are assigned.

    Attributes:
        chunks: Names of the chunks, in order.
        starts: Index of the first document of each chunk, then the total number of documents.
        splits: Number of documents of each split in each chunk [chunks][splits].
        dropped: Number of documents left out, by reason.
        remarks: Number of documents kept with a remark, by remark.
        label_names: All labels, sorted.
        pairs: Whether any document answers a question.
        checksum: SHA-256 over the checksums of the chunks.
        fit: Fit of the token pattern to the texts.
        attributes: Types of all attributes, by name.
    """

    chunks: list[Annotated[str, StringConstraints(pattern=r"^\d{6,}-\d{6,}$")]]
    starts: list[int]
    splits: list[list[int]]
    dropped: dict[str, int]
    remarks: dict[str, int]
    label_names: list[str]
    pairs: bool
    checksum: str
    fit: Fit = field(default_factory=Fit)
    attributes: dict[str, AttributeType] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        """Number of documents in the source, including those that are left out."""
        return self.starts[-1] + sum(number for reason, number in self.dropped.items() if reason != _NOT_DRAWN)

    def documents(self, split: str) -> int:
        """Return the number of documents in a split."""
        return sum(sizes[SPLITS.index(split)] for sizes in self.splits)


@dataclass(frozen=True)
class _Begun:
    """Record of the files that a preparation reads, and of the number of its parts."""

    files: list[SourceFile]
    parts: int


@dataclass(frozen=True)
class Staging:
    """Files of one preparation; cheap to send to workers."""

    root: Path
    config: CorpusConfig

    @property
    def remedy(self) -> str:
        """Remedy for a broken file of the preparation."""
        return f"delete {self.root}, and prepare the corpus again."

    @property
    def output(self) -> Path:
        """Directory that becomes the prepared corpus."""
        return self.root / "corpus"

    @property
    def vocabulary(self) -> Path:
        return self.root / "vocabulary.json"

    @property
    def terms_known(self) -> Path:
        """Words of the vocabulary, for workers; written before :attr:`vocabulary`."""
        return self.root / "vocabulary.arrow"

    def part(self, number: int) -> Path:
        """Return the path of a part's :class:`PartRead`; it is written after the chunks, so the part is complete."""
        return self.root / "parts" / f"{number:06d}.json"

    def documents(self, chunk: str) -> Path:
        return self.root / "documents" / f"{chunk}.arrow"

    def marks(self, chunk: str) -> Path:
        """Return the path of the id hashes and given splits of a chunk's documents."""
        return self.root / "marks" / f"{chunk}.arrow"

    def words(self, chunk: str) -> Path:
        """Return the path of the words of a chunk's documents, in order and counted, as numbers of :meth:`terms`."""
        return self.root / "words" / f"{chunk}.arrow"

    def terms(self, chunk: str) -> Path:
        """Return the path of a chunk's distinct words in alphabetical order."""
        return self.root / "terms" / f"{chunk}.arrow"

    def splits(self, chunk: str) -> Path:
        """Return the path of the splits of a chunk's documents."""
        return self.root / "splits" / f"{chunk}.arrow"

    def frequencies(self, group: int) -> Path:
        """Return the path of the word frequencies in the training documents of a group of chunks."""
        return self.root / "frequencies" / f"{group:06d}.arrow"

    def shard(self, split: str, number: int) -> Path:
        return self.output / split / f"part-{number:05d}.parquet"

    def shard_sizes(self, number: int) -> Path:
        """Return the path of the sizes of a shard; it is written after the shards of all splits, which are complete."""
        return self.root / "shards" / f"{number:05d}.json"

    def is_read(self, files: Sequence[SourceFile]) -> bool:
        """Return whether all documents were read from these files, by this run or an earlier one."""
        if not (self.root / "reading.json").exists():
            return False
        begun = self._begun()
        return begun is not None and begun.files == list(files)

    def reading(self) -> Reading:
        return read_typed(Reading, self.root / "reading.json", self.remedy)

    def part_read(self, number: int) -> PartRead:
        """Return the record of a part that was read."""
        return read_typed(PartRead, self.part(number), self.remedy)

    def begin(self, files: Sequence[SourceFile], parts: int) -> None:
        """Keep the parts of an earlier run if it read the same files in the same parts; else start empty."""
        source = _Begun(list(files), parts)
        if self._begun() != source:
            remove_directory(self.root)
            write_json(self.root / "source.json", asdict(source))

    def _begun(self) -> _Begun | None:
        """Return what an earlier run began with; None if there was none, or if its record is broken."""
        path = self.root / "source.json"
        try:
            return read_typed(_Begun, path, self.remedy) if path.exists() else None
        except TexthashError as error:
            log_line(f"warning: {error.problem} What was read before is read again")
            return None

    def gather(self, parts: int) -> Reading:
        """Merge the records of all parts and assign the splits. Memory: 9 bytes per document, at the peak 17.

        Raises:
            CorpusError: There are no documents, an id occurs twice, or the split rule cannot be applied.
        """
        read = [self.part_read(number) for number in range(parts)]
        chunks = [chunk_name(number, i) for number, part in enumerate(read) for i in range(len(part.sizes))]
        starts = indptr_of([size for part in read for size in part.sizes])
        dropped, remarks, missing = (
            dict(sorted(sum((Counter(getattr(part, name)) for part in read), Counter[str]()).items()))
            for name in ("dropped", "remarks", "missing")
        )
        if remarks.get(NO_ID) == starts[-1]:  # a corpus without ids is no peculiarity of its documents
            del remarks[NO_ID]
        remarks |= {remark: count for remark, count in missing.items() if 0 < count < starts[-1]}
        if not chunks:
            left_out = f" (left out: {dropped})" if dropped else ""
            source = self.config.path or f"the corpus {self.config.name}"
            raise CorpusError(f"{source} has no documents{left_out}.", "give rows, or files, that have a text.")
        self._check_columns(missing, starts[-1])
        names = [column.name for column in self.config.attribute_columns]
        attributes = joined_types((part.attributes for part in read), names, self.config.attributes)
        given = self._marks(chunks, starts)
        splits = assign(given, self.config.edition.split, self.config.edition.sample)
        if others := int((splits == NONE).sum()):
            dropped[_NOT_DRAWN] = others
        pieces = [splits[start:end] for start, end in pairwise(starts)]
        for _ in side_by_side(self._write_splits, list(zip(chunks, pieces, strict=True))):
            pass
        checksums = "".join(checksum for part in read for checksum in part.checksums)
        reading = Reading(
            chunks=chunks,
            starts=starts.tolist(),
            splits=[np.bincount(piece[piece != NONE], minlength=len(SPLITS)).tolist() for piece in pieces],
            dropped=dropped,
            remarks=remarks,
            label_names=sorted(set().union(*(part.labels for part in read))),
            pairs=any(part.queries for part in read),
            checksum=hashlib.sha256(checksums.encode()).hexdigest(),
            fit=sum((part.fit for part in read), Fit()),
            attributes=attributes,
        )
        write_json(self.root / "reading.json", asdict(reading))
        return reading

    def _check_columns(self, missing: dict[str, int], documents: int) -> None:
        """Raise :class:`CorpusError` for a column that no row of JSON has, or in which every value is missing."""
        for key, remark in MISSING.items():
            name = getattr(self.config.columns, key)
            if name is not None and missing.get(remark) == documents:
                raise CorpusError(
                    f"corpus.columns.{key}={name}, but no document has a value of {name}.",
                    "name columns of corpus.path as they are written there.",
                )

    def _marks(self, chunks: list[str], starts: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the given split of every document, after checking that ids are unique."""
        given = np.empty(starts[-1], np.int8)
        hashes = np.empty(starts[-1], np.uint64)
        files = [self.marks(chunk) for chunk in chunks]
        for (start, end), marks in zip(pairwise(starts), side_by_side(read_arrow, files), strict=True):
            given[start:end], hashes[start:end] = marks["given"].to_numpy(), marks["id_hash"].to_numpy()
        hashes.sort()
        suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if len(suspects):
            self._check_ids(chunks, suspects)
        return given

    def _write_splits(self, piece: tuple[str, NDArray[np.int8]]) -> None:
        write_arrow(self.splits(piece[0]), pa.table({"split": piece[1]}))

    def _check_ids(self, chunks: list[str], suspects: NDArray[np.uint64]) -> None:
        """Compare the ids with equal hashes, which may still differ."""
        seen: dict[str, str] = {}
        for row in self._suspected(chunks, suspects):
            if row["id"] in seen:
                raise CorpusError(
                    f"{row['origin'] or 'the corpus'}: the id {row['id']!r} occurs twice "
                    f"(first: {seen[row['id']] or 'before'}).",
                    "give each document an id of its own.",
                )
            seen[row["id"]] = row["origin"]

    def _suspected(self, chunks: list[str], suspects: NDArray[np.uint64]) -> Iterator[dict[str, str]]:
        for chunk in chunks:
            rows = np.flatnonzero(np.isin(read_arrow(self.marks(chunk), ["id_hash"])["id_hash"].to_numpy(), suspects))
            if len(rows):
                yield from read_arrow(self.documents(chunk), ["id", "origin"]).take(pa.array(rows)).to_pylist()


def chunk_name(part: int, index: int) -> str:
    """Return the name of chunk ``index`` of a part; names sort in reading order."""
    return f"{part:06d}-{index:06d}"
