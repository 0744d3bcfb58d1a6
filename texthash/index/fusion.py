"""Hybrid search: fusion of the list by meaning and the list by words.

    score(d) = w / (c + r_semantic(d)) + (1 - w) / (c + r_keyword(d)),

with the ranks of a document in both lists, from 1; a list that does not contain it adds nothing (Cormack, Clarke &
Büttcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning Methods", 2009, with a weight).
Distances and BM25 scores have no common scale, ranks have. The order is deterministic: equal scores are ordered by
document number.

``WEIGHT`` holds where neither the request nor the release has a weight: a release brings its own, which
:mod:`texthash.deployment.known_items` chose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WEIGHT = 0.5
CONSTANT = 10.0
DEPTH = 100


@dataclass(frozen=True)
class Fused:
    """Fused hits of one query, by (score descending, number).

    Attributes:
        numbers: Document numbers, int64.
        scores: Fused scores, float64.
        semantic: Position of each in the list by meaning, from 0, int64; -1 if it is not there.
        keyword: Position of each in the list by words, from 0, int64; -1 if it is not there.
    """

    numbers: NDArray[np.int64]
    scores: NDArray[np.float64]
    semantic: NDArray[np.int64]
    keyword: NDArray[np.int64]


def fuse(
    semantic: NDArray[np.int64],
    keyword: NDArray[np.int64],
    limit: int,
    offset: int = 0,
    *,
    weight: float = WEIGHT,
    constant: float = CONSTANT,
) -> Fused:
    """Fuse two lists of document numbers by reciprocal rank.

    A list without weight adds no documents, unless the other is empty: a query of which no word occurs is answered by
    its meaning.

    Args:
        semantic: Document numbers by meaning, the nearest first, int64.
        keyword: Document numbers by words, the best first, int64.
        limit: Largest number of hits.
        offset: Number of hits to skip.
        weight: Share w of the list by meaning, 0 to 1.
        constant: Constant c of the ranks.

    >>> fuse(np.array([7, 3, 5]), np.array([5, 8]), 4).numbers
    array([5, 7, 3, 8])
    """
    if weight in (0, 1) and not len(keyword if weight == 0 else semantic):
        weight = 1.0 - weight
    numbers, place = np.unique(np.concatenate([semantic, keyword]), return_inverse=True)
    near, word = np.full(len(numbers), -1, np.int64), np.full(len(numbers), -1, np.int64)
    near[place[: len(semantic)]] = np.arange(len(semantic))
    word[place[len(semantic) :]] = np.arange(len(keyword))
    scores = np.zeros(len(numbers))
    for share, places in ((weight, near), (1.0 - weight, word)):
        if share > 0:
            listed = places >= 0
            scores[listed] += share / (constant + 1.0 + places[listed])
    found = np.flatnonzero(scores)
    best = found[np.argsort(-scores[found], kind="stable")[offset : offset + limit]]  # numbers are ascending
    return Fused(numbers[best], scores[best], near[best], word[best])
