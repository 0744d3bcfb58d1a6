"""An answer to every failure of a request, also of one that no route has seen."""

from __future__ import annotations

import logging
from typing import Any

from texthash.service.problems import Problem

log = logging.getLogger("texthash.service")


class Failures:
    """Answer with the problem that was raised, and with ``internal`` after any other exception, which is logged.

    Args:
        app: Application behind.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noted(message: Any) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Problem as problem:
            if begun:  # too late for another status: the server breaks the connection
                raise
            await problem.response(scope)(scope, receive, send)
        except Exception:
            log.exception("request %s failed", scope["state"]["request_id"])
            if begun:
                raise
            unexpected = Problem("internal", "an unexpected error; the log has its cause under the request_id.")
            await unexpected.response(scope)(scope, receive, send)
