"""Short way of a search: the same checks and the same answer, without a layer for each concern and the framework."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from texthash.api.requests import SearchRequest
from texthash.service import tracing
from texthash.service.json_body import parse
from texthash.service.memory_budget import Reservation
from texthash.service.middleware.auth import bearer
from texthash.service.middleware.body import LARGE
from texthash.service.middleware.deadline import exceeded
from texthash.service.middleware.failures import as_problem
from texthash.service.middleware.gate import Gate
from texthash.service.middleware.headers import SECURITY_HEADERS
from texthash.service.middleware.origin import GRPC, name_of_host
from texthash.service.middleware.pace import ARRIVED
from texthash.service.middleware.request_log import RequestLog
from texthash.service.middleware.response_budget import send_reserved
from texthash.service.middleware.scope import path_of
from texthash.service.middleware.trace import Trace
from texthash.service.problems import Problem
from texthash.service.validation import check_size

SEARCH_PATH = "/v1/search"
Respond = Callable[[SearchRequest], Awaitable[Response]]
_SECURITY = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
# Requests with one of these headers go the general way: bodies that are not plain, and pages of browsers.
_UNUSUAL = (b"content-encoding", b"origin", b"sec-fetch-site")
_FOUND = "short_search"
_LONGEST_NUMBER = 9  # digits


@dataclass(frozen=True)
class _Route:
    """Route of the request log."""

    path: str


class ShortSearch:
    """Answer searches that are well-formed and allowed.

    Everything else goes the general way, through the middleware and the router, which find the same fault with it and
    have the words for it. Of what the middleware does this class repeats only conditions.

    Args:
        app: Application of the general way, with its middleware.
        respond: Function that answers a validated request.
        gate: What is allowed, shared with the middleware.
    """

    def __init__(self, app: Any, respond: Respond, gate: Gate) -> None:
        self._app = app
        self._respond = respond
        self._gate = gate
        self._route = _Route(SEARCH_PATH)
        self._answer = RequestLog(Trace(self._answered) if tracing.is_on() else self._answered, gate.recorder)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or path_of(scope) != SEARCH_PATH:
            await self._app(scope, receive, send)
            return
        gate, capacity = self._gate, self._gate.capacity
        scope.setdefault("state", {})[ARRIVED] = time.perf_counter()
        await gate.turns.take()  # before any work, as thousands may arrive together
        headers = dict(scope["headers"])
        if not self._is_plain(scope, headers) or capacity.rejection():
            await self._app(scope, receive, send)
            return
        capacity.active += 1
        try:
            with gate.budget.reservation() as reservation:
                messages, found = await self._received(receive, reservation)
                if found is not None:
                    scope["route"], scope["state"][_FOUND] = self._route, found
                    await self._answer(scope, None, send)
                    return
        finally:
            capacity.active -= 1
        await self._app(scope, _again(messages, receive), send)

    def _is_plain(self, scope: Any, headers: dict[bytes, bytes]) -> bool:
        """Return whether the head of a request is that of an ordinary, allowed search."""
        if scope.get("query_string") or len(headers) != len(scope["headers"]):
            return False
        if any(name in headers for name in _UNUSUAL):
            return False
        media = headers.get(b"content-type", b"")
        if media != b"application/json" and media.partition(b";")[0].strip().lower() != b"application/json":
            return False
        length = headers.get(b"content-length", b"0")
        if (
            not length.isdigit()
            or len(length) > _LONGEST_NUMBER
            or int(length) > min(LARGE, self._gate.limits.max_body_bytes)
        ):
            return False
        hosts = self._gate.hosts
        if hosts is not None and GRPC not in scope.get("extensions", {}):
            host = headers.get(b"host")
            if host is None or name_of_host(host.decode("latin-1")) not in hosts:
                return False
        keys = self._gate.keys
        return not keys or keys.name_of(bearer(headers.get(b"authorization", b""))) is not None

    async def _received(
        self, receive: Any, reservation: Reservation
    ) -> tuple[list[Any], SearchRequest | Exception | None]:
        """Return the received parts of a body, and the request that it contains, or what went wrong with it.

        The request is None if the general way has to read it: it is large, or anything is wrong with it.
        """
        seconds = self._gate.limits.request_timeout_s
        messages, body, more = list[Any](), b"", True
        try:
            async with asyncio.timeout(seconds):
                while more:
                    message = await receive()
                    messages.append(message)
                    body += message.get("body", b"")
                    reservation.set_size(len(body))
                    if message["type"] != "http.request" or len(body) > LARGE or self._gate.budget.rejection():
                        return messages, None
                    more = message.get("more_body", False)
        except TimeoutError:
            return messages, exceeded(seconds, reading=True)
        except Exception as error:  # noqa: BLE001  (answered as any other)
            return messages, error
        return messages, self._request(body)

    def _request(self, body: bytes) -> SearchRequest | None:
        """Return the request in a body; None if there is anything wrong with it."""
        if len(body) > self._gate.limits.max_body_bytes:
            return None
        try:
            value = parse(body)
            check_size(value, self._gate.limits.max_batch)
            return SearchRequest.model_validate(value)
        except (ValueError, RecursionError, ValidationError, Problem):
            return None

    async def _answered(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self._response(scope, scope["state"].pop(_FOUND))
        start = {"type": "http.response.start", "status": response.status_code}
        await send({**start, "headers": [*response.raw_headers, *_SECURITY]})
        await send_reserved({"type": "http.response.body", "body": response.body}, send, self._gate.budget)

    async def _response(self, scope: Any, found: SearchRequest | Exception) -> Response:
        """Return the response to a request, or to what went wrong with it."""
        if isinstance(found, Exception):
            return as_problem(found, scope).response(scope)
        seconds = self._gate.limits.request_timeout_s
        try:
            async with asyncio.timeout(seconds - (time.perf_counter() - scope["state"][ARRIVED])):
                return await self._respond(found)
        except TimeoutError:
            return exceeded(seconds, reading=False).response(scope)
        except Exception as error:  # noqa: BLE001  (logged unless it is a problem)
            return as_problem(error, scope).response(scope)


def _again(messages: list[Any], receive: Any) -> Any:
    """Return a ``receive`` that gives messages once more, and then what follows them."""
    waiting = deque(messages)

    async def received() -> Any:
        return waiting.popleft() if waiting else await receive()

    return received
