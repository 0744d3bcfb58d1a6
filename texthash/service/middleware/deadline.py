"""Time limit of requests."""

from __future__ import annotations

import asyncio
from typing import Any

from texthash.service.middleware.body import READING
from texthash.service.problems import Problem


class Deadline:
    """End a request that takes too long, with a problem that names its body or its answer as the cause.

    Args:
        app: Next ASGI application.
        seconds: Maximum time from the first byte of a request to its answer.
    """

    def __init__(self, app: Any, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                await self._app(scope, receive, send)
        except TimeoutError:
            raise exceeded(self._seconds, reading=scope["state"].get(READING, False)) from None


def exceeded(seconds: float, *, reading: bool) -> Problem:
    """Return the problem of a request that takes longer than ``seconds``, while its body is read or later."""
    if reading:
        return Problem("body-too-slow", f"the body was not whole within {seconds:g} seconds.")
    return Problem("timeout", f"there was no answer within {seconds:g} seconds.")
