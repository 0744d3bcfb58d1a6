"""Admission control: a bounded number of requests at once."""

from __future__ import annotations

from typing import Any

from texthash.config import LimitsConfig
from texthash.service.memory_budget import RETRY_AFTER_S, MemoryBudget
from texthash.service.middleware.scope import is_probe
from texthash.service.problems import Problem


class Capacity:
    """Number of requests that are being answered or waiting, and its bound.

    Attributes:
        active: Current number.

    Args:
        limits: Limits of the service.
        budget: Memory budget of bodies and answers.
    """

    def __init__(self, limits: LimitsConfig, budget: MemoryBudget) -> None:
        self.active = 0
        self._most = limits.max_ongoing_requests + limits.max_queued_requests
        self._budget = budget

    def rejection(self) -> Problem | None:
        """Return the problem with which a further request is rejected; None if it is accepted."""
        if self.active < self._most:
            return self._budget.rejection()
        return Problem(
            "overloaded",
            f"{self.active} requests are being answered or waiting, this server takes {self._most}.",
            headers={"Retry-After": RETRY_AFTER_S},
        )


class Admission:
    """Reject requests beyond the capacity of the service; health probes are always answered, also under load.

    Args:
        app: Next ASGI application.
        capacity: Capacity of the service.
    """

    def __init__(self, app: Any, capacity: Capacity) -> None:
        self._app = app
        self._capacity = capacity

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not is_probe(scope) and (rejection := self._capacity.rejection()):
            raise rejection
        self._capacity.active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._capacity.active -= 1
