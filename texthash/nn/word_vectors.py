"""Vectors of words from their co-occurrence in the training documents, in closed form.

counts      n_wv = number of times that v stands within ``window`` words of w
PPMI        M_wv = max(0, log n_wv N / (n_w n_v)),  n_w = sum_v n_wv, N = sum_w n_w      (Church & Hanks, 1990)
vectors     U_d S_d^{1/2} of the leading d singular values of M = U S V^T                (Levy & Goldberg, 2014)

They stand in for vectors that were pretrained on a large corpus, and for the co-occurrences of a knowledge base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def cooccurrences(indptr: NDArray[np.integer], tokens: NDArray[np.integer], words: int, window: int) -> csr_matrix:
    """Return n [V, V], symmetric, float64.

    Args:
        indptr: Start of each document in ``tokens``, [N + 1].
        tokens: Word numbers in the order of the text.
        words: Size V of the vocabulary.
        window: Distance up to which two words of a document count as one pair.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    document = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    numbers, counts = np.asarray(tokens, np.int64), csr_matrix((words, words))
    for distance in range(1, window + 1):
        same = document[distance:] == document[:-distance]
        first, second = numbers[:-distance][same], numbers[distance:][same]
        counts += coo_matrix((np.ones(len(first)), (first, second)), shape=(words, words)).tocsr()
    return (counts + counts.T).tocsr()


def positive_information(counts: csr_matrix) -> csr_matrix:
    """Return M of :mod:`~texthash.nn.word_vectors`, sparse [V, V], of counts n [V, V]."""
    totals = np.asarray(counts.sum(axis=1)).ravel()
    found = counts.tocoo()
    values = np.log(found.data * totals.sum() / (totals[found.row] * totals[found.col]))
    keep = values > 0
    from scipy.sparse import csr_matrix

    return csr_matrix((values[keep], (found.row[keep], found.col[keep])), shape=counts.shape)


def word_vectors(information: csr_matrix, width: int) -> NDArray[np.float32]:
    """Return vectors of words, float32 [V, d], from M [V, V]; a word without neighbours has the vector 0.

    Where M has fewer than d singular values, the last columns are 0. In each column the entry of the largest size is
    positive.
    """
    from scipy.sparse.linalg import svds

    rank = min(width, information.shape[0] - 1)
    vectors = np.zeros((information.shape[0], width), np.float32)
    if rank < 1 or not information.nnz:
        return vectors
    start = np.random.default_rng(0).standard_normal(information.shape[0])
    left, values, _ = svds(information.astype(np.float64), k=rank, v0=start)
    order = np.argsort(-values)
    left = left[:, order] * np.sqrt(values[order].clip(min=0))
    largest = left[np.abs(left).argmax(axis=0), np.arange(rank)]
    vectors[:, :rank] = left * np.where(largest < 0, -1.0, 1.0)
    return vectors
