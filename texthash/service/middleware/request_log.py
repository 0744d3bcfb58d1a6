"""Request log and request metrics, and an audit line for each write."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers

from texthash.service.metrics import RequestMetrics
from texthash.service.middleware.pace import ARRIVED

requests = logging.getLogger("texthash.service.requests")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_AUDIT = "audit"


class RequestLog:
    """Give each request an id, and log it when it ends; no line has anything of its body, its query or its key.

    Ray Serve returns the ``X-Request-ID`` of a request (or a new one) in each response; here the id goes into the state
    of the scope, for problems and the log.

    Args:
        app: Next ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._metrics = RequestMetrics()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status, start, method = 0, state.get(ARRIVED, time.perf_counter()), scope["method"]

        async def observe(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            self._record(scope, method, status, time.perf_counter() - start)

    def _record(self, scope: Any, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.record(route, status, seconds)
        if not requests.isEnabledFor(logging.INFO):
            return
        state = scope["state"]
        line = {"request_id": state["request_id"], "method": method, "route": route}
        requests.info("request", extra={**line, "status": status, "ms": round(1e3 * seconds, 3)})
        if (write := state.get(_AUDIT)) is not None:
            who = {"key": state.get("key"), "client": (scope.get("client") or (None,))[0]}
            requests.info("write", extra={"request_id": state["request_id"], **who, **write, "status": status})


def audit(scope: Any, operation: str, **facts: str | int | None) -> None:
    """Record what a request writes, for its audit line; later calls add facts.

    Args:
        scope: ASGI scope of the request.
        operation: Name of the operation on the index.
        facts: Counts, names given by the service, and the release that holds the write.
    """
    write = scope["state"].setdefault(_AUDIT, {"operation": operation})
    write.update({name: value for name, value in facts.items() if value is not None})
