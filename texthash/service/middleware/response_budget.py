"""Memory of responses until their clients have read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from texthash.service.memory_budget import MemoryBudget

_PIECE = 2**18


class ResponseBudget:
    """Reserve memory for each part of a response until it is sent, since a client may read slowly.

    Args:
        app: Next ASGI application.
        budget: Memory budget of bodies and answers.
    """

    def __init__(self, app: Any, budget: MemoryBudget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_reservation(message: Any) -> None:
            await send_reserved(message, send, self._budget)

        await self._app(scope, receive, with_reservation)


async def send_reserved(message: Any, send: Any, budget: MemoryBudget) -> None:
    """Send a part of a response, and reserve its memory meanwhile."""
    with budget.reservation() as reservation:
        reservation.set_size(len(message.get("body", b"")))
        for piece in _pieces(message):
            await send(piece)


def _pieces(message: Any) -> Iterator[Any]:
    """Divide a large part of a response: a server takes a part whole, and waits for its client before the next."""
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for start in range(0, len(body), _PIECE):
        end = start + _PIECE
        more = end < len(body) or message.get("more_body", False)
        yield {**message, "body": body[start:end], "more_body": more}
