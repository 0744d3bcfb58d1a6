"""Requests that arrive together share one pass: one call to the encoder, one to each shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray import serve

from texthash.api.requests import SearchRequest
from texthash.service.coordinator import Answer, Gateway
from texthash.service.memory_budget import Ledger
from texthash.service.problems import Problem

MOST_REQUESTS = 64
# Passes on their way at once: while one is being searched, the texts of the next are encoded.
_PASSES = 2


class Passes:
    """Answers requests by passes of several.

    Args:
        gateway: Answers a pass.
        ledger: Of the memory that bodies and answers take.
        wait_s: How long a pass waits for others to join it. It does so only after one that had several: a lone client
            never waits.
    """

    def __init__(self, gateway: Gateway, ledger: Ledger, wait_s: float) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._wait_s = wait_s
        self.most = gateway.limits.max_hits
        self._least = -(-self.most // MOST_REQUESTS)
        batch = serve.batch(
            max_batch_size=self.most,
            batch_size_fn=self.weight,
            batch_wait_timeout_s=0.0,
            max_concurrent_batches=_PASSES,
        )
        self._batched: Any = batch(self.together)  # takes one request, and gives the answer to it

    async def answer(self, request: SearchRequest) -> Answer:
        """The answer to one request.

        Raises:
            Problem: it cannot be answered.
        """
        answer: Answer | Problem = await self._batched(request)
        if isinstance(answer, Problem):
            raise answer
        return answer

    def weight(self, requests: Sequence[SearchRequest]) -> int:
        """What requests weigh of the ``most`` that a pass takes: the hits that they ask for, so that large ones do not
        add up in memory, and at least so many that a pass has no more than ``MOST_REQUESTS``."""
        return sum(min(self.most, max(self._least, len(request.queries) * request.window)) for request in requests)

    async def together(self, requests: list[SearchRequest]) -> list[Answer | Problem]:
        """The answers of one pass. All are refused when what others do not read has filled the memory meanwhile."""
        self._batched.set_batch_wait_timeout_s(self._wait_s if len(requests) > 1 else 0.0)
        if refusal := self._ledger.refusal():
            return [refusal] * len(requests)
        return await self._gateway.search(requests)
