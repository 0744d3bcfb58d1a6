"""Documentation of the error responses of routes."""

from __future__ import annotations

from typing import Any

from texthash.api.problems import KINDS, MEDIA_TYPE, ProblemBody

JSON = "application/json"
READ_PROBLEMS = ("unauthorized", "unknown-host", "overloaded", "internal", "storage-unavailable", "timeout")
BODY_PROBLEMS = (
    *READ_PROBLEMS,
    "foreign-origin",
    "malformed-json",
    "body-too-slow",
    "body-too-large",
    "batch-too-large",
    "text-too-long",
    "unsupported-media-type",
    "invalid-field",
)
WRITE_PROBLEMS = (
    *BODY_PROBLEMS,
    "read-only-key",
    "write-failed",
    "writer-unavailable",
    "index-held",
    "insufficient-storage",
)

# The body of such a route may be omitted, but its media type may not; an empty object as the body states both.
EMPTY_BODY = {"requestBody": {"required": True}}


def answers(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route, by status, for the OpenAPI document."""
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    return {
        status: {
            "description": "; ".join(f"{KINDS[kind].title} (`{kind}`)" for kind in names),
            "model": ProblemBody,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, names in by_status.items()
    }
