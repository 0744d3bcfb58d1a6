"""Error responses, also for requests that reach no route."""

from __future__ import annotations

import logging
from typing import Any

from texthash.service.problems import Problem, of_storage

log = logging.getLogger("texthash.service")


class Failures:
    """Send the problem that was raised; for any other exception log it and send ``internal``.

    Args:
        app: Next ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def observe(message: Any) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception as error:
            problem = as_problem(error, scope)
            if begun:  # The status has been sent: the server breaks the connection.
                raise
            await problem.response(scope)(scope, receive, send)


def as_problem(error: Exception, scope: Any) -> Problem:
    """Return the problem that an exception is sent as; one that was not raised as a problem is logged."""
    if isinstance(error, Problem):
        return error
    log.error("request %s failed", scope["state"]["request_id"], exc_info=error)
    return of_storage(error) or Problem("internal", "an unexpected error; the log has its cause under the request_id.")
