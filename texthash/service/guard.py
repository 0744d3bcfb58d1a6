"""What stands before the routes: size, media type, admission, deadline, request id, and an answer to every failure."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from typing import Any

from starlette.datastructures import Headers

from texthash.config import LimitsConfig
from texthash.service.problems import Problem

log = logging.getLogger("texthash.service")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_RETRY_AFTER_S = "1"
_HEALTH = "/health"  # answered even when the service is full: probes must not mistake load for illness


class Guard:
    """ASGI middleware of the service.

    The whole body is read here, within the limit, so that no route ever sees half of one. Ray Serve puts the
    ``X-Request-ID`` of a request (or a new one) into each answer; here it goes into problems and the log.

    Args:
        app: The application behind.
        limits: Of the service.
    """

    def __init__(self, app: Any, limits: LimitsConfig) -> None:
        self._app = app
        self._limits = limits
        self._room = limits.max_ongoing_requests + limits.max_queued_requests
        self._inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope.setdefault("state", {})["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        started = False

        async def remember(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._guarded(scope, headers, receive, remember)
        except Problem as problem:
            if started:  # too late for another status: the server breaks the connection
                raise
            await problem.response(scope)(scope, receive, send)
        except Exception:
            log.exception("request %s failed", scope["state"]["request_id"])
            if started:
                raise
            unexpected = Problem("internal", "an unexpected error; the log has its cause under the request_id.")
            await unexpected.response(scope)(scope, receive, send)

    async def _guarded(self, scope: Any, headers: Headers, receive: Any, send: Any) -> None:
        probe = scope["path"].removeprefix(scope.get("root_path", "")).startswith(_HEALTH)
        if self._inside >= self._room and not probe:
            raise Problem(
                "overloaded",
                f"{self._inside} requests are being answered or waiting, this server takes {self._room}.",
                headers={"Retry-After": _RETRY_AFTER_S},
            )
        self._inside += 1
        try:
            async with asyncio.timeout(self._limits.request_timeout_s):
                if scope["method"] in ("POST", "PUT", "PATCH"):
                    receive = _replay(await self._body(headers, receive))
                await self._app(scope, receive, send)
        except TimeoutError:
            raise Problem(
                "timeout", f"there was no answer within {self._limits.request_timeout_s:g} seconds."
            ) from None
        finally:
            self._inside -= 1

    async def _body(self, headers: Headers, receive: Any) -> bytes:
        most = self._limits.max_body_bytes
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise Problem("body-too-large", f"the body has {declared} bytes, this server takes {most}.")
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem("malformed-json", "the body ended early.")
            size += len(message.get("body", b""))
            if size > most:
                raise Problem("body-too-large", f"the body has more than {most} bytes.")
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
            raise Problem(
                "unsupported-media-type", f"the body is {media or 'of no stated type'}, not application/json."
            )
        return b"".join(parts)


def _replay(body: bytes) -> Any:
    """A ``receive`` that gives the body once, then waits as a connection without further messages does."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        return None

    return receive
