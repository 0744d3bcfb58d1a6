"""Errors that HAProxy answers itself, in the form of those of the service.

HAProxy 2.8 has a page of its own for what it cannot parse as a request, which no setting replaces.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

from texthash.api.problems import KINDS, MEDIA_TYPE

# By the status that HAProxy would answer: the kind of problem, and its detail. What comes of a request that was sent to
# an ingress which died may not be known.
_ERRORS = {
    400: ("malformed-request", "the request cannot be read; its line and headers may have about 16,000 bytes."),
    404: ("not-found", "the service is at another path of this server."),
    408: ("body-too-slow", "the line and the headers of the request took too long to arrive."),
    500: ("internal", "the proxy of the service failed."),
    502: ("ingress-unavailable", "the process that was to answer ended, or what it sent cannot be read."),
    503: ("ingress-unavailable", "no process of the service takes requests now."),
    504: ("timeout", "the process that was to answer took too long."),
}
_RETRY_AFTER_S = 2


def write_error_files(folder: Path) -> None:
    """Write ``<status>.http`` for each status, a whole response of HTTP/1.1."""
    folder.mkdir(exist_ok=True)
    for status, (kind, detail) in _ERRORS.items():
        (folder / f"{status}.http").write_bytes(_response(kind, detail))


def _response(kind: str, detail: str) -> bytes:
    described = KINDS[kind]
    body = {
        "type": f"/problems/{kind}",
        "title": described.title,
        "status": described.status,
        "detail": detail,
        "instance": "",
        "request_id": "",
    }
    content = json.dumps(body).encode()
    headers = [
        f"HTTP/1.1 {described.status} {HTTPStatus(described.status).phrase}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *([f"Retry-After: {_RETRY_AFTER_S}"] if described.status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        "Connection: close",
    ]
    return "\r\n".join([*headers, "", ""]).encode() + content
