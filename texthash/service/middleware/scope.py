"""Parts of an ASGI scope that several middleware classes read."""

from __future__ import annotations

from typing import Any

_HEALTH = "/health"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def path_of(scope: Any) -> str:
    """Return the path below the prefix under which the application is served."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def is_probe(scope: Any) -> bool:
    """Return whether the request is a health probe, which is answered under any load."""
    return path_of(scope).startswith(_HEALTH)


def is_safe(scope: Any) -> bool:
    """Return whether the method changes nothing."""
    return scope["method"] in _SAFE
