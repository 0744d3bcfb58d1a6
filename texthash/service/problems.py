"""Errors as RFC 9457 problems: every error of the service has this form, and a ``type`` that is a page one can read."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its status, its title, and what a person can do about it."""

    status: int
    title: str
    explanation: str


KINDS: dict[str, Kind] = {
    "malformed-json": Kind(400, "the body is not JSON", "Send one JSON object, in UTF-8, as the request body."),
    "not-found": Kind(404, "there is no such path", "The paths that exist are listed in /docs."),
    "unknown-document": Kind(
        404,
        "no document has this id",
        "A query by id searches with the stored code of a document, which must be in the index.",
    ),
    "unknown-snapshot": Kind(404, "no snapshot has this name", "GET /v1/snapshots lists those that exist."),
    "unauthorized": Kind(
        401,
        "the key is missing or wrong",
        "This server asks for a key: send it in the header Authorization: Bearer <key>.",
    ),
    "method-not-allowed": Kind(
        405, "this path does not take this method", "The Allow header of the answer names the methods that it takes."
    ),
    "body-too-slow": Kind(
        408, "the body took too long to arrive", "GET /v1/info shows limits.request_timeout_s; send less at once."
    ),
    "wrong-code-width": Kind(
        409,
        "the code does not have the width of the index",
        "A code has bits / 4 hexadecimal digits; GET /v1/info names the bits. A code made by another model finds "
        "nothing sensible: encode with POST /v1/encode of this server.",
    ),
    "no-vectors": Kind(
        409,
        "there is no vector to rescore by",
        "rescore.kind float orders by vectors that an index keeps where it was built with index.vectors; GET /v1/info "
        "shows index.vectors. A query by code has none. asymmetric needs none.",
    ),
    "snapshot-exists": Kind(
        409, "a snapshot has this name", "A snapshot never changes: choose another name, or drop that one first."
    ),
    "model-changed": Kind(
        409,
        "the model was exchanged meanwhile",
        "The documents were encoded by a model that is not served any more. Send the request again.",
    ),
    "write-failed": Kind(
        409, "the index did not take the write", "Nothing of the write is to be seen; the detail says why."
    ),
    "body-too-large": Kind(
        413, "the body is too large", "GET /v1/info shows limits.max_body_bytes; send less at once."
    ),
    "batch-too-large": Kind(
        413,
        "too many texts or queries in one request",
        "GET /v1/info shows limits.max_batch; divide the work into several requests.",
    ),
    "text-too-long": Kind(
        413,
        "a text is too long",
        "GET /v1/info shows limits.max_text_bytes, counted in UTF-8; send a part of the text.",
    ),
    "unsupported-media-type": Kind(
        415, "the body is of another media type", "Send JSON with the header Content-Type: application/json."
    ),
    "invalid-field": Kind(
        422,
        "a field is missing, unknown or out of range",
        "The list errors names each field and what is wrong with it.",
    ),
    "limit-too-large": Kind(
        422,
        "limit is too large",
        "GET /v1/info shows limits.max_limit for limit, limits.max_oversample for rescore.oversample, and "
        "limits.max_window for limit + offset and for limit * rescore.oversample, and limits.max_hits for that of all "
        "queries of a request together.",
    ),
    "radius-too-large": Kind(422, "radius is larger than the code", "A distance is at most the bits of the code."),
    "overloaded": Kind(
        429,
        "too many requests are waiting",
        "Wait the seconds of the Retry-After header, then send the request again. texthash.client does.",
    ),
    "internal": Kind(
        500, "the server failed", "The log of the server has the cause under the request_id of this answer."
    ),
    "encoder-unavailable": Kind(
        503, "the encoder is away", "It is being restarted. Send the request again; queries by code need no encoder."
    ),
    "shard-unavailable": Kind(
        503,
        "a shard of the index is away",
        "An answer without this shard would not be exact, so there is none, unless the request has "
        "allow_partial: true. The shard is being restarted: send the request again after Retry-After seconds. "
        "GET /health/ready tells when all shards answer.",
    ),
    "writer-unavailable": Kind(
        503,
        "the writer of the index is away",
        "It is being restarted. Send the write again: what was not acknowledged may or may not be in the index, and a "
        "second upsert or delete of the same documents does no harm.",
    ),
    "index-held": Kind(
        503,
        "another program writes to the index",
        "An index has one writer at a time, and that is not this service now. Send the write again when it has ended.",
    ),
    "metrics-unavailable": Kind(
        503,
        "no metrics agent answers",
        "Ray's metrics agent on each node keeps the numbers. It runs where ray[default] is installed and metrics "
        "collection is not disabled; the address in the detail is the one that was asked.",
    ),
    "timeout": Kind(
        504,
        "the answer took too long",
        "GET /v1/info shows limits.request_timeout_s. Ask for less at once, or add shards.",
    ),
}


