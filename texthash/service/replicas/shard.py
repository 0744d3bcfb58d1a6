"""Server of one shard of the index: many queries per call, each call pinned to a release."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.config import DOCUMENT_COPIES_BYTES, MAPPED_FILES_BYTES
from texthash.index.filters.facets import FacetType
from texthash.index.filters.language import Where
from texthash.index.filters.order import After, Listed, Sort
from texthash.index.filters.parts import ValueCounts
from texthash.index.keywords.analysis import document_text
from texthash.index.keywords.bm25 import KeywordStatistics
from texthash.index.keywords.postings import KeywordHits
from texthash.index.mapped_contents import MappedFiles
from texthash.index.matches import Matches, count_in, list_in
from texthash.index.releases.release import CURRENT, read_release, readable_releases
from texthash.index.rescoring import scores_of
from texthash.index.shard import Shard, StoredCode
from texthash.index.storage.document_copies import document_copies
from texthash.paths import StateDir, resolve_home
from texthash.service import tracing
from texthash.service.metrics import ShardMetrics
from texthash.service.replicas.free_memory import return_freed_memory
from texthash.service.replicas.release_cache import ReleaseCache
from texthash.service.replicas.shard_calls import KeywordQuery, KeywordResult, QueryGroup, ShardResult
from texthash.service.replicas.short_work import ShortWork

_MOST_MAPPED = 1_000  # documents that are read at once from mapped memory on the event loop
_HITS = 100  # hits that take about as long as what each query costs besides them


class ShardServer:
    """Server of one shard.

    Args:
        home: State directory, absolute.
        release: Name of the release to open at once; ``"current"`` opens the newest one with this number of shards.
        number: Number of the shard.
        shards: Number of shards of the service; None takes that of the release.
        copies_bytes: Disk of this node for copies of documents in an object store.
        mapped_bytes: Disk of this node for files from which its processes map shards.
    """

    tolerated: tuple[type[Exception], ...] = ()
    """Errors of a shard that cannot be opened with which the server starts nevertheless."""

    def __init__(
        self,
        home: str,
        release: str,
        number: int,
        shards: int | None = None,
        copies_bytes: int = DOCUMENT_COPIES_BYTES,
        mapped_bytes: int = MAPPED_FILES_BYTES,
    ) -> None:
        self._home = resolve_home(home)
        self._copies = document_copies(copies_bytes)
        self._files = MappedFiles(mapped_bytes, apart=True) if mapped_bytes else None
        self._number = number
        self._metrics = ShardMetrics(number)
        self._shards = ReleaseCache(
            self._open, _matching_release(self._home, release, shards), tolerated=self.tolerated
        )
        self._work = ShortWork()

    async def search(self, release: str, groups: Sequence[QueryGroup]) -> list[ShardResult]:
        """Search every group. Raises as :meth:`texthash.index.shard.Shard.search`."""
        shard = await self._shards.get(release)
        start = time.perf_counter()
        kind, size = _kind_of(shard, groups)
        with tracing.span("shard.search", shard=self._number):
            found = await self._work.run(kind, size, lambda: [_search(shard, group) for group in groups])
        self._metrics.searched(time.perf_counter() - start)
        return found

    async def keyword_statistics(self, release: str, terms: Sequence[str]) -> KeywordStatistics:
        """Return the counts of this shard for some words."""
        shard = await self._shards.get(release)
        return await asyncio.to_thread(shard.keywords.statistics, terms)

    async def search_keywords(self, release: str, queries: Sequence[KeywordQuery]) -> list[KeywordResult]:
        """Search for the words of every query."""
        shard = await self._shards.get(release)
        start = time.perf_counter()
        size = 1 + sum(len(query.terms) for query in queries)
        kind = None if any(query.where is not None for query in queries) else ("keywords", len(shard).bit_length())
        with tracing.span("shard.keywords", shard=self._number):
            found = await self._work.run(kind, size, lambda: _search_keywords(shard, queries))
        self._metrics.searched(time.perf_counter() - start)
        return found

    async def documents(self, release: str, wanted: Sequence[tuple[list[int], tuple[str, ...]]]) -> list[list[dict]]:
        """Return documents by number, for several lists of (numbers, fields) at once."""
        shard = await self._shards.get(release)
        together: dict[tuple[str, ...], list[int]] = {}  # a lookup costs nearly the same for one number as for all
        for numbers, fields in wanted:
            together.setdefault(fields, []).extend(numbers)
        found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        with tracing.span("shard.documents", shard=self._number):
            for fields, numbers in together.items():
                mapped = shard.mapped_documents(numbers, fields) if len(numbers) <= _MOST_MAPPED else None
                found[fields] = await asyncio.to_thread(shard.documents, numbers, fields) if mapped is None else mapped
        following = {fields: iter(documents) for fields, documents in found.items()}
        return [[next(following[fields]) for _ in numbers] for numbers, fields in wanted]

    async def codes_of(self, release: str, ids: Sequence[str]) -> dict[str, StoredCode]:
        """Return the stored codes of those ids that this shard holds."""
        shard = await self._shards.get(release)
        return await asyncio.to_thread(shard.codes_of, ids)

    async def vectors_of(self, release: str, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        """Return the stored vectors of those ids that this shard holds."""
        shard = await self._shards.get(release)
        return await asyncio.to_thread(shard.vectors_of, ids)

    async def document(self, release: str, document_id: str) -> dict[str, Any] | None:
        """Return a document with its code by id; None if this shard does not hold it."""
        shard = await self._shards.get(release)
        return await asyncio.to_thread(shard.document, document_id)

    async def count(self, release: str, where: Where | None) -> int:
        """Return the number of documents, or of those that fulfil a condition."""
        shard = await self._shards.get(release)
        return await asyncio.to_thread(shard.count, where)

    async def facets(
        self, release: str, matches: Matches, types: Mapping[str, FacetType]
    ) -> tuple[int, dict[str, ValueCounts]]:
        """Return the number of matching documents, and the counts of each facet among them."""
        shard = await self._shards.get(release)
        return await asyncio.to_thread(count_in, shard, matches, types)

    async def page(
        self, release: str, where: Where | None, sort: Sort | None, after: After | None, limit: int
    ) -> tuple[int, Listed]:
        """Return the number of documents that fulfil a condition, and the first of them after a document."""
        shard = await self._shards.get(release)
        return await asyncio.to_thread(list_in, shard, where, sort, after, limit)

    async def example(self, release: str) -> str | None:
        """Return the id of the first document, for the examples of the documentation; None for an empty shard."""
        shard = await self._shards.get(release)
        found = await asyncio.to_thread(shard.documents, shard.numbers[:1], ())
        return str(found[0]["id"]) if found else None

    async def sample(self, release: str, count: int) -> list[str]:
        """Return the titles and texts of at most ``count`` documents, evenly spaced in the shard."""
        shard = await self._shards.get(release)
        numbers = shard.numbers
        rows = np.unique(np.linspace(0, max(0, len(numbers) - 1), min(count, len(numbers)), dtype=np.int64))
        found = await asyncio.to_thread(shard.documents, numbers[rows], ("title", "text"))
        return [document_text(document["title"], document["text"]) for document in found]

    async def ping(self, release: str) -> bool:
        """Return True once the shard is open in this release."""
        await self._shards.get(release)
        return True

    async def self_test(self) -> None:
        """Search for one code and record the size; raises the error of a shard that cannot be searched."""
        shard = self._shards.newest
        if shard is None:
            return
        self._metrics.holds(shard.size_bytes, shard.documents_are_local)
        shard.search(np.zeros((1, shard.manifest.bits // 8), np.uint8), 1)

    def _open(self, release: str, newest: Shard | None) -> Shard:
        record = read_release(self._home, release)
        shard = record.open_shard(self._home, self._number, newest, self._copies, self._files)
        shard.warmup()
        return_freed_memory()
        return shard


def _matching_release(home: StateDir, release: str, shards: int | None) -> str:
    """Return the name of the release; for ``"current"`` of the newest one with this number of shards.

    The current index may have another number of shards than the service was started for.
    """
    current = read_release(home, release)
    if release != CURRENT or shards is None or len(current.shards) == shards:
        return current.name
    return next(found.name for found in reversed(readable_releases(home)) if len(found.shards) == shards)


def _search_keywords(shard: Shard, queries: Sequence[KeywordQuery]) -> list[KeywordResult]:
    found = _keyword_hits(shard, queries)
    coded = [
        (query.code, hits.numbers[: query.shown]) for query, (hits, _) in zip(queries, found, strict=True) if query.code
    ]
    near = iter(shard.distances_of_each([code for code, _ in coded], [numbers for _, numbers in coded]))
    results = []
    for query, (hits, filtering) in zip(queries, found, strict=True):
        distances = np.full(len(hits.numbers), -1, np.int64)
        if query.code:
            distances[: query.shown] = next(near)
        results.append(KeywordResult(hits, distances, filtering))
    return results


def _keyword_hits(shard: Shard, queries: Sequence[KeywordQuery]) -> list[tuple[KeywordHits, float]]:
    """Return the hits of each query, and the seconds of its condition."""
    found = []
    for query in queries:
        start, filtering = time.perf_counter(), 0.0
        if query.where is not None:
            shard.select(query.where)
            filtering = time.perf_counter() - start
        statistics = query.statistics or shard.keywords.statistics(list(query.terms))
        found.append((shard.keywords.search(query.terms, statistics, query.limit, query.where), filtering))
    return found


def _kind_of(shard: Shard, groups: Sequence[QueryGroup]) -> tuple[tuple[object, ...] | None, int]:
    """Return kind and size of a pass.

    Filters may have to be prepared, rescoring may read vectors, and the time of a search within a radius depends on it:
    a pass with any of them has no kind.
    """
    if any(group.where is not None or group.radius is not None or group.rescoring == "float" for group in groups):
        return None, 1
    if any(group.fields is not None for group in groups):
        return None, 1
    plans = frozenset((group.plan, group.rescoring) for group in groups)
    return (plans, len(shard).bit_length()), sum(len(group.codes) * (_HITS + group.limit) for group in groups)


def _search(shard: Shard, group: QueryGroup) -> ShardResult:
    start = time.perf_counter()
    shard.prepare_filter(group.where)
    filtering = time.perf_counter() - start
    hits = shard.search(group.codes, group.limit, radius=group.radius, where=group.where, plan=group.plan)
    totals = None
    if group.radius is not None:
        totals = shard.total_within_radius(group.codes, group.radius, where=group.where)
    scores = None
    if group.rescoring is not None and group.values is not None:
        scores = scores_of(shard, group.rescoring, group.values, hits)
    if group.fields is None:
        return ShardResult(hits, None, totals, scores, filtering)
    documents = iter(shard.documents(np.concatenate(hits.numbers), group.fields))
    found = [[next(documents) for _ in numbers] for numbers in hits.numbers]
    return ShardResult(hits, found, totals, scores, filtering)
