"""Requests that arrive together share one pass: one call to the encoder, one to each shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray import serve

from texthash.api.requests import SearchRequest
from texthash.service.coordinator import Answer, Coordinator
from texthash.service.memory_budget import MemoryBudget
from texthash.service.problems import Problem

MOST_REQUESTS = 64
# RequestBatcher on their way at once: while one is being searched, the texts of the next are encoded.
_PASSES = 2


class RequestBatcher:
    """Answers requests by passes of several.

    Args:
        coordinator: Answers a pass.
        budget: Of the memory that bodies and answers take.
        wait_s: How long a pass waits for others to join it. It does so only after one that had several: a lone client
            never waits.
    """

    def __init__(self, coordinator: Coordinator, budget: MemoryBudget, wait_s: float) -> None:
        self._gateway = coordinator
        self._ledger = budget
        self._wait_s = wait_s
        self.most = coordinator.limits.max_hits
        self._least = -(-self.most // MOST_REQUESTS)
        batch = serve.batch(
            max_batch_size=self.most,
            batch_size_fn=self.cost,
            batch_wait_timeout_s=0.0,
            max_concurrent_batches=_PASSES,
        )
        self._batched: Any = batch(self.run_batch)  # takes one request, and gives the answer to it

    async def answer(self, request: SearchRequest) -> Answer:
        """The answer to one request.

        Raises:
            Problem: it cannot be answered.
        """
        answer: Answer | Problem = await self._batched(request)
        if isinstance(answer, Problem):
            raise answer
        return answer

    def cost(self, requests: Sequence[SearchRequest]) -> int:
        """What requests weigh of the ``most`` that a pass takes: the hits that they ask for, so that large ones do not
        add up in memory, and at least so many that a pass has no more than ``MOST_REQUESTS``."""
        return sum(min(self.most, max(self._least, len(request.queries) * request.window)) for request in requests)

    async def run_batch(self, requests: list[SearchRequest]) -> list[Answer | Problem]:
        """The answers of one pass. All are refused when what others do not read has filled the memory meanwhile."""
        self._batched.set_batch_wait_timeout_s(self._wait_s if len(requests) > 1 else 0.0)
        if rejection := self._ledger.rejection():
            return [rejection] * len(requests)
        return await self._gateway.search(requests)
