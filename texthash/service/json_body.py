"""Parsing of JSON bodies: an object with a member twice is refused, because parsers would take one of the two."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from texthash.errors import shortened
from texthash.service.problems import Problem


class JsonRoute(APIRoute):
    """Route that parses its body by :func:`parse`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await answer(_JsonRequest(request.scope, request.receive))

        return handler


class _JsonRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse(await self.body())
        return self._json


def parse(body: bytes) -> Any:
    """Return the value of a JSON body.

    Raises:
        ValueError: It is not JSON.
        Problem: An object has a member twice.
    """
    repeated: list[tuple[dict[str, Any], str]] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            repeated.append((value, Counter(name for name, _ in pairs).most_common(1)[0][0]))
        return value

    value = json.loads(body, object_pairs_hook=made)
    if repeated:
        owner, name = repeated[-1]  # The last one ends after the others, so no other repetition has replaced it.
        where = [*(_place_of(owner, value) or ()), name]
        message = "occurs twice in one object; give it once"
        raise Problem(
            "invalid-field",
            f"{'.'.join(shortened(str(part)) for part in where)}: {message}.",
            errors=[{"loc": ["body", *where], "msg": message}],
        )
    return value


def _place_of(wanted: dict[str, Any], value: Any) -> tuple[str | int, ...] | None:
    """Return the names and positions that lead to an object; None if it is not in the value."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        place, found = waiting.pop()
        if found is wanted:
            return place
        inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
        waiting += [((*place, name), item) for name, item in inner]
    return None
