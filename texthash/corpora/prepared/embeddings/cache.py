"""Computation of the vectors of a corpus' documents, by a sentence encoder or from the user's own files.

They are float32, equal to those that the encoder computes for a text that is served later; a million of minilm (384
numbers each) take 1.5 GB. The source (``corpus.features``) is not part of the corpus' edition: documents,
splits and words do not depend on it, and vectors of several sources are stored beside each other. An encoder reads the
raw text, so stemming and stop words do not affect it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.embeddings.sources import identity, is_given, open_embedder, prefers_gpu
from texthash.corpora.prepared.embeddings.stored import META, feature_folder, features_of
from texthash.corpora.prepared.pairs import Queries
from texthash.corpora.prepared.sample import SampledCorpus
from texthash.errors import ModelMismatchError
from texthash.executor import Claim, Executor, LocalExecutor
from texthash.io.atomic import exclusive, write_array, write_json
from texthash.progress import log_line, track

# Number of texts that are encoded, and recorded as done, together. It does not depend on the workers: among other texts
# a text is padded to another length, which changes the last digit of its vector.
BLOCK_ROWS = 256

# Split and first row of a block; the block with its texts, and with their vectors.
Place = tuple[str, int]
Texts = tuple[Place, list[str]]
Vectors = tuple[Place, NDArray[np.float32]]


def encode_blocks(encoder: str, blocks: Iterable[Texts], executor: Executor = LocalExecutor()) -> Iterator[Vectors]:
    """Encode blocks of texts, in any order.

    On a cluster there is one model for each GPU, or for each CPU if there is none or the encoder computes on CPUs. A
    process that dies is started again, on another node if necessary, and encodes its blocks.

    Args:
        encoder: Identity of the encoder, which every node finds by its name.
        blocks: Texts with split and first row of their block.
        executor: Executor of the encoder.
    """
    claim = Claim(prefer_gpu=prefers_gpu(encoder))
    tasks = ({"place": place, "texts": texts} for place, texts in blocks)
    yield from executor.map_with(partial(_opened, encoder, executor.remote), tasks, claim=claim)


def _opened(encoder: str, one_thread: bool) -> Callable[[Place, list[str]], Vectors]:
    """Load the encoder in this process, and return the function that encodes a block."""
    if one_thread:
        import torch

        torch.set_num_threads(1)
    opened = open_embedder(encoder)

    def encode(place: Place, texts: list[str]) -> Vectors:
        return place, opened.encode(texts)

    return encode


def ensure_features(
    corpus: PreparedCorpus, name: str, executor: Executor = LocalExecutor(), of: Collection[str] = SPLITS
) -> str:
    """Store the vectors of the documents of a corpus, and of the questions of a pair corpus, unless they are stored.

    An interrupted call resumes with the next block.

    Those of a sample are taken from the whole corpus where these are stored.

    Args:
        corpus: Prepared corpus, or a sample of one.
        name: Name of the source; see :mod:`texthash.corpora.prepared.embeddings.sources`.
        executor: Executor of the encoder.
        of: Splits whose vectors are stored; the user's own are, of all.

    Returns:
        Identity of the source, for an encoder ``name@digest``.

    Raises:
        UsageError: sentence-transformers is not installed.
        CorpusError: The encoder cannot be found, or the user's own vectors are invalid.
        ModelMismatchError: The stored vectors are of another model of that name.
    """
    folder = feature_folder(corpus.cache, name)
    if isinstance(corpus, SampledCorpus):
        of = ("train",)
        if is_given(name):
            ensure_features(corpus.whole, name)
        if (feature_folder(corpus.whole.cache, name) / "train.npy").is_file():
            _take(corpus, name, folder)
            return features_of(corpus.cache, name)[0]
    if is_given(name):
        from texthash.corpora.prepared.embeddings.given import ensure_given

        ensure_given(corpus, name, folder)
        return features_of(corpus.cache, name)[0]
    splits = [corpus.split(split) for split in SPLITS if split in of]
    if corpus.manifest.pairs:
        splits += [Queries(split) for split in splits]
    if not all((folder / f"{split.name}.npy").is_file() for split in splits):
        encoder = identity(name)
        with exclusive(folder / ".lock"):
            if not (folder / META).is_file():
                write_json(folder / META, {"encoder": encoder, "width": open_embedder(encoder).width})
            known, width = features_of(corpus.cache, name)
            if known != encoder:
                raise ModelMismatchError(
                    f"{folder} holds vectors by {known}, and {name} is {encoder} now.",
                    "delete that folder to encode the documents again.",
                )
            todo = [split for split in splits if not (folder / f"{split.name}.npy").is_file()]
            _encode(todo, folder, encoder, width, executor)
    return features_of(corpus.cache, name)[0]


def _take(sample: SampledCorpus, name: str, folder: Path) -> None:
    """Store the vectors of a sample, which are stored with those of the whole corpus."""
    encoder, width = features_of(sample.whole.cache, name)
    with exclusive(folder / ".lock"):
        if not (folder / "train.npy").is_file():
            write_json(folder / META, {"encoder": encoder, "width": width})
            write_array(folder / "train.npy", sample.whole.train.dense(encoder)[sample.rows])


def _encode(splits: list[Split], folder: Path, encoder: str, width: int, executor: Executor) -> None:
    vectors, done = {}, {}
    for split in splits:
        blocks = -(-len(split) // BLOCK_ROWS)
        vectors[split.name] = _resumed(folder / f".{split.name}.npy", np.float32, (len(split), width))
        done[split.name] = _resumed(folder / f".{split.name}.done.npy", np.uint8, (blocks,))
    total = sum(len(flags) for flags in done.values())
    if kept := sum(int(flags.sum()) for flags in done.values()):
        log_line(f"{kept} of {total} blocks of {BLOCK_ROWS} documents are encoded already")
    todo = (block for split in splits for block in _texts(split) if not done[split.name][block[0][1] // BLOCK_ROWS])
    for (name, start), some in track(encode_blocks(encoder, todo, executor), "sentence vectors", total - kept):
        vectors[name][start : start + len(some)] = some
        vectors[name].flush()
        done[name][start // BLOCK_ROWS] = 1
    for name in vectors:
        (folder / f".{name}.npy").rename(folder / f"{name}.npy")
        (folder / f".{name}.done.npy").unlink()


def _texts(split: Split) -> Iterator[Texts]:
    texts = (text for table in split.documents() for text in table["text"].to_pylist())
    for start in range(0, len(split), BLOCK_ROWS):
        yield (split.name, start), list(islice(texts, BLOCK_ROWS))


def _resumed(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """Open an array that is written in place; keep the content of an interrupted run."""
    shape = (max(1, shape[0]), *shape[1:])  # an empty file cannot be mapped
    if path.is_file():
        array = np.load(path, mmap_mode="r+")
        if array.shape == shape and array.dtype == dtype:
            return array
    return np.lib.format.open_memmap(path, "w+", dtype, shape)
