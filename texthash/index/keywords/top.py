"""The k documents of the highest BM25 score, by numpy or by a compiled kernel.

Loading the kernel takes as long as hundreds of searches by numpy, which a program that searches once does not need. It
is loaded by :func:`load_kernel`, or once the searches by numpy have taken about as long. The results are equal to the
last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.hamming.codes import as_readonly
from texthash.index.keywords.bm25 import LengthNorm

Top = Callable[..., tuple[NDArray[np.float64], NDArray[np.int64]]]


class Postings(NamedTuple):
    """Postings of all words, and what the length of their documents does to a score.

    Attributes:
        rows: Document of each posting, int32, ascending for each word.
        counts: Occurrences of the word in it, uint16.
        lengths: Number of words of each document, int32 [N].
        short: Factor of the length of a document without words.
        per_word: What each word adds to it.
        boosts: Factor of the score of each document, above 0, at most 1, float32 [N]; empty where all are 1.
    """

    rows: NDArray[np.int32]
    counts: NDArray[np.uint16]
    lengths: NDArray[np.int32]
    short: float
    per_word: float
    boosts: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        norm: LengthNorm,
        rows: NDArray[np.int32],
        counts: NDArray[np.uint16],
        lengths: NDArray[np.int32],
        boosts: NDArray[np.float32],
    ) -> Postings:
        """Return postings with read-only arrays, as those of a mapped file: the kernel is compiled for one kind."""
        own = boosts if (boosts != 1).any() else boosts[:0]
        rows, counts, lengths, own = (as_readonly(array) for array in (rows, counts, lengths, own))
        return cls(rows, counts, lengths, norm.short, norm.per_word, own)

    def factors(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the factors of the lengths of some documents, float64."""
        return self.short + self.per_word * self.lengths[rows].astype(np.float64)


def plain_top(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    weights: NDArray[np.float64],
    bounds: NDArray[np.float64],
    order: NDArray[np.int64],
    postings: Postings,
    allowed: NDArray[np.bool_],
    k: int,
    floor: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scores float64 and rows int64 of the best documents, in any order.

    Args:
        starts: First posting of each word of the query, int64 [T].
        ends: End of the postings of each word, int64 [T].
        weights: Weight of each word, float64 [T]; the words of a document are summed in this order.
        bounds: Largest contribution of each word to a score, float64 [T]; only the kernel skips postings by it.
        order: Words by these, ascending, int64 [T].
        postings: Postings of all words.
        allowed: Mask of the documents, bool [N]; empty where all are allowed.
        k: Number of documents; equal scores are ordered by row.
        floor: Score that more than k - 1 documents exceed, or 0; only the kernel skips postings by it.
    """
    sums = np.zeros(len(postings.lengths))
    for start, end, weight in zip(starts.tolist(), ends.tolist(), weights.tolist(), strict=True):
        own, occurrences = postings.rows[start:end], postings.counts[start:end].astype(np.float64)
        sums[own] += weight * occurrences / (occurrences + postings.factors(own))
    if len(postings.boosts):
        sums *= postings.boosts
    found = np.flatnonzero(sums if not len(allowed) else sums * allowed)
    best = found[np.lexsort((found, -sums[found]))[:k]]
    return sums[best], best


_WORTH = 100_000_000  # documents that numpy walks through in the time in which the kernel is loaded
_kernels: list[Top] = []
_searched = 0  # documents, by numpy


def load_kernel() -> None:
    """Load or compile the kernel, which later searches of this process use."""
    if not _kernels:
        from texthash.index.keywords._top import top

        nothing, no_weights, all_allowed = np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_)
        no_rows, no_counts = np.empty(0, np.int32), np.empty(0, np.uint16)
        postings = Postings.of(LengthNorm(1.0, 1.2, 0.75), no_rows, no_counts, no_rows, np.empty(0, np.float32))
        top(nothing, nothing, no_weights, no_weights, nothing, postings, all_allowed, 1, 0.0)
        _kernels.append(top)


def top_documents(documents: int) -> Top:
    """Return the function for a search of so many documents: the compiled one once it is loaded, or worth loading."""
    global _searched
    if not _kernels:
        _searched += documents
        if _searched <= _WORTH:
            return plain_top
        load_kernel()
    return _kernels[0]
