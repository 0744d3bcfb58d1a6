"""Construction of an index from a prepared corpus and a saved model, in two steps that each run in parallel.

1. Encode the rows of each file of the corpus, sorted by shard (:mod:`texthash.index.writing.encoded_rows`).
2. Write each shard from its rows of all files (:func:`build_shard`).

All splits are indexed, so that every document can be found: train, then validation, then test. The number of a document
is its row in that order. The codes of train documents are the ones that the method defines for its database
(``HashMethod.database_codes``). Existing files are reused, so an interrupted build resumes.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from texthash.config import KeywordAnalysis, VectorKind
from texthash.errors import TexthashError
from texthash.executor import Claim, Executor, LocalExecutor
from texthash.index.keywords.weights import WordWeights
from texthash.index.storage.arrow_schema import DEFAULT_WEIGHTS
from texthash.index.storage.shard_format import (
    ShardIdentity,
    Vectors,
    is_written,
    read_index,
    read_manifest,
    shard_path,
    write_shard,
)
from texthash.index.writing.encoded_rows import (
    FOLDER,
    CorpusFile,
    EncodeJob,
    corpus_files,
    load_encoder,
    rows_of_shard,
)
from texthash.io.atomic import exclusive, remove_directory, side_by_side
from texthash.progress import log_line, track

if TYPE_CHECKING:
    from texthash.paths import StateDir

_LOCK = ".lock"
# Of glibc's malloc.h: few arenas, and pieces of 4 MB or more are given back once they are freed. By default glibc
# raises this size to 32 MB as it goes on, and keeps what is freed between pieces in use. 2 MB cost 15 % more CPU.
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = (-8, 2), (-3, 4 << 20), (-1, 4 << 20)
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
        UsageError: The model only re-ranks, or writes an attribute that documents of the corpus have.
        TexthashError: ``shards`` is less than one.
    """
    import hashlib

    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.methods.categorizer import check_own_attributes
    from texthash.models.files import digest
    from texthash.models.hasher import Hasher
    from texthash.models.vectors import vector_width

    if shards < 1:
        raise TexthashError(f"an index cannot have {shards} shards.", "set index.shards to 1 or more.")
    hasher = Hasher.load(hasher_dir)
    hasher.check_searchable()
    corpus = PreparedCorpus.open(corpus_path)
    hasher.check_corpus(corpus)
    check_own_attributes(hasher.method, corpus.manifest.attributes)
    if vectors is not None:
        vector_width(hasher.method, vectors)
    total = hashlib.sha256(digest(hasher_dir).encode())
    total.update((corpus_path / "manifest.json").read_bytes())
    more = "".join(f"-{name}" for name in (vectors, keywords) if name is not None)
    if keywords is not None and weights != DEFAULT_WEIGHTS:
        more += f"-{weights.title}-{weights.lead}"
        if weights != WordWeights(weights.title, weights.lead):
            more += f"-{weights.brevity:g}-{weights.k1:g}-{weights.b:g}"
    return home.index / f"{hasher.name}-{total.hexdigest()[:12]}-{shards}{more}"


def build_shard(
    job: EncodeJob,
    files: Sequence[CorpusFile],
    shard: int,
    *,
    keywords: KeywordAnalysis | None,
    weights: WordWeights,
) -> None:
    """Write one shard from the encoded rows of all files of the corpus, unless the shard exists."""
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.methods.categorizer import attributes_of
    from texthash.models.files import digest
    from texthash.models.hasher import Hasher
    from texthash.models.vectors import vector_width

    path = shard_path(job.index, shard)
    if is_written(path):
        read_manifest(path)
        return
    hasher = Hasher.load(job.hasher_dir)
    corpus = PreparedCorpus.open(job.corpus_path)
    identity = ShardIdentity(
        shard=shard,
        shards=job.shards,
        bits=hasher.bits,
        model=digest(job.hasher_dir),
        vocabulary_hash=hasher.vocabulary_hash,
        vectors=None if job.vectors is None else Vectors(job.vectors, vector_width(hasher.method, job.vectors)),
        keywords=keywords,
        attributes={**corpus.manifest.attributes, **attributes_of(hasher.method)},
        weights=weights,
    )
    documents = sum(file.documents for file in files)
    with _freed_memory_returned():
        write_shard(path, rows_of_shard(job.index, files, shard, job.shards), identity, next_number=documents)


def is_built(index: Path, shards: int) -> bool:
    """Return whether every shard exists."""
    return all(is_written(shard_path(index, shard)) for shard in range(shards))


def finish(index: Path) -> Path:
    """Check that the shards belong together, and delete the encoded rows."""
    manifests = read_index(index)
    remove_directory(index / FOLDER)
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

    Another process that builds the same index on this machine is waited for.

    On a cluster all nodes need access to every path, and a task whose process dies is started again.

    Args:
        hasher_dir: Directory of a model written by ``Hasher.save``, which is published if nodes share no directory.
        corpus_path: Directory of a prepared corpus with the vocabulary of the model.
        home: State directory; the index is created under ``index/``.
        shards: Number of shards.
        vectors: Kind of vectors to store beside the codes; None stores none.
        keywords: Analysis of the words to store for keyword search; None stores none.
        weights: Weights of these words.
        executor: Encodes the files of the corpus, then writes the shards.

    Returns:
        Directory of the index.

    Raises:
        ModelMismatchError: Model and corpus do not belong together, or the model has no such vectors.
        UsageError: The model only re-ranks, or writes an attribute that documents of the corpus have.
    """
    from texthash.corpora.prepared.corpus import PreparedCorpus
    from texthash.models.shared import shared_model

    index = index_path(hasher_dir, corpus_path, home, shards, vectors, keywords, weights=weights)
    hasher_dir = shared_model(home, hasher_dir)
    with exclusive(index / _LOCK):
        if is_built(index, shards):
            return finish(index)
        job = EncodeJob(hasher_dir, corpus_path, index, shards, vectors)
        files = corpus_files(PreparedCorpus.open(corpus_path))
        done = side_by_side(lambda file: file.encoded(index).exists(), files)
        left = [{"file": file} for file, exists in zip(files, done, strict=True) if not exists]
        encoded = executor.map_with(partial(load_encoder, job), left, claim=_CLAIM) if left else iter([])
        for _ in track(encoded, "encoding", documents=int):
            pass
        write = partial(build_shard, job, files, keywords=keywords, weights=weights)
        tasks = [{"shard": shard} for shard in range(shards)]
        for _ in track(executor.map(write, tasks, claim=_CLAIM), "writing shards", shards):
            pass
        return finish(index)


@contextmanager
def _freed_memory_returned() -> Iterator[None]:
    """Have the system get back what is freed in the block; glibc's malloc keeps its settings afterwards.

    By default glibc gives up to eight arenas a core to the threads of a library, each of which keeps what it has freed,
    and so does Arrow's own pool: the process that writes 250,000 documents of 40 words took half as much again.
    """
    import pyarrow as pa

    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for option in (_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(*option)
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
