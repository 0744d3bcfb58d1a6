"""Admission control: a bounded number of requests at once."""

from __future__ import annotations

from typing import Any

from texthash.config import LimitsConfig
from texthash.service.memory_budget import RETRY_AFTER_S, MemoryBudget
from texthash.service.middleware.scope import is_probe
from texthash.service.problems import Problem


class Admission:
    """Reject requests beyond the capacity of the service; health probes are always answered, also under load.

    Args:
        app: Next ASGI application.
        limits: Limits of the service.
        budget: Memory budget of bodies and answers.
    """

    def __init__(self, app: Any, limits: LimitsConfig, budget: MemoryBudget) -> None:
        self._app = app
        self._capacity = limits.max_ongoing_requests + limits.max_queued_requests
        self._budget = budget
        self._active = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not is_probe(scope):
            self._reject_beyond_capacity()
        self._active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1

    def _reject_beyond_capacity(self) -> None:
        if self._active >= self._capacity:
            raise Problem(
                "overloaded",
                f"{self._active} requests are being answered or waiting, this server takes {self._capacity}.",
                headers={"Retry-After": RETRY_AFTER_S},
            )
        if rejection := self._budget.rejection():
            raise rejection
