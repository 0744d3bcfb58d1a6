"""Pace of the requests that arrive together."""

from __future__ import annotations

import time
from typing import Any

from texthash.service.middleware.scope import is_probe
from texthash.service.middleware.turns import Turns

ARRIVED = "arrived"
"""State of a scope: time of arrival on the clock of ``time.perf_counter``."""

TOGETHER = 4  # about half a millisecond of work


class Pace:
    """Let a few requests begin in each iteration of the event loop, before anything is done for them; probes at once.

    Args:
        app: Next ASGI application.
        turns: Turns of the requests, ``TOGETHER`` in each iteration.
    """

    def __init__(self, app: Any, turns: Turns) -> None:
        self._app = app
        self._turns = turns

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            state = scope.setdefault("state", {})
            if ARRIVED not in state:
                state[ARRIVED] = time.perf_counter()
                if not is_probe(scope):
                    await self._turns.take()
        await self._app(scope, receive, send)
