"""Fair scheduling of requests on the event loop."""

from __future__ import annotations

import asyncio


class Turns:
    """Let one waiting request continue in each iteration of the event loop.

    Thousands of requests that arrive at once would otherwise all run in one iteration, and everything else that is due,
    such as the response to a health probe, would wait for all of them.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait for the caller's turn, which lasts until its next ``await``."""
        async with self._lock:
            await asyncio.sleep(0)
