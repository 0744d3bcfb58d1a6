"""What words contribute to BM25 scores, by which a search skips the postings of frequent words."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from texthash.index.keywords.bm25 import LengthNorm
from texthash.index.keywords.top import Postings

_MOST_KEPT = 4  # numbers of documents


@dataclass(frozen=True, eq=False)
class Impacts:
    """Impacts ``f / (f + factor)`` of the words of a segment, found at the first use of a word and kept.

    Attributes:
        norm: What the length of a document does to its score.
        starts: First posting of each word, int64 [T + 1].
        postings: Postings of all words.
        live: Mask of documents that are not deleted, bool [N]; None means all of them.
    """

    norm: LengthNorm
    starts: NDArray[np.int64]
    postings: Postings
    live: NDArray[np.bool_] | None
    _reached: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    @cached_property
    def largest(self) -> NDArray[np.float64]:
        """Largest impact of each word, float64 [T]; not a number where it was not needed yet."""
        return np.full(len(self.starts) - 1, np.nan)

    def most(self, words: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the largest impact of each of some words in any document, float64."""
        for word in words[np.isnan(self.largest[words])].tolist():
            self.largest[word] = self._of(word).max(initial=0.0)
        return self.largest[words]

    def reached(self, words: NDArray[np.int64], documents: int) -> NDArray[np.float64]:
        """Return what so many documents reach at least by each word alone, boosts included; 0 if fewer contain it."""
        kept = self._reached_by(documents)
        for word in words[np.isnan(kept[words])].tolist():
            kept[word] = self._read_reached(word, documents)
        return kept[words]

    def _reached_by(self, documents: int) -> NDArray[np.float64]:
        """Return the results of :meth:`reached` by word, float64 [T]; not a number where it was not needed yet."""
        found = self._reached.get(documents)
        if found is None:
            if len(self._reached) >= _MOST_KEPT:
                self._reached.clear()
            found = self._reached[documents] = np.full(len(self.starts) - 1, np.nan)
        return found

    def _read_reached(self, word: int, documents: int) -> float:
        if not 0 < documents <= self.starts[word + 1] - self.starts[word]:
            return 0.0
        rows = self.postings.rows[self.starts[word] : self.starts[word + 1]]
        impacts = self._of(word)
        if len(self.postings.boosts):
            impacts = impacts * self.postings.boosts[rows]
        if self.live is not None:
            impacts = impacts[self.live[rows]]
        return float(np.partition(impacts, -documents)[-documents]) if len(impacts) >= documents else 0.0

    def _of(self, word: int) -> NDArray[np.float64]:
        """Return the impact of a word in each document that contains it, float64."""
        place = slice(self.starts[word], self.starts[word + 1])
        counts = self.postings.counts[place].astype(np.float64)
        factors = self.postings.factors(self.postings.rows[place])
        return counts / np.maximum(counts + factors, np.finfo(np.float64).tiny)
