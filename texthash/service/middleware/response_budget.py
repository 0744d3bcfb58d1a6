"""The memory that answers take until their clients have read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from texthash.service.memory_budget import MemoryBudget

_PIECE = 2**18


class ResponseBudget:
    """Reservation for each part of an answer until it is on its way, since a client may read slowly.

    Args:
        app: Application behind.
        budget: Reservation of the memory that bodies and answers take.
    """

    def __init__(self, app: Any, budget: MemoryBudget) -> None:
        self._app = app
        self._ledger = budget

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def accounted(message: Any) -> None:
            with self._ledger.reservation() as reservation:
                reservation.set_size(len(message.get("body", b"")))
                for piece in _pieces(message):
                    await send(piece)

        await self._app(scope, receive, accounted)


def _pieces(message: Any) -> Iterator[Any]:
    """Divide a large part of an answer: a server takes a part whole, and waits for its client before the next."""
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for start in range(0, len(body), _PIECE):
        end = start + _PIECE
        more = end < len(body) or message.get("more_body", False)
        yield {**message, "body": body[start:end], "more_body": more}
