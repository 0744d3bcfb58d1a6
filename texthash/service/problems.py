"""Errors as RFC 9457 problems: each error of the service has this form, and its ``type`` links a documentation page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match

from texthash.api.problems import KINDS, MEDIA_TYPE, MOST_ERRORS
from texthash.errors import StorageUnavailableError, as_user_error, shortened
from texthash.service.pages import policy_of, problem_page

_LONGEST_DETAIL = 1_000
_RETRY_AFTER_S = "2"
# Seconds after which requests give up on an object store: less than a client waits for its answer.
STORE_PATIENCE_S = 5.0


class Problem(HTTPException):
    """Error that is sent as the response.

    Args:
        kind: Key of :data:`KINDS`.
        detail: Description of this error, with the value and what is allowed.
        errors: ``{"loc": [...], "msg": ...}`` for each invalid field; the first ``MOST_ERRORS`` of them are sent.
        error_count: Number of invalid fields, if ``errors`` has only the first of them.
        headers: Headers of the response.
        members: Further members of the problem object, such as ``shard``.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[dict[str, Any]] = (),
        error_count: int | None = None,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(KINDS[kind].status, shortened(detail, _LONGEST_DETAIL), headers)
        self.kind = kind
        self.errors = [_shortened_error(error) for error in errors[:MOST_ERRORS]]
        omitted = (len(errors) if error_count is None else error_count) - len(self.errors)
        if omitted > 0:
            members["errors_omitted"] = omitted
        self.members = members

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling: by default an exception loses its keyword arguments."""
        return _problem, (self.kind, self.detail, self.errors, self.headers, self.members)

    def response(self, scope: Any) -> Response:
        """Return the response to the request of an ASGI scope."""
        kind = KINDS[self.kind]
        body = {
            "type": f"{root_path(scope)}/problems/{self.kind}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "instance": shortened(scope.get("path", ""), _LONGEST_DETAIL),
            "request_id": scope.get("state", {}).get("request_id", ""),
            **self.members,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(json.dumps(body), kind.status, self.headers, MEDIA_TYPE)


def of_storage(error: BaseException) -> Problem | None:
    """Return the problem of an object store, or of an operating system's error about a file; None for other errors."""
    known = as_user_error(error)
    if isinstance(known, StorageUnavailableError):
        return storage_problem(known.problem)
    return Problem("storage-unavailable", known.problem) if known is not None and isinstance(error, OSError) else None


def storage_problem(detail: str) -> Problem:
    """Return the problem of an object store that does not answer, or refuses the credentials."""
    return Problem("storage-unavailable", detail, headers={"Retry-After": _RETRY_AFTER_S})


def _problem(
    kind: str, detail: str, errors: list[dict[str, Any]], headers: dict[str, str] | None, members: dict[str, Any]
) -> Problem:
    return Problem(kind, detail, errors=errors, headers=headers, **members)


def _shortened_error(error: dict[str, Any]) -> dict[str, Any]:
    where = [shortened(part) if isinstance(part, str) else part for part in error["loc"]]
    return {**error, "loc": where, "msg": shortened(error["msg"], _LONGEST_DETAIL)}


def root_path(scope: Any) -> str:
    """Return the prefix under which the application is served, also within a mounted part of it."""
    return str(scope.get("app_root_path", scope.get("root_path", "")))


def install(app: FastAPI) -> None:
    """Send every error that a route raises as a problem, and serve the page of each kind."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return _from_http(request, error).response(request.scope)

    @app.get("/problems/{kind}", include_in_schema=False)
    async def _page(kind: str, request: Request) -> HTMLResponse:
        if kind not in KINDS:
            raise Problem("not-found", f"no kind of problem is called {kind!r}; the kinds are {', '.join(KINDS)}.")
        page = problem_page(kind, request.scope.get("root_path", ""))
        return HTMLResponse(page, headers=policy_of(page))


def _from_http(request: Request, error: HTTPException) -> Problem:
    if isinstance(error, Problem):
        return error
    headers = dict(error.headers) if error.headers else None
    path, method = request.scope.get("path", ""), request.method
    if error.status_code == 404:
        return Problem("not-found", f"the path {path} does not exist.", headers=headers)
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        detail = f"{path} does not take {method}, but {allowed}."
        return Problem("method-not-allowed", detail, headers={**(headers or {}), "Allow": allowed})
    if error.status_code == 400:
        return Problem("malformed-json", f"the body cannot be read: {_reason(error)}.", headers=headers)
    return Problem("internal", f"unexpected status {error.status_code}: {error.detail}", headers=headers)


def _reason(error: HTTPException) -> str:
    """Return why the framework could not read a body; only the cause of its exception has the reason."""
    cause = error.__cause__
    if isinstance(cause, UnicodeDecodeError):
        return f"byte {cause.start} is not UTF-8"
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    return str(cause or error.detail)


def _methods(request: Request) -> set[str]:
    """Return the methods of all routes of a path; the framework names those of the first route only."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in matching for method in getattr(route, "methods", None) or ("GET",)}
    return methods | {"HEAD"} if "GET" in methods else methods
