"""Unavailable tracking servers, per process: each is retried from time to time, and its outage is reported once."""

from __future__ import annotations

import time
from pathlib import Path

from texthash.progress import log_line
from texthash.tracking.failures import StoreError
from texthash.tracking.store import server_responds

RETRY_SECONDS = 15.0
_LONGEST_WAIT = 40  # times RETRY_SECONDS, after failures that follow each other although the server responds

_last_failure: dict[str, float] = {}  # monotonic time of the last failed attempt, by server
_failures: dict[str, int] = {}  # calls that failed since the last one that did not, by server
_notified: set[str] = set()


def known_unavailable(uri: str) -> bool:
    """Return True if this process has found the server unavailable; does not contact it."""
    return uri in _last_failure


def reachable(uri: str) -> bool:
    """Return True unless the server is known to be unavailable; an unavailable one is retried from time to time."""
    last = _last_failure.get(uri)
    if last is None:
        return True
    if time.monotonic() - last < RETRY_SECONDS * min(2 ** (_failures.get(uri, 1) - 1), _LONGEST_WAIT):
        return False
    if server_responds(uri):
        del _last_failure[uri]
        _notified.discard(uri)
        return True
    _last_failure[uri] = time.monotonic()
    return False


def mark_unavailable(uri: str, error: StoreError, outbox: Path) -> None:
    """Record that a server is unavailable, and report it with the directory that holds the entries meanwhile."""
    _last_failure[uri] = time.monotonic()
    _failures[uri] = _failures.get(uri, 0) + 1
    notify_once(uri, outbox, error)


def mark_available(uri: str) -> None:
    """Record that a call to a server succeeded."""
    _failures.pop(uri, None)


def notify_once(uri: str, outbox: Path, error: StoreError | None = None) -> None:
    """Log, once per outage, that a server is unavailable and which directory holds the entries meanwhile."""
    if uri in _notified:
        return
    _notified.add(uri)
    why = f": {error.problem}" if error else ""
    log_line(
        f"mlflow: {uri} does not answer{why}\n"
        f"  the command continues; log entries are kept in {outbox} and sent when the server answers again "
        "(or by `texthash sync`)"
    )
