"""Coordinator of a request: encode the texts, search every shard once, merge. Independent of the transport."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from texthash.api.filters import Filter
from texthash.api.requests import Mode, SearchRequest
from texthash.config import LimitsConfig
from texthash.index.releases.release import Release
from texthash.index.storage.shard_format import shard_of
from texthash.service.browsing import Browsing
from texthash.service.filtering import condition
from texthash.service.interfaces import Encoder, ShardClient
from texthash.service.keyword_search import KeywordSearch
from texthash.service.metrics import PassMetrics, ReleaseMetrics
from texthash.service.problems import Problem
from texthash.service.queries import Key, PendingQuery, result
from texthash.service.query_codes import QueryCodes
from texthash.service.replicas.encoder import Encoded
from texthash.service.shard_search import ShardSearch

if TYPE_CHECKING:
    from texthash.methods.base import Role

log = logging.getLogger("texthash.service")
# From a remote shard it is cheaper to get the documents of few hits at once than to fetch them after the merge; with
# many hits, most of these documents would be discarded.
REMOTE_INLINE_HITS = 100


@dataclass
class Answer:
    """Results of one request.

    Attributes:
        release: Release that answered.
        mode: Mode of the search.
        results: Result of each query in the form of the response.
        encode: Seconds of encoding.
        search: Seconds of the search in the shards.
        merge: Seconds of the merge.
        filtering: Seconds of the search in which the slowest shard has selected the documents of the filter.
        missing: Numbers of the shards that were unavailable.
        rerank: Seconds of the re-ranking; None without one.
    """

    release: Release
    mode: Mode
    results: list[dict[str, Any]]
    encode: float
    search: float
    merge: float
    filtering: float
    missing: list[int]
    rerank: float | None = None


class Coordinator:
    """Answers each request from one release, and moves from one release to the next between requests.

    Attributes:
        browsing: Facets and pages of documents over the same shards.

    Args:
        release: First release to answer from.
        limits: Limits of the service.
        encoder: Encoder of texts.
        shards: Client of each shard, in order.
        inline_hits: Number of hits up to which shards send the documents with them; 0 fetches all after the merge.
    """

    def __init__(
        self,
        release: Release,
        limits: LimitsConfig,
        encoder: Encoder,
        shards: Sequence[ShardClient],
        inline_hits: int = 0,
    ) -> None:
        self.release = release
        self.limits = limits
        self._served = ReleaseMetrics()
        self.record_release()
        self._passes = PassMetrics()
        self._encoder = encoder
        self._shards = list(shards)
        self._codes = QueryCodes(encoder, self._shards, self._passes)
        self._shard_search = ShardSearch(self._shards, inline_hits)
        self._keyword_search = KeywordSearch(self._shards)
        self.browsing = Browsing(self._shards)
        self.browsing.serve(release)
        self._unwell: list[str] = []

    def resolved(self, request: SearchRequest) -> SearchRequest:
        """Return a request with its mode and kind of rescoring in the current release."""
        return request.resolved(keywords=self.release.keywords is not None, rescoring=self.release.rescoring)

    async def follow(self, release: Release) -> None:
        """Answer from another release of the same number of shards, once encoder and shards have opened it.

        Raises:
            Problem: The encoder or a shard is unavailable; the release remains unchanged.
        """
        if release.name == self.release.name:
            return
        if len(release.shards) != len(self._shards):
            raise Problem(
                "shard-unavailable",
                f"release {release.name} has {len(release.shards)} shards, this service was started for "
                f"{len(self._shards)}: start it again.",
            )
        clients: list[Encoder | ShardClient] = [self._encoder, *self._shards]
        await asyncio.gather(*(client.ping(release.name) for client in clients))
        self.release = release
        self.browsing.serve(release)
        self.record_release()

    async def encode(
        self,
        texts: Sequence[str],
        role: Role,
        *,
        logits: bool = False,
        margins: bool = False,
        vectors: bool = False,
        given: Sequence[Sequence[float]] | None = None,
        release: Release | None = None,
    ) -> tuple[Release, Encoded]:
        """Encode texts by the model of a release.

        Args:
            texts: Texts of one role.
            role: Role of the texts, query or document.
            logits: True returns the activations too.
            margins: True returns the activations minus the thresholds too.
            vectors: True returns the vectors too, if the index stores any.
            given: Vectors that came with the texts, all of one width; None for texts alone.
            release: Release whose model encodes; None takes the current one.

        Returns:
            Release, and the codes with the requested values.
        """
        chosen = release or self.release
        encoded = await self._codes.encode(
            chosen, texts, role, logits=logits, margins=margins, vectors=vectors, given=given
        )
        return chosen, encoded

    async def document(self, document_id: str) -> tuple[Release, dict[str, Any]]:
        """Return one document with its code, and its release.

        Raises:
            Problem: The id is unknown, or its shard is unavailable.
        """
        release = self.release
        shard = self._shards[shard_of(document_id, len(self._shards))]
        found = await shard.document(release.name, document_id)
        if found is None:
            raise Problem("unknown-document", f"the index holds no document {document_id!r}.")
        return release, found

    async def count(self, given: Filter | None) -> tuple[Release, int]:
        """Return the release and its number of documents, or of those that a filter keeps."""
        release = self.release
        where = condition(given, release)
        if where is None:
            return release, release.documents
        counts = await asyncio.gather(*(shard.count(release.name, where) for shard in self._shards))
        return release, sum(counts)

    async def search(self, requests: Sequence[SearchRequest]) -> list[Answer | Problem]:
        """Answer several requests with one call per shard.

        A request that cannot be answered gets a problem. While a shard is unavailable these are all requests, except
        those that allow partial answers.

        Raises:
            Problem: The encoder or all shards are unavailable.
        """
        start, release = time.perf_counter(), self.release
        requests = [self.resolved(request) for request in requests]
        queries = [[PendingQuery(request) for _ in request.queries] for request in requests]
        problems = await self._codes.resolve(release, requests, queries)
        encoded = time.perf_counter()
        pending = [query for row, own in enumerate(queries) if row not in problems for query in own if query.searched]
        groups: dict[Key, list[PendingQuery]] = {}
        for query in pending:
            groups.setdefault(query.key, []).append(query)
        asked = [query for row, own in enumerate(queries) if row not in problems for query in own]
        if any(query.terms for query in asked):
            (found, unavailable), without_words = await asyncio.gather(
                self._shard_search.search(release, groups), self._keyword_search.find(release.name, asked)
            )
            unavailable |= without_words
        else:  # A task for each step would take a tenth of the time of a search.
            found, unavailable = await self._shard_search.search(release, groups)
        if any(request.facets is not None for request in requests):
            unavailable |= await self.browsing.complete(release, asked)
        for row, request in enumerate(requests):
            if (
                unavailable
                and not request.allow_partial
                and any(query.searched or query.terms or request.facets for query in queries[row])
            ):
                problems.setdefault(row, next(iter(unavailable.values())))
        searched = time.perf_counter()
        await self._shard_search.merge(release, groups, found, release.fusion)
        mixed = [query for query in asked if query.request.mode != "semantic"]
        await self._shard_search.complete(release, mixed, release.fusion)
        merged = time.perf_counter()
        counts = ((query.plan, query.candidates) for own in queries for query in own)
        self._passes.searched([request.mode or "semantic" for request in requests], counts, searched - encoded)
        times = (encoded - start, searched - encoded, merged - searched)
        return [
            problems[row]
            if row in problems
            else Answer(
                release,
                request.mode or "semantic",
                [result(query) for query in own],
                *times,
                max(query.filtering for query in own),
                sorted(unavailable),
            )
            for row, (request, own) in enumerate(zip(requests, queries, strict=True))
        ]

    async def ready(self, timeout_s: float) -> tuple[bool, list[int]]:
        """Return whether the encoder answers, and the numbers of the shards that do not, for any reason."""
        clients: list[Encoder | ShardClient] = [self._encoder, *self._shards]
        waiting = [asyncio.wait_for(client.ping(self.release.name), timeout_s) for client in clients]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        failed = sorted({repr(answer) for answer in answers if _unexpected(answer)})
        if failed and failed != self._unwell:  # Logged when it changes, not at every probe.
            log.warning("health: %s", "; ".join(failed))
        self._unwell = failed
        return answers[0] is True, [number for number, answer in enumerate(answers[1:]) if answer is not True]

    def record_release(self) -> None:
        """Set the gauges of the release that is served; call it every few seconds, since they expire."""
        self._served.record(self.release)

    async def sample(self, count: int) -> list[str]:
        """Return the titles and texts of at most ``count`` documents from all parts of the index."""
        each = -(-count // len(self._shards))
        parts = await asyncio.gather(*(shard.sample(self.release.name, each) for shard in self._shards))
        return [text for part in parts for text in part]

    async def example(self) -> str | None:
        """Return the id of a document of the index; None for an empty index."""
        for shard in self._shards:
            found = await shard.example(self.release.name)
            if found is not None:
                return found
        return None


def _unexpected(answer: object) -> bool:
    """Return whether a probe has failed for another reason than an unavailable replica."""
    if isinstance(answer, BaseException) and not isinstance(answer, Exception):
        raise answer
    return isinstance(answer, Exception) and not isinstance(answer, (Problem, TimeoutError))
