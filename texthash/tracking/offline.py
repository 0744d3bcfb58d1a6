"""Tracking servers that are away, as this process knows them: each is asked again now and then, and the person is told
once."""

from __future__ import annotations

import time
from pathlib import Path

from texthash.progress import log_line
from texthash.tracking.store import StoreUnavailableError, answers

ASK_EVERY_SECONDS = 15.0

_silent_since: dict[str, float] = {}  # of each server that is away: when this process last tried it
_told: set[str] = set()


def known_away(uri: str) -> bool:
    """Whether this process has found a server away; does not ask it."""
    return uri in _silent_since


def reachable(uri: str) -> bool:
    """Whether a server answers, as far as this process knows: one that is away is asked now and then."""
    last = _silent_since.get(uri)
    if last is None:
        return True
    if time.monotonic() - last < ASK_EVERY_SECONDS:
        return False
    if answers(uri):
        del _silent_since[uri]
        _told.discard(uri)
        return True
    _silent_since[uri] = time.monotonic()
    return False


def found_away(uri: str, error: StoreUnavailableError, kept: Path) -> None:
    """A server was found away; the person is told where things are kept meanwhile."""
    _silent_since[uri] = time.monotonic()
    tell(uri, kept, error)


def tell(uri: str, kept: Path, error: StoreUnavailableError | None = None) -> None:
    """Say, once until the server answers, that it is away and where things are kept meanwhile."""
    if uri in _told:
        return
    _told.add(uri)
    why = f": {error.problem}" if error else ""
    log_line(
        f"mlflow: {uri} does not answer{why}\n"
        f"  the work goes on; what is logged is kept in {kept} and sent when the server answers again "
        "(or by `texthash sync`)"
    )
