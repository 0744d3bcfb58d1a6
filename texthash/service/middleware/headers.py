"""Headers by which browsers confine every answer of the service."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders

# An answer that has a header of the same name keeps its own.
_HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


class SecurityHeaders:
    """Add the headers that forbid framing, guessing of media types, and embedding by pages of other origins.

    Args:
        app: Application behind.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def confined(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, confined)
