"""Hybrid search: fusion of the list by meaning and the list by words.

    score(d) = w gain_semantic(d) + (1 - w) gain_keyword(d),

where the first document of a list has the gain 1, and a document that a list does not contain has none there. There are
two kinds of gains:

scores  max(0, s(d)) / s(first), with the BM25 score of a document in the list by words, and in the list by meaning its
        score by the query's activations or vector, or half of the bits less its distance: each is 0 on average where
        query and document have nothing in common. A convex combination as in Bruch, Gai & Ingber, "An Analysis of
        Fusion Functions for Hybrid Retrieval", 2023.
ranks   (c + 1) / (c + r), with the rank r of the document, from 1: Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion
        Outperforms Condorcet and Individual Rank Learning Methods", 2009, with a weight.

Scores know by how much the first documents of a list are better than the next, ranks do not. Documents of equal score
are in the order of the list by meaning, and those that it does not contain follow in the order of the list by words.

The defaults of :class:`Fusion` hold where neither the request nor the release has its own: a release brings what
:mod:`texthash.deployment.known_items` chose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.api.requests import GainKind

DEPTH = 100  # documents of each list


@dataclass(frozen=True)
class Fusion:
    """How two lists become one.

    Attributes:
        weight: Share w of the list by meaning, 0 to 1.
        kind: Kind of the gains.
        constant: Constant c of the ranks.
    """

    weight: float = 0.4
    kind: GainKind = "scores"
    constant: float = 10.0


class Side(NamedTuple):
    """One of the two lists.

    Attributes:
        numbers: Document numbers, the best first, int64 [n].
        scores: Score of each, descending, float [n], on any scale on which 0 stands for no relation to the query.
    """

    numbers: NDArray[np.int64]
    scores: NDArray[np.floating]

    def gains(self, fusion: Fusion) -> NDArray[np.floating]:
        """Return the gain of each document, from 1 down, float [n]."""
        if fusion.kind == "ranks":
            return (fusion.constant + 1.0) / (fusion.constant + 1.0 + np.arange(len(self.numbers)))
        most = float(self.scores[0]) if len(self.scores) else 0.0
        return np.maximum(self.scores, 0.0) / most if most > 0 else np.zeros(len(self.scores))


@dataclass(frozen=True)
class Fused:
    """Fused hits of one query, the best first.

    Attributes:
        numbers: Document numbers, int64.
        scores: Fused scores, 0 to 1, float64.
        semantic: Position of each in the list by meaning, from 0, int64; -1 if it is not there.
        keyword: Position of each in the list by words, from 0, int64; -1 if it is not there.
    """

    numbers: NDArray[np.int64]
    scores: NDArray[np.float64]
    semantic: NDArray[np.int64]
    keyword: NDArray[np.int64]


def fuse(semantic: Side, keyword: Side, fusion: Fusion, limit: int, offset: int = 0) -> Fused:
    """Fuse the list by meaning and the list by words.

    A list without weight adds no documents, unless the other is empty: a query of which no word occurs is answered by
    its meaning.

    Args:
        semantic: List by meaning.
        keyword: List by words.
        fusion: How they become one.
        limit: Largest number of hits.
        offset: Number of hits to skip.

    >>> near = Side(np.array([7, 3, 5]), np.array([20.0, 12.0, 10.0]))
    >>> words = Side(np.array([5, 8]), np.array([8.0, 2.0]))
    >>> fused = fuse(near, words, Fusion(weight=0.5), 4)
    >>> fused.numbers, fused.scores
    (array([5, 7, 3, 8]), array([0.75 , 0.5  , 0.3  , 0.125]))
    """
    weight = fusion.weight
    if weight in (0, 1) and not len((keyword if weight == 0 else semantic).numbers):
        weight = 1.0 - weight
    count, near_of = len(semantic.numbers), _places(keyword.numbers, semantic.numbers)
    by_both, by_words_alone = np.flatnonzero(near_of >= 0), np.flatnonzero(near_of < 0)
    numbers = np.concatenate([semantic.numbers, keyword.numbers[by_words_alone]])
    near, word = np.full(len(numbers), -1, np.int64), np.full(len(numbers), -1, np.int64)
    near[:count] = np.arange(count)
    word[near_of[by_both]], word[count:] = by_both, by_words_alone
    gains, scores = (1.0 - weight) * keyword.gains(fusion), np.zeros(len(numbers))
    scores[:count] = weight * semantic.gains(fusion)
    scores[word >= 0] += gains[word[word >= 0]]
    listed = np.arange(len(numbers))
    if weight in (0, 1):
        side = word if weight == 0 else near
        listed = np.argsort(side)[np.count_nonzero(side < 0) :]
    best = listed[np.argsort(-scores[listed], kind="stable")[offset : offset + limit]]
    return Fused(numbers[best], scores[best], near[best], word[best])


def _places(numbers: NDArray[np.int64], listed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each number in a list of different ones, int64; -1 if it is not there."""
    if not len(listed):
        return np.full(len(numbers), -1, np.int64)
    order = np.argsort(listed)
    places = order[np.minimum(np.searchsorted(listed, numbers, sorter=order), len(listed) - 1)]
    return np.where(listed[places] == numbers, places, -1)
