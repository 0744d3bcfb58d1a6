"""Codes of queries: given with them, stored under an id, or encoded from text or vector."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from texthash.api.requests import SearchRequest
from texthash.index.keywords.analysis import keyword_analyzer
from texthash.index.releases.release import Release
from texthash.index.storage.shard_format import kind_of, shard_of
from texthash.service import tracing
from texthash.service.browsing import facet_types
from texthash.service.filtering import condition
from texthash.service.interfaces import Encoder, ShardClient
from texthash.service.metrics import PassMetrics
from texthash.service.problems import Problem
from texthash.service.queries import PendingQuery
from texthash.service.replicas.encoder import Encoded, Texts
from texthash.service.shard_answers import answers

if TYPE_CHECKING:
    from texthash.methods.base import Role

T = TypeVar("T")
Stored = Callable[[str, Sequence[str]], Awaitable[dict[str, T]]]


class _ToEncode(NamedTuple):
    """Query that is encoded, and the number of its request."""

    row: int
    query: PendingQuery
    text: str
    vector: list[float] | None


class QueryCodes:
    """Codes of the queries of requests.

    Args:
        encoder: Encoder of texts.
        shards: Client of each shard, in order.
        passes: Metrics of the passes through the model.
    """

    def __init__(self, encoder: Encoder, shards: Sequence[ShardClient], passes: PassMetrics) -> None:
        self._encoder = encoder
        self._shards = shards
        self._passes = passes

    async def encode(
        self,
        release: Release,
        texts: Sequence[str],
        role: Role,
        *,
        logits: bool = False,
        margins: bool = False,
        vectors: bool = False,
        given: Sequence[Sequence[float]] | None = None,
    ) -> Encoded:
        """Encode texts by the model of a release; arguments as of :meth:`.coordinator.Coordinator.encode`."""
        start = time.perf_counter()
        kind = kind_of(release.vectors) if vectors else None
        own = None if given is None else np.asarray(given, np.float32)
        call = Texts(release.name, tuple(texts), role, logits, margins, kind, own)
        with tracing.span("encode", texts=len(texts)):
            encoded = await self._encoder.encode(call)
        self._passes.encoded(time.perf_counter() - start)
        return encoded

    async def resolve(
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
                encoded = await self.encode(release, [one.text for one in batch], "query", **options, given=given)
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
