"""Turns of requests on the event loop."""

from __future__ import annotations

import asyncio


class Turns:
    """Let one waiting request go on in each round of the event loop.

    Thousands that arrive at once would else all take their next step in one round, and whatever else is due, such as an
    answer to a probe of health, would wait for the sum of them.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Return when it is the caller's turn; what it does until it waits again is its step."""
        async with self._lock:
            await asyncio.sleep(0)
