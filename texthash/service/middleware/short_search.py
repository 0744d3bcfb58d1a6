"""Short way of a search: the same checks and the same answer, without what the framework does for a route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response

from texthash.api.requests import SearchRequest
from texthash.service.json_body import parse
from texthash.service.middleware.scope import path_of
from texthash.service.problems import Problem
from texthash.service.validation import check_size

SEARCH_PATH = "/v1/search"
Respond = Callable[[SearchRequest], Awaitable[Response]]


@dataclass(frozen=True)
class _Route:
    """Route of the request log."""

    path: str


class ShortSearch:
    """Answer searches that are well-formed.

    Everything else goes the general way, which finds the same request and has the words for what is wrong with it.

    Args:
        app: Next ASGI application.
        respond: Function that answers a validated request.
        max_batch: Largest number of queries of a request.
    """

    def __init__(self, app: Any, respond: Respond, max_batch: int) -> None:
        self._app = app
        self._respond = respond
        self._max_batch = max_batch
        self._route = _Route(SEARCH_PATH)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not _is_plain_search(scope):
            await self._app(scope, receive, send)
            return
        message = await receive()  # the whole body: an earlier layer has read it
        request = self._request(message.get("body", b""))
        if request is None:
            await self._app(scope, _again(message, receive), send)
            return
        scope["route"] = self._route
        response = await self._respond(request)
        await response(scope, receive, send)

    def _request(self, body: bytes) -> SearchRequest | None:
        """Return the request in a body; None if there is anything wrong with it."""
        try:
            value = parse(body)
            check_size(value, self._max_batch)
            return SearchRequest.model_validate(value)
        except (ValueError, RecursionError, ValidationError, Problem):
            return None


def _is_plain_search(scope: Any) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("query_string"):
        return False
    if path_of(scope) != SEARCH_PATH:
        return False
    media = Headers(scope=scope).get("content-type", "")
    return media.partition(";")[0].strip().lower() == "application/json"


def _again(message: Any, receive: Any) -> Any:
    """Return a ``receive`` that gives a message once more, and then what follows it."""
    waiting = [message]

    async def received() -> Any:
        return waiting.pop() if waiting else await receive()

    return received
