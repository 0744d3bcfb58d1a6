"""HEAD requests for every path that takes GET."""

from __future__ import annotations

from typing import Any


class Head:
    """Answer HEAD as GET, without the body.

    Args:
        app: Next ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope["method"] = "GET"  # in place: the request log reads the route from this scope

        async def without_body(message: Any) -> None:
            # The server reads it too: after a GET it would wait for the body, and close the connection without a word.
            scope["method"] = "HEAD"
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app(scope, receive, without_body)
