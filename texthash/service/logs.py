"""Where the log goes: inside Serve into the file of the replica, as Serve's own lines do, one JSON object a line."""

from __future__ import annotations

import logging

from ray.serve.schema import EncodingType, LoggingConfig

SERVE_LOGGER = "ray.serve"  # the one logger for which Serve opens a file in each replica
OF_SERVICE = "texthash.service"
# Serve's line for each call is left out: ours for a request says the same, and its route and id as well.
LOGGING = LoggingConfig(encoding=EncodingType.JSON, enable_access_log=False)
# In its throughput-optimized form Serve writes 1,000 lines at once, which holds the event loop for 20 ms.
_HELD = 64


class _ToServe(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._held = 0

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "request_id"):
            record.skip_context_filter = True  # or Serve would put 600 bytes more, and its own route, into each line
        logging.getLogger(SERVE_LOGGER).handle(record)
        self._held += 1
        if self._held >= _HELD:
            self.flush()

    def flush(self) -> None:
        self._held = 0
        for handler in logging.getLogger(SERVE_LOGGER).handlers:
            handler.flush()


def log_with_serve() -> None:
    """Send what the service logs from here on, INFO and above, the way of Serve's own log; call it in a replica.

    A worker process of Ray has no other handler than Python's last resort, which drops all below WARNING.
    """
    logger = logging.getLogger(OF_SERVICE)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_ToServe()]


def flush_log() -> None:
    """Write what is held back, so that a quiet service has its lines in the file too; call it every few seconds."""
    for handler in logging.getLogger(OF_SERVICE).handlers:
        handler.flush()
