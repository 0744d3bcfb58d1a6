"""Log of the service: in a replica it goes into Serve's log file, one JSON object per line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from logging.handlers import MemoryHandler, RotatingFileHandler

from ray.serve.schema import EncodingType, LoggingConfig

SERVE_LOGGER = "ray.serve"  # the only logger for which Serve opens a file in each replica
OF_SERVICE = "texthash.service"
# Serve's access log is off: the request log of the service has the same facts, and the route and id as well.
LOGGING = LoggingConfig(encoding=EncodingType.JSON, enable_access_log=False)
# Throughput-optimized Serve writes 1,000 lines at once, which blocks the event loop for 20 ms; here fewer are buffered.
_BUFFERED = 64


class ToServe(logging.Handler):
    """Handler that writes to Serve's log, lines of requests 64 at a time where Serve buffers as many.

    A rotating file formats each line twice and writes it by itself, for a tenth of the time of a search.
    """

    def __init__(self) -> None:
        super().__init__()
        self._requests: list[logging.LogRecord] = []
        serve = logging.getLogger(SERVE_LOGGER).handlers
        capacities = [handler.capacity for handler in serve if isinstance(handler, MemoryHandler)]
        self._most = min([_BUFFERED, *capacities]) if capacities else 1

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, at once unless it is that of a request."""
        if hasattr(record, "request_id"):
            record.skip_context_filter = True  # Otherwise Serve adds 600 bytes and its own route to each line.
            self._requests.append(record)
            if len(self._requests) < self._most:
                return
        else:
            logging.getLogger(SERVE_LOGGER).handle(record)
        self.flush()

    def flush(self) -> None:
        """Write what is buffered, by Serve too."""
        records, self._requests = self._requests, []
        for handler in logging.getLogger(SERVE_LOGGER).handlers:
            handler.flush()
            file = handler.target if isinstance(handler, MemoryHandler) else handler
            if isinstance(file, RotatingFileHandler):
                _write_together(file, records)
            else:
                for record in records:
                    handler.handle(record)


def _write_together(file: RotatingFileHandler, records: Sequence[logging.LogRecord]) -> None:
    """Write records to a file that rotates."""
    if not records:
        return
    with file.lock or nullcontext():
        if file.shouldRollover(records[0]):  # which also opens the file
            file.doRollover()
        assert file.stream is not None
        file.stream.write("".join(file.format(record) + file.terminator for record in records))
        file.flush()


def log_with_serve() -> None:
    """Send the log of the service, INFO and above, to Serve's log; call it in a replica.

    A worker process of Ray has only Python's handler of last resort, which drops everything below WARNING.
    """
    logger = logging.getLogger(OF_SERVICE)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [ToServe()]


def flush_log() -> None:
    """Write the buffered lines, also those of an idle service; call it every few seconds."""
    for handler in logging.getLogger(OF_SERVICE).handlers:
        handler.flush()
