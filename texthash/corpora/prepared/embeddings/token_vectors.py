"""Vectors of the word pieces of documents, the last hidden states of a sentence encoder, kept on disk.

They take ``2 d`` bytes a piece: float16 [pieces, d], d at most 64, of all documents of a split behind each other. Wider
ones are reduced to the leading principal components of the pieces of 2,000 training documents. 20 Newsgroups at 256
pieces by minilm are 0.3 GB in place of 1.9. The pieces that frame every text ([CLS], [SEP]) are left out.

    features/<source>/tokens/   projection.npy [D, d] and mean.npy [D]
                                <split>/<first row>.npz     blocks that are encoded, while others are not
                                <split>.npy, <split>.indptr.npy
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.embeddings.cache import BLOCK_ROWS
from texthash.corpora.prepared.embeddings.sources import gives_token_vectors, open_embedder, prefers_gpu
from texthash.corpora.prepared.embeddings.stored import feature_folder, open_features
from texthash.errors import UsageError
from texthash.executor import Claim, Executor, LocalExecutor
from texthash.io.atomic import exclusive, whole, write_array
from texthash.io.ragged import indptr_of
from texthash.progress import track

WIDTH = 64
_SAMPLE = 2_000  # training documents whose pieces decide the components


class TokenVectors(NamedTuple):
    """Vectors of the pieces of documents: ``indptr`` [N + 1] and ``values`` float16 [pieces, d], memory-mapped."""

    indptr: NDArray[np.int64]
    values: NDArray[np.float16]


@runtime_checkable
class TokenEmbedder(Protocol):
    """Texts to vectors of their pieces."""

    def token_vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the vectors of the pieces of each text, float32 [pieces, D]."""
        ...


def open_token_embedder(name: str) -> TokenEmbedder:
    """Return what turns texts into vectors of their pieces; it is opened once in each process.

    Raises:
        UsageError: The source gives one vector a text and none of its pieces.
        CorpusError: There is no such sentence encoder.
    """
    if gives_token_vectors(name):
        embedder = open_embedder(name)
        if isinstance(embedder, TokenEmbedder):
            return embedder
    raise UsageError(
        f"{name} gives one vector for each text, and none for its word pieces.",
        "set corpus.features to a sentence encoder that is computed here, such as minilm; or choose a method that "
        "reads one vector a document, such as sapvae.",
    )


def token_width(width: int) -> int:
    """Return the width d of stored vectors, of an encoder whose own have ``width`` D."""
    return min(width, WIDTH)


def reduce_width(
    vectors: NDArray[np.float32], mean: NDArray[np.float32], projection: NDArray[np.float32]
) -> NDArray[np.float16]:
    """Return (x - mean) W of vectors x [pieces, D], or x itself if it is narrow enough.

    The product is in double precision, so that it does not depend on the number of rows.
    """
    if vectors.shape[1] > WIDTH:
        return ((vectors.astype(np.float64) - mean) @ projection.astype(np.float64)).astype(np.float16)
    return vectors.astype(np.float16)


