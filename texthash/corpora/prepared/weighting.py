"""Weighting of words in a document, computed from the stored counts when batches are built."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from texthash.config import Weighting
from texthash.corpora.words import Vocabulary
from texthash.errors import CorpusError, UsageError

BM25_K1 = 1.2
BM25_B = 0.75
_FREQUENCY: dict[str, Callable[[NDArray], NDArray]] = {
    "tfidf": lambda counts: counts,
    "sublinear_tfidf": lambda counts: 1 + np.log(counts),
    "binary_tfidf": np.ones_like,
}


def weigh(indptr: NDArray, indices: NDArray, counts: NDArray, kind: Weighting, vocabulary: Vocabulary) -> NDArray:
    """Return the weights of the words of documents.

    Args:
        indptr: Start of each document's words, [documents + 1]; begins with 0.
        indices: Numbers of the words, [words].
        counts: Count of each word in its document, [words].
        kind: ``tfidf``: counts times smoothed idf, each document scaled to unit Euclidean length, equal to
            scikit-learn's ``TfidfVectorizer``; ``sublinear_tfidf``: the same with 1 + ln(count) for the count
            (``sublinear_tf=True``); ``binary_tfidf``: with 1 for it (``binary=True``); ``binary``: 1; ``counts``;
            ``bm25``: Robertson's weight with Lucene's idf ``ln(1 + (n - df + 0.5) / (df + 0.5))``, k1 = 1.2, b = 0.75;
            ``unit_bm25``: the same, each document scaled to unit Euclidean length.
        vocabulary: Statistics of the training documents.

    Returns:
        float32 [words].
    """
    if kind == "binary":
        return np.ones(len(indices), np.float32)
    if kind == "counts":
        return np.asarray(counts, np.float32)
    if kind in _FREQUENCY:
        return _at_unit_length(indptr, _FREQUENCY[kind](counts) * vocabulary.idf[indices])
    if kind == "bm25":
        return _bm25(indptr, indices, counts, vocabulary).astype(np.float32)
    if kind == "unit_bm25":
        return _at_unit_length(indptr, _bm25(indptr, indices, counts, vocabulary))
    raise UsageError(f"unknown weighting {kind!r}.", f"use one of {', '.join(get_args(Weighting))}.")


def _bm25(indptr: NDArray, indices: NDArray, counts: NDArray, vocabulary: Vocabulary) -> NDArray[np.float64]:
    if not vocabulary.occurrences:
        raise CorpusError(
            "BM25 needs the mean document length, which this vocabulary does not hold.",
            "use the vocabulary of a prepared corpus.",
        )
    df = vocabulary.document_frequency[indices]
    idf = np.log1p((vocabulary.documents - df + 0.5) / (df + 0.5))
    relative_length = _row_sums(indptr, counts) / vocabulary.average_length
    pivot = np.repeat(BM25_K1 * (1 - BM25_B + BM25_B * relative_length), np.diff(indptr))
    return idf * counts * (BM25_K1 + 1) / (counts + pivot)


def _at_unit_length(indptr: NDArray, values: NDArray) -> NDArray[np.float32]:
    norms = np.sqrt(_row_sums(indptr, values * values))
    return (values / np.repeat(norms, np.diff(indptr))).astype(np.float32)


def _row_sums(indptr: NDArray, values: NDArray) -> NDArray[np.float64]:
    """Sum over each document; 0 for one without words. Rows are summed separately, so they do not affect each other."""
    sums = np.zeros(len(indptr) - 1)
    filled = np.flatnonzero(np.diff(indptr))
    if len(filled):
        sums[filled] = np.add.reduceat(np.asarray(values, np.float64), indptr[filled])
    return sums
