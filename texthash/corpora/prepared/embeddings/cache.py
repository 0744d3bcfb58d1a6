"""Vectors of the documents of a corpus, by a sentence encoder or the user's own, kept on disk and memory-mapped.

They are float32, exactly what the encoder gives for a text that is served later; a million documents by minilm (384
numbers each) are 1.5 GB. Which encoder a study uses (``corpus.features``) is no part of the corpus' edition: the
documents, splits and words are the same with any, and vectors of several lie beside each other. An encoder reads the
raw text, so stemming and stop words do not matter to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.embeddings.encoder import placed, split_identity
from texthash.corpora.prepared.embeddings.sources import identity, is_given, open_embedder, prefers_gpu
from texthash.corpora.prepared.embeddings.stored import META, read_stored
from texthash.errors import CorpusError, ModelMismatchError
from texthash.executor import Claim, Executor, LocalExecutor
from texthash.io.atomic import exclusive, write_json
from texthash.progress import log_line, track

# Texts that are encoded, and remembered as done, together. The same whoever does it: in another company a text is
# padded to another length, which moves its vector in the last digit.
BLOCK_ROWS = 256

# A block is known by its split and first row; with its texts, or their vectors.
Place = tuple[str, int]
Texts = tuple[Place, list[str]]
Vectors = tuple[Place, NDArray[np.float32]]


def encode_blocks(encoder: str, blocks: Iterable[Texts], executor: Executor = LocalExecutor()) -> Iterator[Vectors]:
    """Encode blocks of texts, in any order.

    On a cluster there is one model for each GPU, or for each CPU where there is none or the encoder computes on CPUs.
    A process that dies is started again, on another node if need be, and encodes what it had.

    Args:
        encoder: Identity of the encoder, found on every node by its name.
        blocks: Texts by the place of their block.
        executor: Runs the encoder.
    """
    claim = Claim(prefer_gpu=prefers_gpu(encoder))
    tasks = ({"place": place, "texts": texts} for place, texts in blocks)
    yield from executor.map_with(partial(_opened, encoder, executor.remote), tasks, claim=claim)


def _opened(encoder: str, one_thread: bool) -> Callable[[Place, list[str]], Vectors]:
    """The encoder, loaded in the process where it encodes."""
    if one_thread:
        import torch

        torch.set_num_threads(1)
    opened = open_embedder(encoder)

    def encode(place: Place, texts: list[str]) -> Vectors:
        return place, opened.encode(texts)

    return encode


def ensure_features(corpus: PreparedCorpus, name: str, executor: Executor = LocalExecutor()) -> str:
    """Store the vectors of all documents of a corpus, and of all questions of a pair corpus, unless that is done.

    What was interrupted goes on with its next block.

    Args:
        corpus: The prepared corpus.
        name: Of their source; see :mod:`texthash.corpora.prepared.embeddings.sources`.
        executor: Runs the encoder.

    Returns:
        The identity of the source, of an encoder ``name@digest``.

    Raises:
        UsageError: sentence-transformers is not installed.
        CorpusError: the encoder cannot be found, or the user's own vectors are not fit to be used.
        ModelMismatchError: the vectors that are there are of another model of that name.
    """
    folder = feature_folder(corpus.train.cache, name)
    if is_given(name):
        from texthash.corpora.prepared.embeddings.given import ensure_given

        ensure_given(corpus, name, folder)
        return _meta(folder, name)[0]
    splits = [corpus.split(split) for split in SPLITS]
    if corpus.manifest.pairs:
        splits += [split.queries for split in splits]
    if not all((folder / f"{split.name}.npy").is_file() for split in splits):
        encoder = identity(name)
        with exclusive(folder / ".lock"):
            if not (folder / META).is_file():
                write_json(folder / META, {"encoder": encoder, "width": open_embedder(encoder).width})
            known, width = _meta(folder, name)
            if known != encoder:
                raise ModelMismatchError(
                    f"{folder} holds vectors by {known}, and {name} is {encoder} now.",
                    "delete that folder to encode the documents again.",
                )
            todo = [split for split in splits if not (folder / f"{split.name}.npy").is_file()]
            _encode(todo, folder, encoder, width, executor)
    return _meta(folder, name)[0]


def features_of(corpus: PreparedCorpus, name: str) -> tuple[str, int]:
    """Identity and width of an encoder whose vectors are kept; raises :class:`CorpusError` where they are not."""
    return _meta(feature_folder(corpus.train.cache, name), name)


def open_features(cache: Path, name: str, split: str) -> NDArray[np.float32]:
    """Vectors of a split, float32 [N, width], memory-mapped.

    Raises:
        CorpusError: they have not been made.
        ModelMismatchError: they are by another model than the one whose digest the name holds.
    """
    folder = feature_folder(cache, name)
    known, _ = _meta(folder, name)
    plain, digest = split_identity(name)
    if digest and digest != split_identity(known)[1]:
        raise ModelMismatchError(
            f"{folder} holds vectors by {known}, and {name} is asked for.",
            f"delete that folder and encode the documents again, with corpus.features={plain}.",
        )
    path = folder / f"{split}.npy"
    if not path.is_file():
        raise _absent(folder, name)
    return np.load(path, mmap_mode="r")


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
    """An array that is written in place; what an interrupted run left of it is kept."""
    shape = (max(1, shape[0]), *shape[1:])  # an empty file cannot be mapped
    if path.is_file():
        array = np.load(path, mmap_mode="r+")
        if array.shape == shape and array.dtype == dtype:
            return array
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def feature_folder(cache: Path, name: str) -> Path:
    """Return the folder of the vectors of a source, whose name is made valid in a file system.

    Its content identifies the source exactly.
    """
    plain = identity(name) if is_given(name) else placed(split_identity(name)[0])
    return cache / "features" / re.sub(r"[^\w.-]+", "--", plain).strip("-")


def _meta(folder: Path, name: str) -> tuple[str, int]:
    try:
        record = read_stored(folder)
    except FileNotFoundError:
        raise _absent(folder, name) from None
    return record.encoder, record.width


def _absent(folder: Path, name: str) -> CorpusError:
    return CorpusError(
        f"the documents have no sentence vectors in {folder}.",
        f"set corpus.features={name} and prepare the corpus: texthash prepare, pipelines/prepare.py.",
    )
