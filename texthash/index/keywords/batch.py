"""Keyword search for several queries at once, by one call of the kernel for each segment of the postings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.index.keywords.bm25 import KeywordStatistics, LengthNorm
from texthash.index.keywords.postings import KeywordHits, KeywordIndex, Segment
from texthash.index.keywords.top import top_of_each
from texthash.index.keywords.weights import WordWeights


class _Words(NamedTuple):
    """Words of several queries, one query after the other.

    Attributes:
        firsts: First word of each query, int64 [Q + 1].
        terms: The words.
        weights: Weight of each, float64.
    """

    firsts: NDArray[np.int64]
    terms: list[str]
    weights: NDArray[np.float64]


def search_each(
    index: KeywordIndex, queries: Sequence[Mapping[str, int]], statistics: Sequence[KeywordStatistics], limit: int
) -> list[KeywordHits]:
    """Return the result of :meth:`KeywordIndex.search` for each of several queries.

    Args:
        index: Postings.
        queries: Words of each query with their numbers of occurrences.
        statistics: Counts over the whole index for the words of each.
        limit: Largest number of hits of a query.
    """
    of_index = {(own.documents, own.words) for own in statistics}
    if top_of_each() is None or len(of_index) != 1:
        return [index.search(query, own, limit) for query, own in zip(queries, statistics, strict=True)]
    every = KeywordStatistics(*of_index.pop(), np.concatenate([own.frequencies for own in statistics]))
    counts = np.asarray([count for query in queries for count in query.values()], np.float64)
    words = _Words(
        np.cumsum([0, *map(len, queries)]), [term for query in queries for term in query], every.idf * counts
    )
    own = index.weights or WordWeights()
    norm = LengthNorm(every.mean_length, own.k1, own.b)
    parts = [_best(segment, words, norm, limit) for segment in index.segments]
    if len(parts) == 1:
        return parts[0]
    return [KeywordHits.best(found, limit)[0] for found in zip(*parts, strict=True)]


def _best(segment: Segment, words: _Words, norm: LengthNorm, limit: int) -> list[KeywordHits]:
    """Return the best documents of a segment for each query."""
    kernel = top_of_each()
    assert kernel is not None
    queries, most = len(words.firsts) - 1, min(limit, len(segment))
    positions = segment.positions(words.terms)
    known = positions >= 0
    firsts = np.concatenate([[0], np.cumsum(known)])[words.firsts]
    scores, rows = np.empty((queries, most)), np.empty((queries, most), np.int64)
    sizes = np.zeros(queries, np.int64)
    if most:
        own = segment.impacts(norm)
        live = np.empty(0, np.bool_) if own.live is None else own.live
        kernel(
            firsts,
            positions[known],
            words.weights[known],
            own.starts,
            own.postings,
            live,
            own.largest,
            own.reached_by(most),
            scores,
            rows,
            sizes,
        )
    return [
        KeywordHits(segment.numbers[rows[query, :size]], scores[query, :size])
        for query, size in enumerate(sizes.tolist())
    ]
