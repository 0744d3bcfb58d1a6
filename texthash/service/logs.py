"""Where the log goes: inside Serve into the file of the replica, as Serve's own lines do, one JSON object a line."""

from __future__ import annotations

import logging

from ray.serve.schema import EncodingType, LoggingConfig

SERVE_LOGGER = "ray.serve"  # the one logger for which Serve opens a file in each replica
OF_SERVICE = "texthash.service"
# Serve's line for each call is left out: ours for a request says the same, and its route and id as well.
LOGGING = LoggingConfig(encoding=EncodingType.JSON, enable_access_log=False)


class _ToServe(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "request_id"):
            record.skip_context_filter = True  # or Serve would put 600 bytes more, and its own route, into each line
        logging.getLogger(SERVE_LOGGER).handle(record)


def log_with_serve() -> None:
    """Send what the service logs from here on, INFO and above, the way of Serve's own log; call it in a replica.

    A worker process of Ray has no other handler than Python's last resort, which drops all below WARNING.
    """
    logger = logging.getLogger(OF_SERVICE)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_ToServe()]
