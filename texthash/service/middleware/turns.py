"""Fair scheduling of requests on the event loop."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Let a few waiting requests continue in each iteration of the event loop.

    Thousands of requests that arrive at once would otherwise all run in one iteration, and everything else that is due,
    such as the response to a health probe, would wait for all of them.

    Args:
        together: Number of requests of one iteration.
    """

    def __init__(self, together: int = 1) -> None:
        self._together = together
        self._begun = 0  # in this iteration
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def take(self) -> None:
        """Wait for the caller's turn, which lasts until its next ``await``."""
        loop = asyncio.get_running_loop()
        self._schedule(loop)
        if not self._waiting and self._begun < self._together:
            self._begun += 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the turns of an iteration; those of requests that have been given up do not count."""
        self._scheduled = False
        self._begun = 0
        while self._waiting and self._begun < self._together:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            self._schedule(loop)
