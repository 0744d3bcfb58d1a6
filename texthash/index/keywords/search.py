"""Keyword search over all shards of an index, in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from texthash.index.keywords.postings import KeywordHits

if TYPE_CHECKING:
    from texthash.index.filters.language import Where
    from texthash.index.searched import SearchedShard


def search_shards(
    shards: Sequence[SearchedShard], query: Mapping[str, int], limit: int, where: Where | None = None
) -> list[KeywordHits]:
    """Return the best documents of each shard, with scores of the whole index.

    Args:
        shards: All shards of the index.
        query: Words of the query with their numbers of occurrences: :meth:`StoredKeywords.query`.
        limit: Largest number of hits of a shard.
        where: Condition that a hit must fulfil; None for no restriction.

    Raises:
        NoKeywordsError: The index has no words.
    """
    statistics = reduce(add, [shard.keywords.statistics(list(query)) for shard in shards])
    return [shard.keywords.search(query, statistics, limit, where) for shard in shards]
