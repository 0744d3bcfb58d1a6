"""Checks of the form of requests: JSON, known members and parameters, and a bounded number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from texthash.api.problems import MOST_ERRORS
from texthash.errors import as_sentence, nearest_name, shortened
from texthash.member_errors import explain
from texthash.service.middleware.scope import path_of
from texthash.service.problems import Problem

# Objects of the API have at most ten members; each unknown member costs an error.
_MOST_MEMBERS = 32
_API = "/v1/"
_WITH_BODY = ("POST", "PUT", "PATCH")


async def json_stated(request: Request) -> None:
    """Reject a POST or PUT that does not state JSON as its type, also one without a body.

    A browser sends that type to another origin only after a preflight request, so that no plain form can write.
    """
    if request.method not in _WITH_BODY:
        return
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise Problem(
            "unsupported-media-type",
            f"the request is {shortened(media) or 'of no stated type'}, not application/json, which every POST and PUT "
            "has to state, also one without a body.",
        )


async def known_parameters(request: Request) -> None:
    """Reject unknown and repeated parameters of the query string; one of two values would be ignored silently.

    Bytes that are not UTF-8 are rejected in path and query: they would be replaced, and name another document. Routes
    outside the API accept any: pages keep their state there, and load balancers add to health probes.
    """
    if not path_of(request.scope).startswith(_API):
        return
    for part in ("raw_path", "query_string"):
        _check_utf8(request.scope.get(part) or b"")
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    given = Counter(name for name, _ in request.query_params.multi_items())
    wrong = [name for name, count in given.items() if name not in known or count > 1]
    if wrong:
        messages = [
            f"is given {given[name]} times; give it once" if name in known else _unknown_parameter(name, known)
            for name in wrong[: MOST_ERRORS + 1]
        ]
        errors = [{"loc": ["query", name], "msg": text} for name, text in zip(wrong, messages, strict=False)]
        raise Problem(
            "invalid-field",
            f"query.{shortened(wrong[0])}: {messages[0]}{_more(len(wrong))}.",
            errors=errors,
            error_count=len(wrong),
        )


def _check_utf8(address: bytes) -> None:
    try:
        unquote_to_bytes(address).decode()
    except UnicodeDecodeError as error:
        raise Problem(
            "invalid-field", f"the address is not UTF-8: byte 0x{error.object[error.start]:02x} after percent-decoding."
        ) from None


def check_size(body: Any, most: int) -> None:
    """Reject a body with more members or items than any model takes, before each of them is validated.

    Lists within the items are bounded by the models.

    Args:
        body: Parsed JSON.
        most: Maximum number of items of a list that is a member of the body itself.

    Raises:
        Problem: A list is too long, or an object has more members than any object of the API.
    """
    if not isinstance(body, dict):
        return
    _check_members(body, "the body")
    for name, value in body.items():
        if isinstance(value, dict):
            _check_members(value, shortened(name))
        elif isinstance(value, list):
            if len(value) > most:
                count = f"{shortened(name)} has {len(value)} members"
                raise Problem("batch-too-large", f"{count}, this server takes {most} in one request.")
            for position, item in enumerate(value):
                if isinstance(item, dict):
                    _check_members(item, f"{shortened(name)}.{position}")


def from_validation(request: Request, error: RequestValidationError) -> Problem:
    """Return the problem of a request that does not fit the types of its route."""
    invalid = error.errors()
    broken = next((item for item in invalid if item["type"] == "json_invalid"), None)
    if broken is not None:
        reason = broken.get("ctx", {}).get("error", broken["msg"])
        return Problem("malformed-json", f"the body cannot be read as JSON: {reason}.")
    body = _body_type(request)
    errors = [
        {"loc": list(item["loc"]), "msg": explain(item, body, item["loc"][1:]), "type": item["type"]}
        for item in invalid[:MOST_ERRORS]
    ]
    first = errors[0]
    where = ".".join(shortened(str(part)) for part in first["loc"])
    detail = as_sentence(f"{where}: {first['msg']}{_more(len(invalid))}")
    return Problem("invalid-field", detail, errors=errors, error_count=len(invalid))


def _check_members(value: dict[str, Any], where: str) -> None:
    if len(value) > _MOST_MEMBERS:
        raise Problem(
            "invalid-field", f"{where} has {len(value)} members; objects of this API have at most {_MOST_MEMBERS}."
        )


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _unknown_parameter(name: str, known: Sequence[str]) -> str:
    hint = nearest_name(shortened(name), known) if known else "this path takes none"
    return f"is not a parameter of this path; {hint}"


def _body_type(request: Request) -> Any:
    field = getattr(request.scope.get("route"), "body_field", None)
    return field.field_info.annotation if field is not None else None
