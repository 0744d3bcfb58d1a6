"""Building an index from a prepared corpus and a saved model, in two steps that can each be done in pieces.

1. The codes of each split (:func:`encode_codes`), kept as ``.npy`` beside the shards until all of these exist.
2. Each shard (:func:`build_shard`).

All splits are indexed, so that a person finds every document: train, then validation, then test; a document's number is
its row in that order. The codes of train documents are the ones that the method defines for its database
(``Hasher.encode_split``). Whatever exists already is not made again, so a build that was interrupted resumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from texthash.corpora.storage import read_array, remove_directory, write_array
from texthash.errors import TexthashError
from texthash.progress import say
from texthash.search.store import deal, is_written, read_index, read_manifest, schema, shard_path, write_shard

if TYPE_CHECKING:
    from texthash.corpora.dataset import PreparedCorpus, Split
    from texthash.home import Home

SPLITS = ("train", "validation", "test")
_ROWS = 4096
_CODES = ".codes"


def index_path(hasher_dir: Path, corpus_path: Path, home: Home, shards: int) -> Path:
    """Where the index of a model over a corpus belongs. The name holds a fingerprint of both, so what lies there was
    made from exactly these.

    Raises:
        ModelMismatchError: the corpus does not have the vocabulary of the model.
        TexthashError: fewer than one shard is asked for.
    """
    import hashlib

    from texthash.corpora.dataset import PreparedCorpus
    from texthash.methods.hasher import Hasher, digest

    if shards < 1:
        raise TexthashError(f"an index cannot have {shards} shards.", "set index.shards to 1 or more.")
    hasher = Hasher.load(hasher_dir)
    hasher.check_corpus(PreparedCorpus.open(corpus_path))
    total = hashlib.sha256(digest(hasher_dir).encode())
    total.update((corpus_path / "manifest.json").read_bytes())
    return home.index / f"{hasher.name}-{total.hexdigest()[:12]}-{shards}"


def encode_codes(hasher_dir: Path, corpus_path: Path, index: Path, split: str) -> Path:
    """Encode one split into ``.codes/<split>.npy``, uint8 [documents, bits / 8], unless it exists."""
    from texthash.corpora.dataset import PreparedCorpus
    from texthash.methods.hasher import Hasher

    target = index / _CODES / f"{split}.npy"
    if not target.exists():
        codes = Hasher.load(hasher_dir).encode_split(PreparedCorpus.open(corpus_path).split(split))
        write_array(target, codes)
    return target


def build_shard(hasher_dir: Path, corpus_path: Path, index: Path, shard: int, shards: int) -> None:
    """Write one shard from the codes that :func:`encode_codes` left, unless it exists."""
    from texthash.corpora.dataset import PreparedCorpus
    from texthash.methods.hasher import Hasher, digest

    path = shard_path(index, shard)
    if is_written(path):
        read_manifest(path)
        return
    hasher = Hasher.load(hasher_dir)
    corpus = PreparedCorpus.open(corpus_path)
    write_shard(
        path,
        deal(_rows(corpus, index / _CODES, hasher.bits), shard, shards),
        shard=shard,
        shards=shards,
        bits=hasher.bits,
        model=digest(hasher_dir),
        vocabulary_hash=hasher.vocabulary_hash,
        next_number=sum(len(corpus.split(name)) for name in SPLITS),
    )


def is_built(index: Path, shards: int) -> bool:
    """Whether every shard is there."""
    return all(is_written(shard_path(index, shard)) for shard in range(shards))


def finish(index: Path) -> Path:
    """Check that the shards belong together and drop what was only needed to build them."""
    manifests = read_index(index)
    remove_directory(index / _CODES)
    total = sum(manifest.documents for manifest in manifests)
    say(f"index: {total} documents, {manifests[0].bits} bits, {len(manifests)} shards in {index}")
    return index


def build_index(hasher_dir: Path, corpus_path: Path, home: Home, shards: int = 1) -> Path:
    """Build an index in this process; resumes, and returns at once when it exists.

    Args:
        hasher_dir: A model that ``Hasher.save`` wrote.
        corpus_path: A prepared corpus with the vocabulary of the model.
        home: State directory; the index appears under ``index/``.
        shards: Number of shards.

    Returns:
        Directory of the index.

    Raises:
        ModelMismatchError: model and corpus do not belong together.
    """
    index = index_path(hasher_dir, corpus_path, home, shards)
    if not is_built(index, shards):
        for split in SPLITS:
            encode_codes(hasher_dir, corpus_path, index, split)
        for shard in range(shards):
            build_shard(hasher_dir, corpus_path, index, shard, shards)
    return finish(index)


def _rows(corpus: PreparedCorpus, codes: Path, bits: int) -> Iterator[pa.RecordBatch]:
    number = 0
    for name in SPLITS:
        split = corpus.split(name)
        array = read_array(codes / f"{name}.npy")
        if array.shape != (len(split), bits // 8):
            raise TexthashError(
                f"{codes / name}.npy has shape {array.shape}, {name} needs {(len(split), bits // 8)}.",
                f"delete {codes.parent} and build again.",
            )
        row = 0
        for table in split.documents(_ROWS):
            yield from _table(table, array, row, number, bits)
            row += table.num_rows
            number += table.num_rows
        _check_whole(split, row)


def _table(table: pa.Table, codes: np.ndarray, row: int, number: int, bits: int) -> list[pa.RecordBatch]:
    rows = table.num_rows
    packed = np.ascontiguousarray(codes[row : row + rows])
    columns = {
        "number": pa.array(np.arange(number, number + rows, dtype=np.int64)),
        "id": table["id"],
        "title": table["title"],
        "text": table["text"],
        "labels": table["labels"],
        "code": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(bits // 8), rows, [None, pa.py_buffer(packed.tobytes())]
        ),
    }
    batches: list[pa.RecordBatch] = pa.table(columns).cast(schema(bits)).combine_chunks().to_batches()
    return batches


def _check_whole(split: Split, rows: int) -> None:
    if rows != len(split):
        raise TexthashError(
            f"the prepared split {split.name} has {len(split)} documents but the text of {rows}.",
            "prepare the corpus again.",
        )
