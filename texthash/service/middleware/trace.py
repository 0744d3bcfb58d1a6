"""Span of each request, in the trace of its caller."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers

from texthash.service import tracing


class Trace:
    """Record a span of each request; only part of the application where spans are recorded.

    Args:
        app: Next ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def observe(message: Any) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
            await send(message)

        method, request_id = scope["method"], scope["state"]["request_id"]
        with tracing.continued(Headers(scope=scope), method, server=True, request_id=request_id) as span:
            span.set_attribute("http.request.method", method)
            try:
                await self._app(scope, receive, observe)
            finally:
                if route := getattr(scope.get("route"), "path", None):  # the pattern, so that ids make no names
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
