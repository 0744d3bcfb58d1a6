"""What the routes share: how a route says which errors it can answer with."""

from __future__ import annotations

from typing import Any

from texthash.api.problems import KINDS, MEDIA_TYPE, ProblemBody

JSON = "application/json"
READ_PROBLEMS = ("unauthorized", "unknown-host", "overloaded", "internal", "timeout")
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

# The body of such a route may be left out, but its type may not; who sends the empty object states both.
EMPTY_BODY = {"requestBody": {"required": True}}


def answers(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The error statuses of a route, for its documentation."""
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    return {
        status: {
            "description": "; ".join(f"{KINDS[kind].title} (`{kind}`)" for kind in found),
            "model": ProblemBody,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, found in by_status.items()
    }
