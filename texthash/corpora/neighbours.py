"""Exact nearest neighbours by cosine, block by block: the graphs that some methods learn from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from texthash.corpora.csr_cache import CACHE
from texthash.corpora.storage import exclusive
from texthash.errors import UsageError
from texthash.progress import track

_CELLS = 32_000_000  # similarities held at once: 128 MB of float32


def nearest_by_cosine(
    matrix: csr_matrix, k: int, block: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k most similar other rows of each row.

    Args:
        matrix: csr [N, V], non-negative.
        k: Number of neighbours, below N.
        block: Rows compared at a time; memory is ``block * N`` float32. None: what fits 128 MB.

    Returns:
        ``rows`` int32 [N, k] and cosines ``weights`` float32 [N, k], best first, equal ones by row number. A row
        without words has similarity 0 to all.
    """
    documents = matrix.shape[0]
    if not 1 <= k < documents:
        raise UsageError(f"k={k} neighbours of {documents} documents.", "choose k from 1 to documents - 1.")
    block = block or max(1, min(documents, _CELLS // documents))
    unit = _unit_rows(matrix)
    transposed = unit.T.tocsr()
    rows = np.empty((documents, k), np.int32)
    weights = np.empty((documents, k), np.float32)
    for start in track(range(0, documents, block), "nearest neighbours"):
        similarity = (unit[start : start + block] @ transposed).toarray()
        own = np.arange(len(similarity))
        similarity[own, start + own] = -1.0  # a document is not its own neighbour
        rows[start : start + block], weights[start : start + block] = _best(similarity, k)
    return rows, weights


def cached_graph(
    corpus: Path, k: int, matrix: Callable[[], csr_matrix]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The graph of the training split, memory-mapped from the corpus' cache; computed first if it is not there."""
    directory = corpus / CACHE / f"cosine-{k}"
    if not directory.is_dir():
        partial = directory.with_name(f".{directory.name}")
        # All workers of a training ask at once: one computes, the others wait for it.
        with exclusive(directory.with_name(f".{directory.name}.lock")):
            if not directory.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                rows, weights = nearest_by_cosine(matrix(), k)
                np.save(partial / "rows.npy", rows)
                np.save(partial / "weights.npy", weights)
                partial.rename(directory)
    return np.load(directory / "rows.npy", mmap_mode="r"), np.load(directory / "weights.npy", mmap_mode="r")


def _unit_rows(matrix: csr_matrix) -> csr_matrix:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), np.float64)).ravel()
    unit = matrix.astype(np.float32, copy=True)
    unit.data /= np.repeat(np.where(norms > 0, norms, 1.0), np.diff(unit.indptr)).astype(np.float32)
    return unit


def _best(similarity: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns and values of the k largest of each row, by (value descending, column ascending).

    Below the k-th largest value nothing is taken, above it everything, and of the columns equal to it the first ones.
    """
    boundary = np.partition(similarity, -k, axis=1)[:, -k, None]
    above = similarity > boundary
    tied = similarity == boundary
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= room))
    columns = np.nonzero(chosen)[1].reshape(len(similarity), k)
    values = np.take_along_axis(similarity, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
