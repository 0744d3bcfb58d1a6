"""Batching of search requests: one pass has one call to the encoder and one to each shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray import serve

from texthash.api.requests import SearchRequest
from texthash.service.coordinator import Answer, Coordinator
from texthash.service.memory_budget import MemoryBudget
from texthash.service.problems import Problem

MOST_REQUESTS = 64
# Passes in flight: while one is being searched, the texts of the next are encoded.
_PASSES = 2


class RequestBatcher:
    """Batcher of the requests that arrive together.

    Args:
        coordinator: Coordinator that answers a pass.
        budget: Memory budget of bodies and answers.
        wait_s: Seconds that a pass waits for further requests. It waits only after a pass of several requests, so that
            a single client never waits.
    """

    def __init__(self, coordinator: Coordinator, budget: MemoryBudget, wait_s: float) -> None:
        self._coordinator = coordinator
        self._budget = budget
        self._wait_s = wait_s
        self.most = coordinator.limits.max_hits
        self._least = -(-self.most // MOST_REQUESTS)
        batch = serve.batch(
            max_batch_size=self.most,
            batch_size_fn=self.cost,
            batch_wait_timeout_s=0.0,
            max_concurrent_batches=_PASSES,
        )
        self._batched: Any = batch(self.run_batch)  # Takes one request and returns its answer.

    async def answer(self, request: SearchRequest) -> Answer:
        """Return the answer to one request.

        Raises:
            Problem: The request cannot be answered.
        """
        answer: Answer | Problem = await self._batched(request)
        if isinstance(answer, Problem):
            raise answer
        return answer

    def cost(self, requests: Sequence[SearchRequest]) -> int:
        """Return the cost of requests, of which a pass takes at most ``most``.

        The cost is the number of requested hits, so that large requests do not add up in memory, with a lower bound
        that limits a pass to ``MOST_REQUESTS``.
        """
        return sum(min(self.most, max(self._least, len(request.queries) * request.window)) for request in requests)

    async def run_batch(self, requests: list[SearchRequest]) -> list[Answer | Problem]:
        """Return the answers of one pass; all are rejected when unread answers have filled the memory meanwhile."""
        self._batched.set_batch_wait_timeout_s(self._wait_s if len(requests) > 1 else 0.0)
        if rejection := self._budget.rejection():
            return [rejection] * len(requests)
        return await self._coordinator.search(requests)
