"""Rows of an index between its corpus and its shards: encoded in one pass over the corpus, sorted by shard.

    .codes/<split>-00000.arrow    rows of one file of the prepared corpus; each block of rows as one batch a shard

A worker reads a file of the corpus, encodes its rows, and writes them here; a shard then reads its own batches of all
files, which are ranges of them. So texts are read once, written once and read once more, whatever the number of shards,
and a worker holds a block of rows. A file that is here is complete, so that an interrupted build goes on, on any node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from texthash.config import VectorKind
from texthash.corpora.document import SPLITS
from texthash.errors import TexthashError
from texthash.index.storage.arrow_schema import (
    ATTRIBUTES,
    CONTENT,
    Coded,
    attribute_fields,
    fitting,
    read_stored,
    schema,
    with_attributes,
    with_codes,
)
from texthash.index.storage.shard_format import shard_of
from texthash.io.atomic import is_local, readable, side_by_side, whole

if TYPE_CHECKING:
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.corpora.prepared.row_reader import Rows
    from texthash.models.hasher import Hasher

FOLDER = ".codes"
_BLOCK_BYTES, _PART_BYTES = 32_000_000, 1_000_000
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


@dataclass(frozen=True)
class CorpusFile:
    """File of a prepared corpus, whose rows become one file of encoded rows.

    Attributes:
        split: Split of its documents.
        path: Path of the file.
        row: Row of its first document in the split.
        number: Number of its first document in the index.
        documents: Number of its documents.
    """

    split: str
    path: Path
    row: int
    number: int
    documents: int

    def encoded(self, index: Path) -> Path:
        """Return the path of its encoded rows."""
        return index / FOLDER / f"{self.split}-{self.path.stem.rpartition('-')[2]}.arrow"


@dataclass(frozen=True)
class EncodeJob:
    """Settings of every worker; pickled for their processes.

    Attributes:
        hasher_dir: Directory of the model.
        corpus_path: Directory of the prepared corpus.
        index: Directory of the index.
        shards: Number of shards.
        vectors: Kind of vectors to store beside the codes; None stores none.
    """

    hasher_dir: Path
    corpus_path: Path
    index: Path
    shards: int
    vectors: VectorKind | None


def corpus_files(corpus: PreparedCorpus) -> list[CorpusFile]:
    """Return the files of all splits, in the order of the numbers of their documents.

    Raises:
        TexthashError: The files of a split hold another number of documents than the manifest says.
    """
    found: list[CorpusFile] = []
    number = 0
    for name in SPLITS:
        split, row = corpus.split(name), 0
        for path, rows in zip(split.shards, side_by_side(_rows_of, split.shards), strict=True):
            found.append(CorpusFile(name, path, row, number, rows))
            row, number = row + rows, number + rows
        if row != len(split):
            raise TexthashError(
                f"the prepared split {name} has {len(split)} documents but the text of {row}.",
                "prepare the corpus again.",
            )
    return found


def load_encoder(job: EncodeJob) -> Callable[[CorpusFile], int]:
    """Load the model, and return the function that encodes a file of the corpus, unless that is done."""
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.models.hasher import Hasher

    return partial(_encode_file, job, Hasher.load(job.hasher_dir), PreparedCorpus.open(job.corpus_path))


def rows_of_shard(index: Path, files: Sequence[CorpusFile], shard: int, shards: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one shard by ascending number, of which only these are read."""
    for file in files:
        path = file.encoded(index)
        source: Any = pa.OSFile(str(path)) if is_local(path) else readable(path)
        with closing(source), pa.ipc.open_file(source) as encoded:
            for position in range(shard, encoded.num_record_batches, shards):
                batch = encoded.get_batch(position)
                if batch.num_rows:
                    yield batch


def _rows_of(path: Path) -> int:
    return int(pq.read_metadata(readable(path)).num_rows)


