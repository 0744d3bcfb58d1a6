"""What stands before the routes: key, size, media type, admission, deadline, and an answer to every failure."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from starlette.datastructures import Headers

from texthash.config import LimitsConfig
from texthash.errors import UsageError
from texthash.service.memory_budget import RETRY_AFTER_S, Account, Ledger
from texthash.service.metrics import RequestMetrics
from texthash.service.problems import Problem

log = logging.getLogger("texthash.service")
requests = logging.getLogger("texthash.service.requests")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PIECE = 2**18
KEY_VARIABLE = "TEXTHASH_API_KEY"
# All that is not listed here needs the key, so that a new route is closed until somebody opens it.
_PAGES = frozenset({"", "/", "/docs", "/redoc", "/openapi.json", "/favicon.svg"})
_OPEN = ("/health", "/docs/assets/", "/problems/")
_HEALTH = "/health"  # answered even when the service is full: probes must not mistake load for illness


class Guard:
    """ASGI middleware of the service.

    The whole body is read here, within the limit, so that no route ever sees half of one. Ray Serve puts the
    ``X-Request-ID`` of a request (or a new one) into each answer; here it goes into problems and the log.

    Args:
        app: The application behind.
        limits: Of the service.
        ledger: Of the memory that bodies and answers take.
        key: Bearer key that all but health and pages need; None: none does.
    """

    def __init__(self, app: Any, limits: LimitsConfig, ledger: Ledger, key: str | None = None) -> None:
        self._app = app
        self._limits = limits
        self._key = key.encode() if key is not None else None
        self._room = limits.max_ongoing_requests + limits.max_queued_requests
        self._inside = 0
        self._ledger = ledger
        self._metrics = RequestMetrics()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope.setdefault("state", {})["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status, start, method = 0, time.perf_counter(), scope["method"]
        if method == "HEAD":  # of every page and every state: what GET would say, without its body
            scope = {**scope, "method": "GET"}

        async def remember(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif method == "HEAD":
                message = {**message, "body": b""}
            with self._ledger.account() as account:  # until it is on its way: a client may read slowly
                account.put(len(message.get("body", b"")))
                for piece in _pieces(message):
                    await send(piece)

        try:
            with self._ledger.account() as account:
                await self._guarded(scope, headers, receive, remember, account)
        except Problem as problem:
            if status:  # too late for another status: the server breaks the connection
                raise
            await problem.response(scope)(scope, receive, remember)
        except Exception:
            log.exception("request %s failed", scope["state"]["request_id"])
            if status:
                raise
            unexpected = Problem("internal", "an unexpected error; the log has its cause under the request_id.")
            await unexpected.response(scope)(scope, receive, remember)
        finally:
            self._record(scope, method, status, time.perf_counter() - start)

    def _record(self, scope: Any, method: str, status: int, seconds: float) -> None:
        """One increment and one line of the log for a request; neither holds anything of its body or its query."""
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.record(route, status, seconds)
        if requests.isEnabledFor(logging.INFO):
            line = {"request_id": scope["state"]["request_id"], "method": method, "route": route}
            requests.info("request", extra={**line, "status": status, "ms": round(1e3 * seconds, 3)})

    async def _guarded(self, scope: Any, headers: Headers, receive: Any, send: Any, account: Account) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        probe = path.startswith(_HEALTH)
        if self._key is not None and path not in _PAGES and not path.startswith(_OPEN):
            self._authorize(headers)
        if self._inside >= self._room and not probe:
            raise Problem(
                "overloaded",
                f"{self._inside} requests are being answered or waiting, this server takes {self._room}.",
                headers={"Retry-After": RETRY_AFTER_S},
            )
        if not probe and (refusal := self._ledger.refusal()):
            raise refusal
        self._inside += 1
        reading = scope["method"] in ("POST", "PUT", "PATCH")
        try:
            async with asyncio.timeout(self._limits.request_timeout_s):
                if reading:
                    receive = _replay(await self._body(headers, receive, account))
                    reading = False
                await self._app(scope, receive, send)
        except TimeoutError:
            if reading:
                seconds = self._limits.request_timeout_s
                raise Problem("body-too-slow", f"the body was not whole within {seconds:g} seconds.") from None
            raise Problem(
                "timeout", f"there was no answer within {self._limits.request_timeout_s:g} seconds."
            ) from None
        finally:
            self._inside -= 1

    def _authorize(self, headers: Headers) -> None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Header bytes are Latin-1 by the time they are here; compared as bytes, in constant time.
        right = hmac.compare_digest(given.strip().encode("latin-1"), self._key or b"")
        if scheme.lower() != "bearer" or not right:
            raise Problem(
                "unauthorized",
                "this server asks for a key, and the request has none or another.",
                headers={"WWW-Authenticate": 'Bearer realm="texthash"'},
            )

    async def _body(self, headers: Headers, receive: Any, account: Account) -> bytes:
        most = self._limits.max_body_bytes
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):  # nothing is inflated, so that a small body stays small
            raise Problem("unsupported-media-type", f"the body has Content-Encoding {encoding!r}; send it as it is.")
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise Problem("body-too-large", f"the body has {declared} bytes, this server takes {most}.")
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem("malformed-json", "the body ended early.")
            body += message.get("body", b"")
            if len(body) > most:
                raise Problem("body-too-large", f"the body has more than {most} bytes.")
            account.put(len(body))
            if refusal := self._ledger.refusal():
                raise refusal
            if not message.get("more_body", False):
                break
        if not body:  # a route that needs a body says so itself
            return b""
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
            raise Problem(
                "unsupported-media-type", f"the body is {media or 'of no stated type'}, not application/json."
            )
        return bytes(body)


def key_of_environment() -> str | None:
    """The key of the service; None where TEXTHASH_API_KEY is not set.

    Raises:
        UsageError: it is set, and empty or not plain ASCII: a service that was meant to be closed must not be open.
    """
    key = os.environ.get(KEY_VARIABLE)
    if key is not None and not _REQUEST_ID.fullmatch(key):
        raise UsageError(f"{KEY_VARIABLE} is no key.", "give 1 to 128 visible ASCII characters, or unset it.")
    return key


def _pieces(message: Any) -> Iterator[Any]:
    """A large part of an answer as several: a server takes a part whole, and waits for its client before the next."""
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for start in range(0, len(body), _PIECE):
        end = start + _PIECE
        more = end < len(body) or message.get("more_body", False)
        yield {**message, "body": body[start:end], "more_body": more}


def _replay(body: bytes) -> Any:
    """A ``receive`` that gives the body once, then waits as a connection without further messages does."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        return None

    return receive
