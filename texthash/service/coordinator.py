"""Coordinator of a request: encode the texts, search every shard once, merge. Independent of the transport."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from texthash.api.filters import Filter
from texthash.api.requests import Mode, SearchRequest
from texthash.config import LimitsConfig
from texthash.index.filters.language import Where
from texthash.index.fusion import WEIGHT
from texthash.index.keywords.analysis import keyword_analyzer
from texthash.index.ranked import Ranked
from texthash.index.releases.release import Release
from texthash.index.shard import StoredCode
from texthash.index.storage.shard_format import kind_of, shard_of
from texthash.service import tracing
from texthash.service.browsing import BrowsedShard, Browsing, facet_types
from texthash.service.filtering import condition
from texthash.service.keyword_search import KeywordSearch, KeywordShard
from texthash.service.metrics import PassMetrics, ReleaseMetrics
from texthash.service.problems import Problem
from texthash.service.queries import Key, PendingQuery, group, result
from texthash.service.replicas.encoder import Encoded, Texts
from texthash.service.replicas.shard import QueryGroup, ShardResult
from texthash.service.shard_answers import Wanted, answers, documents_of

if TYPE_CHECKING:
    from texthash.methods.base import Role

log = logging.getLogger("texthash.service")
# From a remote shard it is cheaper to get the documents of few hits at once than to fetch them after the merge; with
# many hits, most of these documents would be discarded.
REMOTE_INLINE_HITS = 100
T = TypeVar("T")
Stored = Callable[[str, Sequence[str]], Awaitable[dict[str, T]]]


class Encoder(Protocol):
    """Interface of the encoder."""

    async def encode(self, call: Texts) -> Encoded: ...

    async def ping(self, release: str) -> bool: ...


class ShardClient(KeywordShard, BrowsedShard, Protocol):
    """Interface of a shard; the methods are those of :class:`~.replicas.shard.ShardServer`."""

    async def search(self, release: str, groups: Sequence[QueryGroup]) -> list[ShardResult]: ...

    async def codes_of(self, release: str, ids: Sequence[str]) -> dict[str, StoredCode]: ...

    async def vectors_of(self, release: str, ids: Sequence[str]) -> dict[str, NDArray[np.float16]]: ...

    async def document(self, release: str, document_id: str) -> dict[str, Any] | None: ...

    async def count(self, release: str, where: Where | None) -> int: ...

    async def example(self, release: str) -> str | None: ...

    async def sample(self, release: str, count: int) -> list[str]: ...

    async def ping(self, release: str) -> bool: ...


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


class _ToEncode(NamedTuple):
    """Query that is encoded, and the number of its request."""

    row: int
    query: PendingQuery
    text: str
    vector: list[float] | None


_Later = tuple[PendingQuery, Ranked, list[dict[str, Any]]]


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
        self._inline_hits = inline_hits
        self._keyword_search = KeywordSearch(self._shards)
        self.browsing = Browsing(self._shards)
        self.browsing.serve(release)
        self._unwell: list[str] = []

    @property
    def weight(self) -> float:
        """Weight of the meaning in a hybrid search whose request has none."""
        return WEIGHT if self.release.defaults is None else self.release.defaults.weight

    def resolved(self, request: SearchRequest) -> SearchRequest:
        """Return a request with its mode and kind of rescoring in the current release."""
        defaults = self.release.defaults
        rescoring = "none" if defaults is None else defaults.rescoring
        return request.resolved(keywords=self.release.keywords is not None, rescoring=rescoring)

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
        start = time.perf_counter()
        kind = kind_of(chosen.vectors) if vectors else None
        own = None if given is None else np.asarray(given, np.float32)
        call = Texts(chosen.name, tuple(texts), role, logits, margins, kind, own)
        with tracing.span("encode", texts=len(texts)):
            encoded = await self._encoder.encode(call)
        self._passes.encoded(time.perf_counter() - start)
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
        problems = await self._resolve(release, requests, queries)
        encoded = time.perf_counter()
        pending = [query for row, own in enumerate(queries) if row not in problems for query in own if query.searched]
        groups: dict[Key, list[PendingQuery]] = {}
        for query in pending:
            groups.setdefault(query.key, []).append(query)
        asked = [query for row, own in enumerate(queries) if row not in problems for query in own]
        if any(query.terms for query in asked):
            (found, unavailable), without_words = await asyncio.gather(
                self._search_shards(release, groups), self._keyword_search.find(release.name, asked)
            )
            unavailable |= without_words
        else:  # A task for each step would take a tenth of the time of a search.
            found, unavailable = await self._search_shards(release, groups)
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
        await self._merge(release, groups, found)
        await self._complete(release, [query for query in asked if query.request.mode != "semantic"])
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

    # -- steps ------------------------------------------------------------------------------------------------

    async def _resolve(
        self, release: Release, requests: Sequence[SearchRequest], queries: list[list[PendingQuery]]
    ) -> dict[int, Problem]:
        """Set the code of every query: given, stored under an id, or encoded from text or vector; and its words."""
        encoding: list[_ToEncode] = []
        ids: list[tuple[int, PendingQuery, str]] = []
        problems: dict[int, Problem] = {}
        for row, request in enumerate(requests):
            try:
                where = condition(request.filter, release)
                facet_types(request.facets or {}, release)
            except Problem as problem:
                problems[row] = problem
                continue
            for query in queries[row]:
                query.where = where
            if request.rescore.kind == "float" and release.vectors is None:
                problems[row] = Problem(
                    "no-vectors",
                    f"rescore.kind float orders by stored vectors; the index of release {release.name} has none.",
                )
                continue
            if request.mode != "semantic" and release.keywords is None:
                problems[row] = Problem(
                    "no-keywords", f"mode={request.mode}, but the index of release {release.name} stores no words."
                )
                continue
            for query, given in zip(queries[row], request.queries, strict=True):
                if given.text is not None and request.mode != "semantic":
                    assert release.keywords is not None
                    query.terms = keyword_analyzer(release.keywords).query(given.text)
                if request.mode == "keyword":
                    query.searched = False
                elif given.text is not None or given.vector is not None:
                    encoding.append(_ToEncode(row, query, given.text or "", given.vector))
                elif given.id is not None:
                    ids.append((row, query, given.id))
                elif given.code is not None:
                    query.code = bytes.fromhex(given.code)
        if not ids:
            await self._encode_queries(release, encoding, problems)
            return problems
        rescored = {document_id for _, query, document_id in ids if query.request.rescore.kind == "float"}
        _, (stored, unavailable), (vectors, _) = await asyncio.gather(
            self._encode_queries(release, encoding, problems),
            self._stored(release, {document_id for _, _, document_id in ids}, lambda shard: shard.codes_of),
            self._stored(release, rescored, lambda shard: shard.vectors_of),
        )
        for row, query, document_id in ids:
            if document_id in stored:
                query.code, query.known = stored[document_id]
                query.searched = query.known
            if document_id in vectors and query.request.rescore.kind == "float":
                query.values = vectors[document_id].astype(np.float32)
            shard = shard_of(document_id, len(self._shards))
            if shard in unavailable:
                problems.setdefault(row, unavailable[shard])
            elif query.code is None:
                problems.setdefault(row, Problem("unknown-document", f"the index holds no document {document_id!r}."))
        return problems

    async def _encode_queries(
        self, release: Release, encoding: Sequence[_ToEncode], problems: dict[int, Problem]
    ) -> None:
        """Set code and values of queries, or the problem of their requests."""
        # Vectors of one width are right or wrong together, and do not concern the queries by text.
        groups: dict[tuple[str, int], list[_ToEncode]] = {}
        for one in encoding:
            groups.setdefault((one.query.request.rescore.kind or "none", len(one.vector or ())), []).append(one)

        async def encode(kind: str, width: int, batch: list[_ToEncode]) -> None:
            options = {"margins": kind == "asymmetric", "vectors": kind == "float"}
            given = [one.vector or [] for one in batch] if width else None
            try:
                _, encoded = await self.encode(
                    [one.text for one in batch], "query", **options, given=given, release=release
                )
            except Problem as problem:
                for one in batch:
                    problems.setdefault(one.row, problem)
                return
            values = encoded.margins if encoded.vectors is None else encoded.vectors
            for row, (_, query, *_) in enumerate(batch):
                query.values = None if values is None else values[row]
                query.code = encoded.codes[row].tobytes()
                query.known = query.searched = bool(encoded.known[row])

        if len(groups) == 1:
            ((kind, width), batch) = next(iter(groups.items()))
            await encode(kind, width, batch)
        else:
            await asyncio.gather(*(encode(kind, width, batch) for (kind, width), batch in groups.items()))

    async def _stored(
        self, release: Release, ids: set[str], method: Callable[[ShardClient], Stored[T]]
    ) -> tuple[dict[str, T], dict[int, Problem]]:
        """Return what a method of the shards reads of documents, by id, and the problems of unavailable shards."""
        by_shard: dict[int, list[str]] = {}
        for document_id in ids:
            by_shard.setdefault(shard_of(document_id, len(self._shards)), []).append(document_id)
        calls = {shard: method(self._shards[shard])(release.name, own) for shard, own in by_shard.items()}
        answered, unavailable = await answers(calls)
        return {key: value for part in answered.values() for key, value in part.items()}, unavailable

    async def _search_shards(
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

    async def _merge(
        self, release: Release, groups: dict[Key, list[PendingQuery]], found: list[list[ShardResult]]
    ) -> None:
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
                page, members = query.ranked(self.weight)
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

    async def _complete(self, release: Release, queries: Sequence[PendingQuery]) -> None:
        """Fuse the lists of hybrid queries, and fetch the documents of these and of queries by keyword."""
        if queries:
            await self._fetch(release, [(query, *query.ranked(self.weight)) for query in queries])

    async def _fetch(self, release: Release, later: list[_Later]) -> None:
        """Fetch the documents of merged hits."""
        lists = [Wanted(page.numbers, page.owners, query.fields) for query, page, _ in later]
        with tracing.span("documents", hits=sum(len(wanted.numbers) for wanted in lists)):
            found = await documents_of(self._shards, release.name, lists)
        for (query, _, members), documents in zip(later, found, strict=True):
            query.answer(documents, members)


def _unexpected(answer: object) -> bool:
    """Return whether a probe has failed for another reason than an unavailable replica."""
    if isinstance(answer, BaseException) and not isinstance(answer, Exception):
        raise answer
    return isinstance(answer, Exception) and not isinstance(answer, (Problem, TimeoutError))
