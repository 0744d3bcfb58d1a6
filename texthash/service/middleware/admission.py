"""How many requests the service takes on at once, and how they take turns."""

from __future__ import annotations

from typing import Any

from texthash.config import LimitsConfig
from texthash.service.memory_budget import RETRY_AFTER_S, MemoryBudget
from texthash.service.middleware.scope import is_probe
from texthash.service.middleware.turns import Turns
from texthash.service.problems import Problem


class Admission:
    """Refuse what is more than the service takes on; health is always answered, so that load is not taken for illness.

    Args:
        app: Application behind.
        limits: Limits of the service.
        budget: Reservation of the memory that bodies and answers take.
    """

    def __init__(self, app: Any, limits: LimitsConfig, budget: MemoryBudget) -> None:
        self._app = app
        self._room = limits.max_ongoing_requests + limits.max_queued_requests
        self._ledger = budget
        self._inside = 0
        self._turns = Turns()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not is_probe(scope):
            await self._turns.take()
            self._refuse_beyond_room()
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    def _refuse_beyond_room(self) -> None:
        if self._inside >= self._room:
            raise Problem(
                "overloaded",
                f"{self._inside} requests are being answered or waiting, this server takes {self._room}.",
                headers={"Retry-After": RETRY_AFTER_S},
            )
        if rejection := self._ledger.rejection():
            raise rejection
