"""Log of the service: in a replica it goes into Serve's log file, one JSON object per line."""

from __future__ import annotations

import logging

from ray.serve.schema import EncodingType, LoggingConfig

SERVE_LOGGER = "ray.serve"  # the only logger for which Serve opens a file in each replica
OF_SERVICE = "texthash.service"
# Serve's access log is off: the request log of the service has the same facts, and the route and id as well.
LOGGING = LoggingConfig(encoding=EncodingType.JSON, enable_access_log=False)
# Throughput-optimized Serve writes 1,000 lines at once, which blocks the event loop for 20 ms; here fewer are buffered.
_BUFFERED = 64


class _ToServe(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._buffered = 0

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "request_id"):
            record.skip_context_filter = True  # Otherwise Serve adds 600 bytes and its own route to each line.
        logging.getLogger(SERVE_LOGGER).handle(record)
        self._buffered += 1
        if self._buffered >= _BUFFERED:
            self.flush()

    def flush(self) -> None:
        self._buffered = 0
        for handler in logging.getLogger(SERVE_LOGGER).handlers:
            handler.flush()


def log_with_serve() -> None:
    """Send the log of the service, INFO and above, to Serve's log; call it in a replica.

    A worker process of Ray has only Python's handler of last resort, which drops everything below WARNING.
    """
    logger = logging.getLogger(OF_SERVICE)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_ToServe()]


def flush_log() -> None:
    """Write the buffered lines, also those of an idle service; call it every few seconds."""
    for handler in logging.getLogger(OF_SERVICE).handlers:
        handler.flush()
