"""Bounds of what words contribute to BM25 scores, by which a search skips the postings of frequent words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.index.keywords.bm25 import LengthNorm


@dataclass(frozen=True, eq=False)
class Limits:
    """Bounds of what each word of a segment contributes to a score.

    Attributes:
        counts: Largest number of its occurrences in a document, uint16 [T].
        lengths: Smallest length of a document that contains it, int32 [T].
    """

    counts: NDArray[np.uint16]
    lengths: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        counts: NDArray[np.uint16],
        lengths: NDArray[np.int32],
    ) -> Limits:
        """Return the bounds of words by their postings; those of a word without any are of no use."""
        words = len(starts) - 1
        most, least = np.zeros(words, np.uint16), np.zeros(words, np.int32)
        some = np.flatnonzero(np.diff(starts))
        if len(some):
            most[some] = np.maximum.reduceat(counts, starts[some])
            least[some] = np.minimum.reduceat(lengths[rows], starts[some])
        return cls(most, least)

    def impacts(self, at: NDArray[np.int64], norm: LengthNorm) -> NDArray[np.float64]:
        """Return upper bounds of ``f / (f + factor)`` in any document for some words, float64."""
        most = self.counts[at].astype(np.float64)
        return most / np.maximum(most + norm.factors(self.lengths[at]), np.finfo(np.float64).tiny)