class Problem(HTTPException):
    """An error to be answered.

    Args:
        kind: Key of :data:`KINDS`.
        detail: What exactly is wrong here, with the value and what is allowed.
        errors: ``{"loc": [...], "msg": ...}`` for each field.
        headers: Of the answer.
        members: Further members of the problem object, such as ``shard``.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[dict[str, Any]] = (),
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(KINDS[kind].status, detail, headers)
        self.kind = kind
        self.errors = list(errors)
        self.members = members

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels between processes, and an exception would do so without its keywords."""
        return _problem, (self.kind, self.detail, self.errors, self.headers, self.members)

    def response(self, scope: Any) -> Response:
        """The answer, for the request of an ASGI scope."""
        kind = KINDS[self.kind]
        body = {
            "type": f"{root_path(scope)}/problems/{self.kind}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "instance": scope.get("path", ""),
            "request_id": scope.get("state", {}).get("request_id", ""),
            **self.members,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(json.dumps(body), kind.status, self.headers, MEDIA_TYPE)


def _problem(
    kind: str, detail: str, errors: list[dict[str, Any]], headers: dict[str, str] | None, members: dict[str, Any]
) -> Problem:
    return Problem(kind, detail, errors=errors, headers=headers, **members)


def root_path(scope: Any) -> str:
    """The prefix under which the application is served; a mounted part of it sees a longer one."""
    return str(scope.get("app_root_path", scope.get("root_path", "")))


def install(app: FastAPI) -> None:
    """Give every error of an application the form of a problem, and serve the page of each kind."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return _from_http(request, error).response(request.scope)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return _from_validation(error).response(request.scope)

    @app.get("/problems/{kind}", include_in_schema=False)
    async def _page(kind: str, request: Request) -> HTMLResponse:
        if kind not in KINDS:
            raise Problem("not-found", f"there is no kind of problem called {kind!r}; there are {', '.join(KINDS)}.")
        return HTMLResponse(page(kind, request.scope.get("root_path", "")))


def page(kind: str, root_path: str = "") -> str:
    """The documentation page of a kind of problem."""
    found = KINDS[kind]
    others = "".join(
        f'<li><a href="{root_path}/problems/{name}">{name}</a> <span>{other.status}</span></li>'
        for name, other in KINDS.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{kind} · texthash</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.55 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1.25rem }}
h1 {{ font-size: 1.6rem; margin: 0 0 .25rem }} code, span {{ opacity: .7 }} ul {{ padding-left: 1.2rem }}
</style></head><body>
<p><code>{found.status} · {kind}</code></p><h1>{html.escape(found.title.capitalize())}</h1>
<p>{html.escape(found.explanation)}</p>
<h2>All kinds of problem</h2><ul>{others}</ul>
<p><a href="{root_path}/docs">API documentation</a></p>
</body></html>"""


def _from_http(request: Request, error: HTTPException) -> Problem:
    if isinstance(error, Problem):
        return error
    headers = dict(error.headers) if error.headers else None
    path, method = request.scope.get("path", ""), request.method
    if error.status_code == 404:
        return Problem("not-found", f"there is no {path} here.", headers=headers)
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        detail = f"{path} does not take {method}, but {allowed}."
        return Problem("method-not-allowed", detail, headers={**(headers or {}), "Allow": allowed})
    if error.status_code == 400:
        return Problem("malformed-json", f"the body cannot be read: {_reason(error)}.", headers=headers)
    return Problem("internal", f"unexpected status {error.status_code}: {error.detail}", headers=headers)


def _reason(error: HTTPException) -> str:
    """Why the framework could not read a body; it says so in the cause alone."""
    cause = error.__cause__
    if isinstance(cause, UnicodeDecodeError):
        return f"byte {cause.start} is not UTF-8"
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    return str(cause or error.detail)


def _methods(request: Request) -> set[str]:
    """What a path takes: of all its routes, where the framework names the first one's only."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    found = {method for route in matching for method in getattr(route, "methods", None) or ("GET",)}
    return found | {"HEAD"} if "GET" in found else found


def _from_validation(error: RequestValidationError) -> Problem:
    found = error.errors()
    broken = next((item for item in found if item["type"] == "json_invalid"), None)
    if broken is not None:
        reason = broken.get("ctx", {}).get("error", broken["msg"])
        return Problem("malformed-json", f"the body cannot be read as JSON: {reason}.")
    errors = [
        {"loc": list(item["loc"]), "msg": item["msg"].removeprefix("Value error, "), "type": item["type"]}
        for item in found
    ]
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid-field", f"{where}: {first['msg']}{more}.", errors=errors)