def _encode_file(job: EncodeJob, hasher: Hasher, corpus: PreparedCorpus, file: CorpusFile) -> int:
    from texthash.corpora.prepared.row_reader import read_rows
    from texthash.methods.categorizer import attributes_of
    from texthash.models.encoding import ENCODING_BATCH
    from texthash.models.vectors import vector_width

    target = file.encoded(job.index)
    if target.exists():
        return file.documents
    method, types = hasher.method, corpus.manifest.attributes
    columns = schema(hasher.bits, 0 if job.vectors is None else vector_width(method, job.vectors))
    for column in attribute_fields({**types, **attributes_of(method)}):
        columns = columns.append(column)
    with whole(target) as unfinished, pa.ipc.new_file(unfinished, columns, options=_COMPRESSED) as writer:
        block = _Block(writer, job.shards)
        for rows in read_rows(corpus.split(file.split), file.path, file.row, ENCODING_BATCH, method.encoding_inputs):
            numbers = np.arange(len(rows)) + (file.number + rows.first - file.row)
            documents = pa.Table.from_batches([rows.table])
            content = documents.select(CONTENT.names[1:]).add_column(0, "number", pa.array(numbers))
            if types:
                content = with_attributes(content, read_stored(documents[ATTRIBUTES]), types)
            # Every prepared document has a known word: preparation drops the others.
            block.add(fitting(with_codes(content, _encoded(hasher, rows, job.vectors)), columns))
        block.write()
    return file.documents


def _encoded(hasher: Hasher, rows: Rows, vectors: VectorKind | None) -> Coded:
    """Return codes, and vectors if the index stores vectors, of rows of a prepared corpus.

    Training documents get the codes that the method defines for its database, if it does; vectors are always those of
    the text.
    """
    import torch

    from texthash.methods.categorizer import categories_of
    from texthash.models.encoding import activations_of, device_of
    from texthash.models.vectors import vectors_of

    method, here = hasher.method, slice(rows.first, rows.first + len(rows))
    own = method.database_codes() if rows.name == "train" else None
    values, categories = torch.empty(0, method.bits), None
    if own is None or vectors == "activations":
        batch = rows.batch(method.encoding_inputs)
        values, categories = activations_of(method, [batch]), categories_of(method, batch.to(device_of(method)))
    codes = hasher.binarize(values) if own is None else own[here]
    if vectors is None:
        return Coded(codes, categories=categories)
    encoder = method.shape.encoder
    dense = [rows.dense(encoder)] if vectors == "features" and encoder is not None else []
    made = vectors_of(method, vectors, values, dense).astype(np.float16)
    return Coded(codes, vectors=made, categories=categories)


class _Block:
    """Rows that are written together, as one batch for each shard.

    They are kept in a few large parts: many small arrays that stay while others come and go would keep several times
    their size from the system.

    Args:
        writer: Writer of the file.
        shards: Number of shards.
    """

    def __init__(self, writer: pa.RecordBatchWriter, shards: int) -> None:
        self._writer, self._shards = writer, shards
        self._recent: list[pa.Table] = []
        self._parts: list[pa.Table] = []
        self._owners: list[NDArray[np.int64]] = []  # shard of each row of each part

    def add(self, rows: pa.Table) -> None:
        """Add rows, and write the block if it is full."""
        self._recent.append(rows)
        if _bytes(self._recent) >= _PART_BYTES:
            self._join()
        if _bytes(self._parts) >= _BLOCK_BYTES:
            self.write()

    def write(self) -> None:
        """Write the rows that were added, those of each shard in the order in which they came."""
        self._join()
        if not self._parts:
            return
        (rows,) = pa.concat_tables(self._parts).combine_chunks().to_batches()
        owners = np.concatenate(self._owners)
        self._parts.clear()
        self._owners.clear()
        order = np.argsort(owners, kind="stable")
        # A shard at a time: the rows of all shards in their order would be the block once more.
        for first, end in pairwise(np.searchsorted(owners, np.arange(self._shards + 1), sorter=order)):
            self._writer.write_batch(rows.take(pa.array(order[first:end])))

    def _join(self) -> None:
        if self._recent:
            part = pa.concat_tables(self._recent).combine_chunks()
            self._recent.clear()
            self._parts.append(part)
            self._owners.append(np.array([shard_of(own, self._shards) for own in part["id"].to_pylist()]))


def _bytes(tables: list[pa.Table]) -> int:
    return sum(table.nbytes for table in tables)
