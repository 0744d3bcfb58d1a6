"""Writer of the audit lines of HTTP requests, beside the event loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from texthash.io.audit import add_line
from texthash.paths import StateDir
from texthash.service.metrics import AuditMetrics

log = logging.getLogger("texthash.service")
_FAILED = 400  # and every status above
_UNKNOWN = 0, 504  # the client went away, or time was over: the write may still be made


class AuditWriter:
    """One thread that writes audit lines in the order of the requests; a slow disk holds nothing else up.

    A line that cannot be written, for whatever reason, is counted and logged, and health says so. The write that it is
    about stands.

    Args:
        home: State directory.
    """

    def __init__(self, home: StateDir) -> None:
        self._home = home
        self._thread = ThreadPoolExecutor(1, "audit")
        self._metrics = AuditMetrics()
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Reason for which the last line could not be written; None if it was."""
        return self._reason

    def add(self, write: Mapping[str, Any]) -> None:
        """Write the line of a request soon.

        Args:
            write: Operation, status and facts of a write.
        """
        self._thread.submit(self._write, dict(write))

    def close(self) -> None:
        """Wait until all lines are written."""
        self._thread.shutdown()

    def _write(self, facts: dict[str, Any]) -> None:
        operation = facts.pop("operation")
        status = facts["status"]
        done = None if status in _UNKNOWN else status < _FAILED
        try:
            add_line(self._home, operation, {"by": "http"}, facts, done=done)
        except Exception as error:  # noqa: BLE001  (nobody waits for this: what is not caught here is never seen)
            self._failed(operation, f"{type(error).__name__}: {error}")
        else:
            if self._reason is not None:
                log.warning("audit lines are written again")
            self._reason = None

    def _failed(self, operation: str, reason: str) -> None:
        self._metrics.failed()
        if reason != self._reason:  # Logged once, not for every write.
            log.warning("no audit line of %s, and of later writes, can be written: %s", operation, reason)
        self._reason = reason
