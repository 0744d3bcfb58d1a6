"""Keyword search over all shards of an index, in one process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from texthash.index.keywords.postings import KeywordHits

if TYPE_CHECKING:
    from texthash.index.shard import Shard


def search_keywords(
    shards: Sequence[Shard], query: Mapping[str, int], limit: int, labels: Iterable[str] | None = None
) -> tuple[KeywordHits, NDArray[np.int64]]:
    """Return the documents of an index with the highest BM25 scores for a query, and the shard of each.

    Args:
        shards: All shards of the index.
        query: Words of the query with their numbers of occurrences: :meth:`StoredKeywords.query`.
        limit: Largest number of hits.
        labels: Labels of which a hit must have one; None for no restriction.

    Raises:
        NoKeywordsError: The index has no words.
    """
    distinct = None if labels is None else list(labels)
    statistics = reduce(add, [shard.keywords.statistics(list(query)) for shard in shards])
    parts = [shard.keywords.search(query, statistics, limit, distinct) for shard in shards]
    return KeywordHits.best(parts, limit)
