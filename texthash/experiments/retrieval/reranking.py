"""Rows of a method that only re-ranks: the first documents of another row, in its order.

re-ranked     the first documents of a row in the order of a re-ranker, and all later ones in theirs, as in a service
in the pool   the first documents by words alone, in the order of a row: which of some ways to order a pool is best

Documents of a pool that a row does not list are tied behind the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from texthash.evaluation.retrieval.ranked import Ranked
from texthash.evaluation.retrieval.runs import DEPTH
from texthash.evaluation.retrieval.table import Row
from texthash.models.text_reranker import TextReranker

CANDIDATES = 50
"""Number of first documents that are ordered again, that of the service's default."""


def reranked_row(row: Row, reranker: TextReranker, documents: Sequence[str], candidates: int = CANDIDATES) -> Row:
    """Return the row of the first documents of another one, ordered again.

    Args:
        row: Row whose first documents are ordered.
        reranker: Model that scores their texts.
        documents: Texts of all documents of the collection.
        candidates: Number of documents that are ordered.
    """

    def search(queries: Sequence[str]) -> Iterator[Ranked]:
        for query, ranked in zip(queries, row.search(queries), strict=True):
            found = ranked.in_order(DEPTH).documents
            first, later = found[:candidates], found[candidates:]
            scores = reranker.scores(query, [documents[number] for number in first.tolist()]).astype(np.float64)
            below = scores.min(initial=0.0) - 1.0 - np.arange(len(later))
            yield Ranked(np.concatenate([first, later]), np.concatenate([scores, below]))

    how = f"the first {candidates} of {row.name} by {reranker.name}, which reads their texts"
    return Row(f"{row.name}, then {reranker.name}", search, how, row.bytes_per_document)


class PoolRows:
    """Rows of the first documents of one row by words, which are found once for each query.

    Args:
        row: Row whose first documents are the pool of a query.
        candidates: Number of them.
    """

    def __init__(self, row: Row, candidates: int = CANDIDATES) -> None:
        self._row, self._candidates = row, candidates
        self._pools: dict[str, NDArray[np.int64]] = {}

    def ordered(self, row: Row) -> Row:
        """Return the row of the pools in the order of a row."""

        def search(queries: Sequence[str]) -> Iterator[Ranked]:
            pools = self._of(queries)
            for query, ranked in zip(queries, row.search(queries), strict=True):
                pool = pools[query]
                order = np.argsort(ranked.documents)
                places = np.searchsorted(ranked.documents, pool, sorter=order).clip(max=max(0, len(order) - 1))
                scores = np.full(len(pool), ranked.scores.min(initial=0.0) - 1.0)
                if len(order):
                    known = ranked.documents[order[places]] == pool
                    scores[known] = ranked.scores[order[places[known]]]
                yield Ranked(pool, scores)

        return Row(f"pool: {row.name}", search, f"the first {self._candidates} of {self._row.name} by {row.name}")

    def reranked(self, reranker: TextReranker, documents: Sequence[str]) -> Row:
        """Return the row of the pools in the order of a re-ranker."""

        def search(queries: Sequence[str]) -> Iterator[Ranked]:
            pools = self._of(queries)
            for query in queries:
                texts = [documents[number] for number in pools[query].tolist()]
                yield Ranked(pools[query], reranker.scores(query, texts))

        return Row(f"pool: {reranker.name}", search, f"the first {self._candidates} of {self._row.name} by their bits")

    def _of(self, queries: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        new = [query for query in dict.fromkeys(queries) if query not in self._pools]
        found = (ranked.in_order(self._candidates).documents for ranked in self._row.search(new))
        self._pools.update(zip(new, found, strict=True))
        return self._pools
