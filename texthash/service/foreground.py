"""Service in the foreground: it is announced when ready, and ends with the program that started it. Imports no Ray."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from texthash.progress import log_line

_LONGEST_WAIT_S = 0.5


def interrupt_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise :class:`KeyboardInterrupt` in the main thread.

    Call it once a local cluster has been started. Ray sets a handler for SIGTERM that would end this process without
    shutting down the cluster. A shell starts background jobs with SIGINT ignored, and Python leaves it ignored, so that
    the service would outlive the script that ends it. SIGHUP would end the program at once and leave the cluster
    running; it stays ignored under ``nohup``.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


@contextmanager
def foreground(url: str, wait: bool = True) -> Iterator[None]:
    """Announce after the block that a service is ready, and return on SIGINT, SIGTERM or SIGHUP without an error.

    Args:
        url: URL of the service. The block prints it; a reader of it may end the service at once.
        wait: False returns at once, since the service continues without this program.
    """
    if wait:
        interrupt_on_signals()
    try:
        yield
        log_line(f"READY: search page {url}/, HTTP API {url}/docs")
        if wait:
            log_line("Ctrl-C ends the service and its local cluster")
            never = threading.Event()
            # Python handles a signal between two instructions: one that comes just before a wait is seen after it.
            while not never.wait(_LONGEST_WAIT_S):
                pass
    except KeyboardInterrupt:
        if wait:
            log_line("ending")
