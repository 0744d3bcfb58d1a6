"""Search by keyword over the shards of the service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from texthash.index.keywords.bm25 import KeywordStatistics
from texthash.service.interfaces import ShardClient
from texthash.service.problems import Problem
from texthash.service.queries import PendingQuery
from texthash.service.replicas.shard_calls import KeywordQuery, KeywordResult
from texthash.service.shard_answers import answers

_WORDS_KEPT = 100_000


@dataclass(frozen=True)
class _Counts:
    """Counts over all shards in one release, with those of some words."""

    release: str
    documents: int = 0
    words: int = 0
    frequencies: Mapping[str, int] = field(default_factory=dict)

    def of(self, terms: Iterable[str]) -> KeywordStatistics:
        counts = [self.frequencies[term] for term in terms]
        return KeywordStatistics(self.documents, self.words, np.asarray(counts, np.int64))


class KeywordSearch:
    """Search for the words of queries in all shards, with scores that do not depend on the number of shards.

    The scores need the counts of the whole index. With several shards these are asked for before the search, once for
    each word of a release; a single shard takes its own.

    Args:
        shards: Client of each shard, in order.
    """

    def __init__(self, shards: Sequence[ShardClient]) -> None:
        self._shards = shards
        self._kept = _Counts("")

    async def find(self, release: str, queries: Sequence[PendingQuery]) -> dict[int, Problem]:
        """Set the list by words of every query; return the problems of unavailable shards by their numbers.

        Raises:
            Problem: All shards are unavailable.
        """
        wanted = [query for query in queries if query.terms]
        if not wanted:
            return {}
        counts, unavailable = await self._counts(release, {term for query in wanted for term in query.terms or ()})
        calls = [_call(query, counts) for query in wanted]
        asked = {number: shard.search_keywords(release, calls) for number, shard in enumerate(self._shards)}
        answered, failed = await answers(asked)
        if not answered:
            raise next(iter(failed.values()))
        for position, query in enumerate(wanted):
            query.take_words(
                [answered[number][position] if number in answered else KeywordResult.nothing() for number in asked]
            )
        return unavailable | failed

    async def _counts(self, release: str, terms: set[str]) -> tuple[_Counts | None, dict[int, Problem]]:
        """Return the counts of a release, with those of some words at least; None for a single shard.

        Counts of all shards are kept for later queries.
        """
        if len(self._shards) == 1:
            return None, {}
        kept = self._kept if self._kept.release == release else _Counts(release)
        # A difference of sets would walk through all words that are kept.
        unknown = sorted(term for term in terms if term not in kept.frequencies)
        if not unknown:
            return kept, {}
        asked = {number: shard.keyword_statistics(release, unknown) for number, shard in enumerate(self._shards)}
        answered, failed = await answers(asked)
        if not answered:
            raise next(iter(failed.values()))
        total = reduce(add, answered.values())
        known = dict(kept.frequencies)
        if len(known) > _WORDS_KEPT:
            known = {term: known[term] for term in terms & known.keys()}
        frequencies = known | dict(zip(unknown, total.frequencies.tolist(), strict=True))
        counts = _Counts(release, total.documents, total.words, frequencies)
        if not failed:
            self._kept = counts
        return counts, failed


def _call(query: PendingQuery, counts: _Counts | None) -> KeywordQuery:
    terms = query.terms or {}
    code = query.code if query.searched else None
    request = query.request
    # A hit by words alone has all that are better by words before it in the fused list.
    shown = request.limit + request.offset
    own = None if counts is None else counts.of(terms)
    return KeywordQuery(terms, own, request.depth, shown, query.where, code)
