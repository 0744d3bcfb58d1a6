"""Reading of the whole request body, within its size limit."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.datastructures import Headers

from texthash.service.memory_budget import MemoryBudget, Reservation
from texthash.service.middleware.turns import Turns
from texthash.service.problems import Problem

READING = "reading"  # state of a scope whose body is incomplete
LARGE = 2**16  # bytes from which parsing and validating a body blocks the event loop for long
_WITH_BODY = ("POST", "PUT", "PATCH")


class WholeBody:
    """Read the whole body, within the limit, so that no route sees an incomplete one.

    Args:
        app: Next ASGI application.
        most: Maximum number of bytes of a body.
        budget: Memory budget of bodies and answers.
    """

    def __init__(self, app: Any, most: int, budget: MemoryBudget) -> None:
        self._app = app
        self._most = most
        self._budget = budget
        self._turns = Turns()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        with self._budget.reservation() as reservation:
            scope["state"][READING] = True
            body = await self._read(headers, receive, reservation)
            scope["state"][READING] = False
            if len(body) > LARGE:
                await self._turns.take()
            await self._app(scope, _replay(body), send)

    async def _read(self, headers: Headers, receive: Any, reservation: Reservation) -> bytes:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):  # Nothing is decompressed, so that a small body stays small.
            raise Problem(
                "unsupported-media-type", f"the body has Content-Encoding {encoding!r}; send it uncompressed."
            )
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._most:
            raise Problem("body-too-large", f"the body has {declared} bytes, this server takes {self._most}.")
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem("malformed-json", "the body ended early.")
            body += message.get("body", b"")
            if len(body) > self._most:
                raise Problem("body-too-large", f"the body has more than {self._most} bytes.")
            reservation.set_size(len(body))
            if rejection := self._budget.rejection():
                raise rejection
            if not message.get("more_body", False):
                return bytes(body)


def _replay(body: bytes) -> Any:
    """Return a ``receive`` that gives the body once and then waits, like a connection without further messages."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        return None

    return receive
