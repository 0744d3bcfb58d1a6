"""BM25: the relevance of a document to a query by the words that they share.

    score(q, d) = sum_t  q_t idf_t  f_td / (f_td + k1 (1 - b + b |d| / mean |d|)),
    idf_t = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)),

with f_td occurrences of word t in document d of |d| words, n_t of N documents that contain it, and q_t occurrences in
the query (Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; without the constant
factor k1 + 1, as in Lucene). N, n_t and the mean length are those of the whole index at the release that answers: each
shard counts its own, the counts are added, and the score of a document does not depend on its shard. The weights of the
words (:mod:`.weights`) may multiply the sum by a factor of the document.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KeywordStatistics:
    """Counts over the documents of a shard, or of several when added.

    Attributes:
        documents: Number of documents N.
        words: Number of words of all of them.
        frequencies: Number of documents n_t that contain each of some words, int64 [T].
    """

    documents: int
    words: int
    frequencies: NDArray[np.int64]

    def __add__(self, other: KeywordStatistics) -> KeywordStatistics:
        return KeywordStatistics(
            self.documents + other.documents, self.words + other.words, self.frequencies + other.frequencies
        )

    @property
    def mean_length(self) -> float:
        """Mean number of words of a document; 1 where there is none."""
        return self.words / self.documents if self.words else 1.0

    @property
    def idf(self) -> NDArray[np.float64]:
        """Inverse document frequency of each word, float64 [T]."""
        odds = (self.documents - self.frequencies + 0.5) / (self.frequencies + 0.5)
        return np.log1p(odds, dtype=np.float64)


@dataclass(frozen=True)
class LengthNorm:
    """What the length of a document does to its score: k1 (1 - b + b |d| / mean |d|) = ``short + per_word`` |d|.

    Attributes:
        mean: Mean number of words of a document of the whole index.
        k1, b: Constants of BM25.
    """

    mean: float
    k1: float
    b: float

    @property
    def short(self) -> float:
        """Factor of a document without words."""
        return self.k1 * (1.0 - self.b)

    @property
    def per_word(self) -> float:
        """What each word adds to the factor."""
        return self.k1 * self.b / self.mean
