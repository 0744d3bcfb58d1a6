"""The working directory of a preparation: documents as read, in chunks, and what becomes of them.

It lies beside the prepared corpus under a hidden name that carries the hash of the configuration, so that an
interrupted preparation is found and continued, and one with another configuration is not. Whatever is there is whole,
and a later file says that earlier ones are: a part's record follows its chunks, the reading follows the splits, a
shard's sizes follow the shard.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.config import CorpusConfig
from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.splits import NONE, assign
from texthash.corpora.preparation.writing import Fit
from texthash.corpora.prepared.manifest import SourceFile
from texthash.errors import CorpusError
from texthash.io.atomic import read_arrow, read_json, remove_directory, side_by_side, write_arrow, write_json
from texthash.io.ragged import indptr_of

T = TypeVar("T")
_NOT_DRAWN = "not in the sample"


@dataclass(frozen=True)
class PartRead:
    """What a worker says of one part that it read.

    Attributes:
        sizes: Documents of each of its chunks.
        dropped: Documents left out, by reason.
        remarks: Documents kept, by what a person should know of them.
        labels: Labels that occur, sorted.
        queries: Questions that its documents answer.
        checksums: SHA-256 of each chunk.
        fit: How well the pattern of a word fits the beginning of each chunk.
    """

    sizes: list[int]
    dropped: dict[str, int]
    remarks: dict[str, int]
    labels: list[str]
    queries: int
    checksums: list[str]
    fit: Fit = field(default_factory=Fit)


@dataclass(frozen=True)
class Reading:
    """What is known when all documents are read and have their splits.

    Attributes:
        chunks: Names of the chunks, in order.
        starts: First document of each, and the number of documents at the end.
        splits: Documents of each split in each chunk [chunks][splits].
        dropped: Documents left out, by reason.
        remarks: Documents kept, by what a person should know of them.
        label_names: All labels, sorted.
        pairs: Whether any document answers a question.
        checksum: SHA-256 over the checksums of the chunks.
        fit: How well the pattern of a word fits the texts.
    """

    chunks: list[str]
    starts: list[int]
    splits: list[list[int]]
    dropped: dict[str, int]
    remarks: dict[str, int]
    label_names: list[str]
    pairs: bool
    checksum: str
    fit: Fit = field(default_factory=Fit)

    @property
    def seen(self) -> int:
        """Number of documents that the source gave, those that are left out among them."""
        return self.starts[-1] + sum(number for reason, number in self.dropped.items() if reason != _NOT_DRAWN)

    def documents(self, split: str) -> int:
        """Number of documents in a split."""
        return sum(sizes[SPLITS.index(split)] for sizes in self.splits)


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

    @property
    def terms_known(self) -> Path:
        """The vocabulary's words alone, for workers: written before :attr:`vocabulary`."""
        return self.root / "vocabulary.arrow"

    def part(self, number: int) -> Path:
        """A part's :class:`PartRead`; written after its chunks, so a part with one is finished."""
        return self.root / "parts" / f"{number:06d}.json"

    def documents(self, chunk: str) -> Path:
        return self.root / "documents" / f"{chunk}.arrow"

    def marks(self, chunk: str) -> Path:
        """Hash of the id, and the given split, of each document of a chunk."""
        return self.root / "marks" / f"{chunk}.arrow"

    def words(self, chunk: str) -> Path:
        """Words of a chunk's documents, in order and counted, as numbers of :meth:`terms`."""
        return self.root / "words" / f"{chunk}.arrow"

    def terms(self, chunk: str) -> Path:
        """A chunk's distinct words in alphabetical order."""
        return self.root / "terms" / f"{chunk}.arrow"

    def splits(self, chunk: str) -> Path:
        """The split of each document of a chunk."""
        return self.root / "splits" / f"{chunk}.arrow"

    def frequencies(self, group: int) -> Path:
        """Words and their frequencies in the training documents of a group of chunks."""
        return self.root / "frequencies" / f"{group:06d}.arrow"

    def shard(self, split: str, number: int) -> Path:
        return self.output / split / f"part-{number:05d}.parquet"

    def shard_sizes(self, number: int) -> Path:
        """Sizes of a shard of each split; written after them, so shards with one are finished."""
        return self.root / "shards" / f"{number:05d}.json"

    def is_read(self, files: Sequence[SourceFile]) -> bool:
        """Whether all documents were read, by this run or an earlier one, and from files like these."""
        if not (self.root / "reading.json").exists():
            return False
        begun: dict = read_json(self.root / "source.json")
        return begun["files"] == [asdict(file) for file in files]

    def reading(self) -> Reading:
        return _read(Reading, self.root / "reading.json")

    def begin(self, files: Sequence[SourceFile], parts: int) -> None:
        """Keep what an earlier run read, if it read the same files in the same parts; else start with nothing."""
        source = {"files": [asdict(file) for file in files], "parts": parts}
        path = self.root / "source.json"
        if not path.exists() or read_json(path) != source:
            remove_directory(self.root)
            write_json(path, source)

    def gather(self, parts: int) -> Reading:
        """Put together what was read and decide the splits. Memory: 9 bytes a document, and 8 more for a moment.

        Raises:
            CorpusError: for no documents, an id that occurs twice, or splits that the rule cannot give.
        """
        read = [_read(PartRead, self.part(number)) for number in range(parts)]
        chunks = [chunk_name(number, i) for number, part in enumerate(read) for i in range(len(part.sizes))]
        starts = indptr_of([size for part in read for size in part.sizes])
        dropped, remarks = (
            dict(sorted(sum((Counter(getattr(part, name)) for part in read), Counter[str]()).items()))
            for name in ("dropped", "remarks")
        )
        if not chunks:
            left_out = f" (left out: {dropped})" if dropped else ""
            raise CorpusError(f"the corpus {self.config.name} has no documents{left_out}.", "check the source.")
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
        )
        write_json(self.root / "reading.json", asdict(reading))
        return reading

    def _marks(self, chunks: list[str], starts: NDArray[np.int64]) -> NDArray[np.int8]:
        """The given split of every document, after a look at the ids."""
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
        """Equal hashes are only suspects: the ids themselves decide."""
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


def _read(record: type[T], path: Path) -> T:
    values = read_json(path)
    return record(**values | {"fit": Fit(**values.get("fit", {}))})


def chunk_name(part: int, index: int) -> str:
    """Of the chunk ``index`` of a part; names sort in reading order."""
    return f"{part:06d}-{index:06d}"
