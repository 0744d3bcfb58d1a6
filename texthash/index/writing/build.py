"""Construction of an index from a prepared corpus and a saved model, in two steps that can each run in parallel.

1. Encode each split (:func:`encode_codes`). Its codes, and its vectors if the index stores vectors, are kept as
   ``.npy`` files beside the shards until all shards exist.
2. Write each shard (:func:`build_shard`).

All splits are indexed, so that every document can be found: train, then validation, then test. The number of a document
is its row in that order. The codes of train documents are the ones that the method defines for its database
(``Hasher.encode_split``). Existing files are reused, so an interrupted build resumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.config import KeywordAnalysis, VectorKind
from texthash.errors import TexthashError
from texthash.executor import Claim, Executor, LocalExecutor
from texthash.index.keywords.weights import WordWeights
from texthash.index.storage.arrow_schema import (
    ATTRIBUTES,
    CONTENT,
    DEFAULT_WEIGHTS,
    Coded,
    read_stored,
    with_attributes,
    with_codes,
)
from texthash.index.storage.shard_format import (
    ShardIdentity,
    Vectors,
    deal,
    is_written,
    read_index,
    read_manifest,
    shard_path,
    width_of,
    write_shard,
)
from texthash.io.atomic import read_array, remove_directory, whole, write_array
from texthash.progress import log_line, track

if TYPE_CHECKING:
    from texthash.corpora.prepared.corpus import PreparedCorpus, Split
    from texthash.paths import StateDir

SPLITS = ("train", "validation", "test")
_ROWS = 4096
_CODES = ".codes"
# A little less than a whole CPU: a service on the same cluster reserves parts of some.
_CLAIM = Claim(cpus=0.9, retries=2)


def index_path(
    hasher_dir: Path,
    corpus_path: Path,
    home: StateDir,
    shards: int,
    vectors: VectorKind | None = None,
    keywords: KeywordAnalysis | None = "english",
    *,
    weights: WordWeights = DEFAULT_WEIGHTS,
) -> Path:
    """Return the directory of the index of a model over a corpus.

    Its name contains a fingerprint of both, so an index found there was built from exactly these.

    Raises:
        ModelMismatchError: The corpus does not have the vocabulary of the model, or the model has no such vectors.
        UsageError: The model only re-ranks.
        TexthashError: ``shards`` is less than one.
    """
    import hashlib

    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.models.files import digest
    from texthash.models.hasher import Hasher
    from texthash.models.vectors import vector_width

    if shards < 1:
        raise TexthashError(f"an index cannot have {shards} shards.", "set index.shards to 1 or more.")
    hasher = Hasher.load(hasher_dir)
    hasher.check_searchable()
    hasher.check_corpus(PreparedCorpus.open(corpus_path))
    if vectors is not None:
        vector_width(hasher.method, vectors)
    total = hashlib.sha256(digest(hasher_dir).encode())
    total.update((corpus_path / "manifest.json").read_bytes())
    more = "".join(f"-{name}" for name in (vectors, keywords) if name is not None)
    if keywords is not None and weights != DEFAULT_WEIGHTS:
        more += f"-{weights.title}-{weights.lead}"
    return home.index / f"{hasher.name}-{total.hexdigest()[:12]}-{shards}{more}"


def encode_codes(hasher_dir: Path, corpus_path: Path, index: Path, split: str, vectors: VectorKind | None) -> None:
    """Encode one split into ``.codes/<split>.npy``, uint8 [documents, bits / 8].

    If the index stores vectors, they go to ``.codes/<split>.vectors.npy``, float16 [documents, width]. Existing files
    are left unchanged.
    """
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.models.hasher import Hasher
    from texthash.models.vectors import split_vectors, vector_width

    hasher, documents = Hasher.load(hasher_dir), PreparedCorpus.open(corpus_path).split(split)
    target = _codes_of(index, split)
    if not target.exists():
        write_array(target, hasher.encode_split(documents))
    kept = _vectors_of(index, split)
    if vectors is None or kept.exists():
        return
    with whole(kept) as partial:
        shape = (len(documents), vector_width(hasher.method, vectors))
        # Vectors go to disk in batches: those of all documents would take a hundred times the memory of their codes.
        array = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        row = 0
        for batch in split_vectors(hasher.method, documents, vectors):
            array[row : row + len(batch)] = batch
            row += len(batch)
        array.flush()


def build_shard(
    hasher_dir: Path,
    corpus_path: Path,
    index: Path,
    shard: int,
    shards: int,
    *,
    vectors: VectorKind | None,
    keywords: KeywordAnalysis | None,
    weights: WordWeights,
) -> None:
    """Write one shard from the codes and vectors that :func:`encode_codes` has written, unless the shard exists."""
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.models.files import digest
    from texthash.models.hasher import Hasher
    from texthash.models.vectors import vector_width

    path = shard_path(index, shard)
    if is_written(path):
        read_manifest(path)
        return
    hasher = Hasher.load(hasher_dir)
    corpus = PreparedCorpus.open(corpus_path)
    kept = None if vectors is None else Vectors(vectors, vector_width(hasher.method, vectors))
    identity = ShardIdentity(
        shard=shard,
        shards=shards,
        bits=hasher.bits,
        model=digest(hasher_dir),
        vocabulary_hash=hasher.vocabulary_hash,
        vectors=kept,
        keywords=keywords,
        attributes=dict(corpus.manifest.attributes),
        weights=weights,
    )
    documents = sum(len(corpus.split(name)) for name in SPLITS)
    rows = deal(_rows(corpus, index, hasher.bits, kept), shard, shards)
    write_shard(path, rows, identity, next_number=documents)


def is_built(index: Path, shards: int) -> bool:
    """Return whether every shard exists."""
    return all(is_written(shard_path(index, shard)) for shard in range(shards))


def finish(index: Path) -> Path:
    """Check that the shards belong together, and delete the intermediate codes and vectors."""
    manifests = read_index(index)
    remove_directory(index / _CODES)
    total = sum(manifest.documents for manifest in manifests)
    log_line(f"index: {total} documents, {manifests[0].bits} bits, {len(manifests)} shards in {index}")
    return index


def build_index(
    hasher_dir: Path,
    corpus_path: Path,
    home: StateDir,
    shards: int = 1,
    vectors: VectorKind | None = None,
    keywords: KeywordAnalysis | None = "english",
    *,
    weights: WordWeights = DEFAULT_WEIGHTS,
    executor: Executor = LocalExecutor(),
) -> Path:
    """Build an index. An interrupted build resumes; an existing index is returned immediately.

    On a cluster all nodes need access to every path, and a task whose process dies is started again.

    Args:
        hasher_dir: Directory of a model written by ``Hasher.save``, which is published if nodes share no directory.
        corpus_path: Directory of a prepared corpus with the vocabulary of the model.
        home: State directory; the index is created under ``index/``.
        shards: Number of shards.
        vectors: Kind of vectors to store beside the codes; None stores none.
        keywords: Analysis of the words to store for keyword search; None stores none.
        weights: Weights of these words.
        executor: Encodes the splits, then writes the shards.

    Returns:
        Directory of the index.

    Raises:
        ModelMismatchError: Model and corpus do not belong together, or the model has no such vectors.
        UsageError: The model only re-ranks.
    """
    from texthash.models.shared import shared_model

    index = index_path(hasher_dir, corpus_path, home, shards, vectors, keywords, weights=weights)
    hasher_dir = shared_model(home, hasher_dir)
    if not is_built(index, shards):
        encode = partial(encode_codes, hasher_dir, corpus_path, index, vectors=vectors)
        for _ in track(executor.map(encode, [{"split": split} for split in SPLITS], claim=_CLAIM), "encoding splits"):
            pass
        content = partial(build_shard, vectors=vectors, keywords=keywords, weights=weights)
        write = partial(content, hasher_dir, corpus_path, index, shards=shards)
        tasks = [{"shard": shard} for shard in range(shards)]
        for _ in track(executor.map(write, tasks, claim=_CLAIM), "writing shards", shards):
            pass
    return finish(index)


def _codes_of(index: Path, split: str) -> Path:
    return index / _CODES / f"{split}.npy"


def _vectors_of(index: Path, split: str) -> Path:
    return index / _CODES / f"{split}.vectors.npy"


def _rows(corpus: PreparedCorpus, index: Path, bits: int, vectors: Vectors | None) -> Iterator[pa.RecordBatch]:
    number, width = 0, width_of(vectors)
    for name in SPLITS:
        split = corpus.split(name)
        codes = _read(_codes_of(index, name), (len(split), bits // 8))
        kept = _read(_vectors_of(index, name), (len(split), width)) if width else None
        row = 0
        for table in split.documents(_ROWS):
            here = slice(row, row + table.num_rows)
            numbers = pa.array(np.arange(number, number + table.num_rows))
            content = table.select(CONTENT.names[1:]).add_column(0, "number", numbers)
            if types := corpus.manifest.attributes:
                content = with_attributes(content, read_stored(table[ATTRIBUTES]), types)
            # Every prepared document has a known word: preparation drops the others.
            coded = Coded(codes[here], vectors=None if kept is None else kept[here])
            yield from with_codes(content, coded).combine_chunks().to_batches()
            row += table.num_rows
            number += table.num_rows
        _check_whole(split, row)


def _read(path: Path, shape: tuple[int, int]) -> NDArray:
    array = read_array(path)
    if array.shape != shape:
        raise TexthashError(
            f"{path} has shape {array.shape}, but the split needs {shape}.", f"delete {path.parent} and build again."
        )
    return array


def _check_whole(split: Split, rows: int) -> None:
    if rows != len(split):
        raise TexthashError(
            f"the prepared split {split.name} has {len(split)} documents but the text of {rows}.",
            "prepare the corpus again.",
        )
