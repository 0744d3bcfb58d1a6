"""Following the pointer: a service moves to what becomes current, whoever published it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from texthash.errors import TexthashError
from texthash.index.releases.release import current_name, read_release
from texthash.paths import Home
from texthash.service.coordinator import Gateway
from texthash.service.problems import Problem

log = logging.getLogger("texthash.service")
POLL_S = 0.2
# After this long every ingress has looked at the pointer and moved.
SETTLE_S = 2 * POLL_S


class Follower:
    """Moves a gateway to the current release.

    Args:
        home: State directory.
        gateway: That is moved.
    """

    def __init__(self, home: Home, gateway: Gateway) -> None:
        self._home = home
        self._gateway = gateway
        self._refused: str | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow for as long as the block lasts."""
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def step(self) -> None:
        """Look at the pointer once, and move if it has."""
        try:
            name = await asyncio.to_thread(current_name, self._home)
            if name is not None and name != self._gateway.release.name:
                await self._gateway.follow(await asyncio.to_thread(read_release, self._home, name))
        except (Problem, TexthashError) as error:
            reason = error.detail if isinstance(error, Problem) else error.problem
            if reason != self._refused:  # said once, not five times a second
                log.warning("release %s goes on: %s", self._gateway.release.name, reason)
            self._refused = reason
        else:
            self._refused = None

    async def _follow(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(POLL_S)


async def settled() -> None:
    """Wait until every ingress has followed a release that is published now."""
    await asyncio.sleep(SETTLE_S)