def projection_of(train: Split, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean [D] and projection W [D, d] of the training pieces; computed unless they are there."""
    open_features(train.cache, name, train.name)  # they are of the encoder that is named
    folder = feature_folder(train.cache, name) / "tokens"
    with exclusive(folder / ".projection.lock"):
        if not (folder / "projection.npy").is_file():
            mean, projection = _components(train, name)
            for array, values in (("mean", mean), ("projection", projection)):
                write_array(folder / f"{array}.npy", values)
    return np.load(folder / "mean.npy"), np.load(folder / "projection.npy")


def ensure_token_vectors(split: Split, name: str, executor: Executor = LocalExecutor()) -> TokenVectors:
    """Return the vectors of the pieces of a split; each is encoded once, and what was interrupted goes on.

    Args:
        split: The split.
        name: Identity of the sentence encoder, whose vectors of the documents have been stored.
        executor: Runs the encoder.

    Raises:
        CorpusError: The documents have no sentence vectors.
        ModelMismatchError: They are of another model.
        UsageError: The source gives no vectors of pieces.
    """
    open_features(split.cache, name, split.name)
    folder = feature_folder(split.cache, name) / "tokens"
    values, indptr = folder / f"{split.name}.npy", folder / f"{split.name}.indptr.npy"
    if not values.is_file():
        mean, projection = projection_of(split.train, name)
        with exclusive(folder / f".{split.name}.lock"):
            if not values.is_file():
                _encode(split, name, folder / split.name, mean, projection, executor)
                _join(split, folder / split.name, indptr, values, projection.shape[1])
                shutil.rmtree(folder / split.name)
    return TokenVectors(np.load(indptr, mmap_mode="r"), np.load(values, mmap_mode="r"))


def _components(train: Split, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    embedder = open_token_embedder(name)
    every = max(1, len(train) // _SAMPLE)
    texts = [text for row, text in enumerate(_texts(train)) if row % every == 0]
    count, total, square = 0, np.zeros(1), np.zeros((1, 1))
    for start in track(range(0, len(texts), BLOCK_ROWS), "components of word pieces"):
        pieces = np.concatenate(embedder.token_vectors(texts[start : start + BLOCK_ROWS])).astype(np.float64)
        count, total, square = count + len(pieces), total + pieces.sum(axis=0), square + pieces.T @ pieces
    width = len(total)
    if width <= WIDTH or not count:
        return np.zeros(width, np.float32), np.eye(width, dtype=np.float32)
    mean = total / count
    _, vectors = np.linalg.eigh(square / count - np.outer(mean, mean))  # eigenvalues ascend
    return mean.astype(np.float32), vectors[:, ::-1][:, :WIDTH].astype(np.float32)


def _encode(
    split: Split,
    name: str,
    folder: Path,
    mean: NDArray[np.float32],
    projection: NDArray[np.float32],
    executor: Executor,
) -> None:
    folder.mkdir(exist_ok=True)
    texts = _texts(split)
    blocks = ((start, list(islice(texts, BLOCK_ROWS))) for start in range(0, len(split), BLOCK_ROWS))
    tasks = ({"start": start, "texts": some} for start, some in blocks if not (folder / f"{start}.npz").is_file())
    make = partial(_opened, name, mean, projection)
    done = executor.map_with(make, tasks, claim=Claim(prefer_gpu=prefers_gpu(name)))
    for start, lengths, values in track(done, "vectors of word pieces", -(-len(split) // BLOCK_ROWS)):
        with whole(folder / f"{start}.npz") as unfinished, unfinished.open("wb") as file:
            np.savez(file, lengths=lengths, values=values)


def _opened(
    name: str, mean: NDArray[np.float32], projection: NDArray[np.float32]
) -> Callable[[int, list[str]], tuple[int, NDArray[np.int64], NDArray[np.float16]]]:
    """The encoder, loaded in the process where it encodes."""
    embedder = open_token_embedder(name)

    def encode(start: int, texts: list[str]) -> tuple[int, NDArray[np.int64], NDArray[np.float16]]:
        parts = [reduce_width(vectors, mean, projection) for vectors in embedder.token_vectors(texts)]
        return start, np.array([len(part) for part in parts], np.int64), np.concatenate(parts)

    return encode


def _join(split: Split, folder: Path, indptr_file: Path, values_file: Path, width: int) -> None:
    parts = [folder / f"{start}.npz" for start in range(0, len(split), BLOCK_ROWS)]
    indptr = indptr_of(np.concatenate([np.empty(0, np.int64), *(np.load(part)["lengths"] for part in parts)]))
    np.save(indptr_file, indptr)
    with whole(values_file) as unfinished:
        shape = (max(1, int(indptr[-1])), width)  # an empty file cannot be mapped
        joined = np.lib.format.open_memmap(unfinished, "w+", np.float16, shape)
        row = 0
        for part in parts:
            values = np.load(part)["values"]
            joined[row : row + len(values)] = values
            row += len(values)
        joined.flush()


def _texts(split: Split) -> Iterator[str]:
    return (text for table in split.documents() for text in table["text"].to_pylist())
