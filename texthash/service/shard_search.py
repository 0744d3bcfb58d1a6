"""Search of every shard at once, the merge of what they found, and the documents of the hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from texthash.index.fusion import Fusion
from texthash.index.ranked import Ranked
from texthash.index.releases.release import Release
from texthash.service import tracing
from texthash.service.interfaces import ShardClient
from texthash.service.problems import Problem
from texthash.service.queries import Key, PendingQuery, group
from texthash.service.replicas.shard_calls import ShardResult
from texthash.service.shard_answers import Wanted, answers, documents_of

_Later = tuple[PendingQuery, Ranked, list[dict[str, Any]]]


class ShardSearch:
    """Search by code over the shards of the service.

    Args:
        shards: Client of each shard, in order.
        inline_hits: Number of hits up to which shards send the documents with them; 0 fetches all after the merge.
    """

    def __init__(self, shards: Sequence[ShardClient], inline_hits: int) -> None:
        self._shards = shards
        self._inline_hits = inline_hits

    async def search(
        self, release: Release, groups: dict[Key, list[PendingQuery]]
    ) -> tuple[list[list[ShardResult]], dict[int, Problem]]:
        """Return the results of every shard for every group, empty ones for unavailable shards, and their problems."""
        if not groups:
            return [], {}
        width = release.bits // 8
        query_groups = [group(key, queries, width, self._inline_hits) for key, queries in groups.items()]
        calls = {number: shard.search(release.name, query_groups) for number, shard in enumerate(self._shards)}
        with tracing.span("search", queries=sum(map(len, groups.values()))):
            answered, unavailable = await answers(calls)
        if not answered:
            raise next(iter(unavailable.values()))
        nothing = [ShardResult.nothing(group) for group in query_groups] if unavailable else []
        return [answered.get(number, nothing) for number in calls], unavailable

    async def merge(
        self,
        release: Release,
        groups: dict[Key, list[PendingQuery]],
        found: list[list[ShardResult]],
        fusion: Fusion,
    ) -> None:
        """Set the results of the queries of every group, except those of hybrid queries."""
        later: list[_Later] = []
        for position, (key, queries) in enumerate(groups.items()):
            parts = [shard[position] for shard in found]
            for row, query in enumerate(queries):
                own = [part.scores[row : row + 1] for part in parts if part.scores is not None]
                query.take([part.hits.of(row) for part in parts], own if key.rescoring else None)
                query.filtering = max(query.filtering, *(part.filtering for part in parts))
                if query.request.radius is not None:
                    query.total = sum(int(part.totals[row]) for part in parts if part.totals is not None)
                if key.hybrid:
                    continue
                page, members = query.ranked(fusion)
                if parts[0].documents is None:
                    later.append((query, page, members))
                    continue
                by_number = {
                    int(number): document
                    for part in parts
                    if part.documents is not None
                    for number, document in zip(part.hits.numbers[row].tolist(), part.documents[row], strict=True)
                }
                query.answer([by_number[number] for number in page.numbers.tolist()], members)
        if later:
            await self._fetch(release, later)

    async def complete(self, release: Release, queries: Sequence[PendingQuery], fusion: Fusion) -> None:
        """Fuse the lists of hybrid queries, and fetch the documents of these and of queries by keyword."""
        if queries:
            await self._fetch(release, [(query, *query.ranked(fusion)) for query in queries])

    async def _fetch(self, release: Release, later: list[_Later]) -> None:
        """Fetch the documents of merged hits."""
        lists = [Wanted(page.numbers, page.owners, query.fields) for query, page, _ in later]
        with tracing.span("documents", hits=sum(len(wanted.numbers) for wanted in lists)):
            found = await documents_of(self._shards, release.name, lists)
        for (query, _, members), documents in zip(later, found, strict=True):
            query.answer(documents, members)
