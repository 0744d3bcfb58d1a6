"""A service that ends with the program that started it: announcing it, and ending it in order. Imports no Ray."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from texthash.progress import log_line


def interrupt_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise :class:`KeyboardInterrupt` in the main thread.

    Call it once a local cluster has been started. Ray sets a handler for SIGTERM that would end this process without
    ending the cluster in order. A shell starts background jobs with SIGINT ignored, and Python then leaves it ignored,
    so that a service would outlive the script that asks it to end. SIGHUP would end the program at once and leave the
    cluster running; it stays ignored where ``nohup`` has ignored it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


@contextmanager
def foreground(url: str, wait: bool = True) -> Iterator[None]:
    """Announce, after the block, that a service is ready, and stay until SIGINT, SIGTERM or SIGHUP, which are no error.

    Args:
        url: Where the service answers. The block prints it: a reader of it may end the service at once.
        wait: False: the service continues without this program, which need not stay.
    """
    if wait:
        interrupt_on_signals()
    try:
        yield
        log_line(f"READY: search page {url}/, HTTP API {url}/docs")
        if wait:
            log_line("Ctrl-C ends the service and its local cluster")
            threading.Event().wait()
    except KeyboardInterrupt:
        if wait:
            log_line("ending")
