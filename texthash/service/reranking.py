"""Re-ranking of the hits of a search by a model that reads question and document (``service.rerank``)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from texthash.api.requests import SearchRequest
from texthash.config import RerankConfig
from texthash.index.rescoring import reranked
from texthash.paths import StateDir
from texthash.service.coordinator import Answer
from texthash.service.problems import Problem
from texthash.service.request_limits import Checks

if TYPE_CHECKING:
    from texthash.models.text_reranker import TextReranker

Search = Callable[[SearchRequest], Awaitable[Answer]]


class Reranking:
    """Searches whose first hits are ordered again.

    The model runs in one thread beside the event loop, one request at a time.

    Args:
        reranker: Model that scores texts.
        candidates: Number of first hits of a query that are ordered again.
    """

    def __init__(self, reranker: TextReranker, candidates: int) -> None:
        self.reranker = reranker
        self.candidates = candidates
        self._turn = asyncio.Lock()

    @classmethod
    def open(cls, config: RerankConfig, home: StateDir) -> Reranking:
        """Open the model of a configuration.

        Raises:
            TexthashError: There is no such model, it does not re-rank, or it is broken.
        """
        from texthash.models.text_reranker import open_reranker  # which imports torch: only where a model re-ranks

        return cls(open_reranker(config.model, home.root), config.candidates)

    async def search(self, request: SearchRequest, checks: Checks, search: Search) -> Answer:
        """Find the candidates of each query by ``search``, and return the asked page of their new order.

        Args:
            request: Checked request.
            checks: Limits, which hold for the candidates too.
            search: Function that answers a search request.

        Raises:
            Problem: A query is not a text, or the candidates exceed the limits.
        """
        if any(query.text is None for query in request.queries):
            raise Problem("no-text", "rerank: the re-ranker reads questions: every query has to be a text.")
        last = request.limit + request.offset
        fields = list(dict.fromkeys([*request.fields, "text"]))
        answer = await search(checks.search(request.having(limit=max(self.candidates, last), offset=0, fields=fields)))
        start = time.perf_counter()
        for query, result in zip(request.queries, answer.results, strict=True):
            assert query.text is not None
            async with self._turn:
                hits = await asyncio.to_thread(self._in_order, query.text, result["hits"])
            result["hits"] = hits[request.offset : last]
            if "text" not in request.fields:
                for hit in result["hits"]:
                    del hit["document"]["text"]
        answer.rerank = time.perf_counter() - start
        return answer

    def _in_order(self, question: str, hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the candidates in the new order, and later hits in their places."""
        first, later = hits[: self.candidates], hits[self.candidates :]
        texts = [hit["document"].get("text") for hit in first]
        order, scores = reranked(self.reranker.scores, question, texts)
        for hit, score in zip(first, scores.tolist(), strict=True):
            hit["rerank_score"] = None if math.isnan(score) else score
        return [first[place] for place in order] + [{**hit, "rerank_score": None} for hit in later]
