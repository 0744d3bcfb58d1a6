"""Searches as the coordinator sends them to a shard, and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from texthash.index.filters.language import Where
from texthash.index.keywords.bm25 import KeywordStatistics
from texthash.index.keywords.postings import KeywordHits
from texthash.index.memory.hits import Hits
from texthash.index.rescoring import Rescoring

if TYPE_CHECKING:
    from texthash.index.memory.cost_model import Plan  # and with it the compiled kernels


@dataclass(frozen=True)
class QueryGroup:
    """Queries that are searched with the same options.

    Attributes:
        codes: Packed codes, uint8 [Q, bits / 8].
        limit: Number of hits per query.
        radius: Maximum Hamming distance of a hit; None sets no maximum.
        where: Condition that a hit fulfils; None allows all documents.
        plan: Search strategy flat, mih or auto; all give the same hits.
        fields: Document fields to return with each hit; None returns no documents, which are fetched after the merge.
        rescoring: Kind of the scores; None for no scores.
        values: Values of rescored queries: activations minus thresholds, float32 [Q, bits], or vectors, float32
            [Q, width].
    """

    codes: NDArray[np.uint8]
    limit: int
    radius: int | None
    where: Where | None
    plan: Plan
    fields: tuple[str, ...] | None
    rescoring: Rescoring | None = None
    values: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ShardResult:
    """Results of one shard for a group of queries.

    Attributes:
        hits: Hits of each query, ordered by (distance, number).
        documents: ``{"id": ..., field: ...}`` for each hit of each query; None if the group has no fields.
        totals: Number of documents within the radius for each query; None without a radius.
        scores: Scores of the hits of each query, float64; None if the group is not rescored.
        filtering: Seconds in which the mask of the condition was made.
    """

    hits: Hits
    documents: list[list[dict[str, Any]]] | None
    totals: NDArray[np.int64] | None
    scores: list[NDArray[np.float64]] | None = None
    filtering: float = 0.0

    @classmethod
    def nothing(cls, group: QueryGroup) -> ShardResult:
        """Return the results of a shard without documents."""
        queries = len(group.codes)
        hits = Hits([np.empty(0, np.uint16)] * queries, [np.empty(0, np.int64)] * queries)
        documents: list[list[dict[str, Any]]] | None = None if group.fields is None else [[]] * queries
        totals = None if group.radius is None else np.zeros(queries, np.int64)
        return cls(hits, documents, totals, None if group.rescoring is None else [np.empty(0)] * queries)


@dataclass(frozen=True)
class KeywordQuery:
    """Query for the words of documents.

    Attributes:
        terms: Words of the query with their numbers of occurrences.
        statistics: Counts over all shards for these words; None takes those of the shard, which is then the only one.
        limit: Number of hits.
        shown: Number of the first hits that an answer can show, whose distances are wanted.
        where: Condition that a hit fulfils; None allows all documents.
        code: Code of the query, whose distances to the hits are wanted; None wants none.
    """

    terms: dict[str, int]
    statistics: KeywordStatistics | None
    limit: int
    shown: int
    where: Where | None
    code: bytes | None


@dataclass(frozen=True)
class KeywordResult:
    """Results of one shard for a query for words.

    Attributes:
        hits: Hits by (score descending, number).
        distances: Distance of the code of each to the query's, int64; -1 where one of them has none, and behind those
            that can be shown.
        filtering: Seconds in which the documents of the condition were selected.
    """

    hits: KeywordHits
    distances: NDArray[np.int64]
    filtering: float = 0.0

    @classmethod
    def nothing(cls) -> KeywordResult:
        """Return the result of a shard without documents."""
        return cls(KeywordHits(np.empty(0, np.int64), np.empty(0)), np.empty(0, np.int64))
