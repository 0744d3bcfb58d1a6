"""Request log and request metrics, and an audit line for each write."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers

from texthash.service.audit_writer import AuditWriter
from texthash.service.metrics import RequestMetrics
from texthash.service.middleware.pace import ARRIVED

requests = logging.getLogger("texthash.service.requests")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_AUDIT = "audit"


class Recorder:
    """Records requests when they end; no line of the log has anything of a body, a query or a key.

    Args:
        auditor: Writer of the audit lines of writes; None where nothing is written.
    """

    def __init__(self, auditor: AuditWriter | None = None) -> None:
        self._metrics = RequestMetrics()
        self._auditor = auditor

    def record(self, scope: Any, method: str, status: int) -> None:
        """Record a request.

        Args:
            scope: ASGI scope of the request, with its id and its time of arrival.
            method: Its method.
            status: Status of its response; 0 without one.
        """
        state = scope["state"]
        seconds = time.perf_counter() - state[ARRIVED]
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.record(route, status, seconds)
        write = state.get(_AUDIT)
        if write is not None:
            write = {"key": state.get("key"), "client": (scope.get("client") or (None,))[0], **write, "status": status}
            if self._auditor is not None:
                self._auditor.add({"request_id": state["request_id"], **write})
        if not requests.isEnabledFor(logging.INFO):
            return
        line = {"request_id": state["request_id"], "method": method, "route": route}
        requests.info("request", extra={**line, "status": status, "ms": round(1e3 * seconds, 3)})
        if write is not None:
            requests.info("write", extra={"request_id": state["request_id"], **write})


class RequestLog:
    """Give each request an id, and record it when it ends.

    Ray Serve returns the ``X-Request-ID`` of a request (or a new one) in each response; here the id goes into the state
    of the scope, for problems and the log.

    Args:
        app: Next ASGI application.
        recorder: Recorder of the requests.
    """

    def __init__(self, app: Any, recorder: Recorder) -> None:
        self._app = app
        self._recorder = recorder

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state.setdefault(ARRIVED, time.perf_counter())
        state["request_id"] = request_id_of(Headers(scope=scope).get("x-request-id", ""))
        status, method = 0, scope["method"]

        async def observe(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            self._recorder.record(scope, method, status)


def request_id_of(given: str) -> str:
    """Return the given id of a request, or a new one if it is none that a log can have."""
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def audit(scope: Any, operation: str, **facts: str | int | None) -> None:
    """Record what a request writes, for its audit line; later calls add facts.

    Args:
        scope: ASGI scope of the request.
        operation: Name of the operation on the index.
        facts: Counts, names given by the service, and the release that holds the write.
    """
    write = scope["state"].setdefault(_AUDIT, {"operation": operation})
    write.update({name: value for name, value in facts.items() if value is not None})
