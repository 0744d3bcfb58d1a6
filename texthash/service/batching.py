"""Batching of search requests: those that wait while a pass runs are answered together by the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from texthash.api.requests import SearchRequest
from texthash.service import tracing
from texthash.service.coordinator import Answer, Coordinator
from texthash.service.memory_budget import MemoryBudget
from texthash.service.problems import Problem

MOST_REQUESTS = 64
# Passes in flight where shards are in other processes: while one is being searched, the texts of the next are encoded.
REMOTE_PASSES = 2


class _Waiting(NamedTuple):
    """Request that waits for its pass, the future of its answer, and its span where spans are recorded."""

    request: SearchRequest
    future: asyncio.Future[Answer]
    span: tracing.Queued | None


class RequestBatcher:
    """Batcher of the requests that arrive together.

    A pass takes what has arrived since the last one began. It begins as soon as an iteration of the event loop has
    brought no further request, so that none waits for others that may come.

    Args:
        coordinator: Coordinator that answers a pass.
        budget: Memory budget of bodies and answers.
        passes: Largest number of passes at a time.
    """

    def __init__(self, coordinator: Coordinator, budget: MemoryBudget, passes: int = 1) -> None:
        self._coordinator = coordinator
        self._budget = budget
        self._passes = passes
        self.most = coordinator.limits.max_hits
        self._least = -(-self.most // MOST_REQUESTS)
        self._waiting: deque[_Waiting] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()  # A loop holds no strong references to its tasks.

    async def answer(self, request: SearchRequest) -> Answer:
        """Return the answer to one request.

        Raises:
            Problem: The request cannot be answered.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Waiting(request, future, tracing.queued()))
        if self._running < self._passes:
            self._running += 1
            task = loop.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    def cost(self, requests: Sequence[SearchRequest]) -> int:
        """Return the cost of requests, of which a pass takes at most ``most``.

        The cost is the number of requested hits, so that large requests do not add up in memory, with a lower bound
        that limits a pass to ``MOST_REQUESTS``.
        """
        return sum(min(self.most, max(self._least, len(request.queries) * request.window)) for request in requests)

    async def run_batch(self, requests: list[SearchRequest]) -> list[Answer | Problem]:
        """Return the answers of one pass; all are rejected when unread answers have filled the memory meanwhile."""
        if rejection := self._budget.rejection():
            return [rejection] * len(requests)
        return await self._coordinator.search(requests)

    async def _run(self) -> None:
        """Answer what waits, one pass after the other."""
        try:
            while taken := await self._next():
                await self._answer(taken)
        finally:
            self._running -= 1  # Without a pause after the last look at what waits, so that no request is overlooked.

    async def _next(self) -> list[_Waiting]:
        """Return the requests of the next pass, once no more come or enough are there.

        Meanwhile answers are sent and requests are received. There is no pause after the last look at what waits.
        """
        before = -1
        while before < len(self._waiting) < MOST_REQUESTS:
            before = len(self._waiting)
            await asyncio.sleep(0)
        return self._take()

    async def _answer(self, taken: list[_Waiting]) -> None:
        answers: list[Answer | Problem] | list[Exception]
        try:
            with tracing.batch([waiting.span for waiting in taken]):
                answers = await self.run_batch([waiting.request for waiting in taken])
        except Exception as error:  # noqa: BLE001  (of all requests of the pass, which raise it)
            answers = [error] * len(taken)
        for (_, future, _), answer in zip(taken, answers, strict=True):
            if future.done():  # Its client has gone, or its deadline is over.
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _take(self) -> list[_Waiting]:
        """Return the requests of the next pass, in the order of their arrival."""
        taken: list[_Waiting] = []
        left = self.most
        while self._waiting:
            request, future, span = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                tracing.drop(span)
                continue
            left -= self.cost([request])
            if taken and left < 0:
                break
            taken.append(self._waiting.popleft())
        return taken
