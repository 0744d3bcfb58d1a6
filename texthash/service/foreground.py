"""A service that ends with the program that has started it: how that is said, and how it ends. Imports no Ray."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from texthash.progress import say


def interrupt_on_sigterm() -> None:
    """Let SIGTERM do what Ctrl-C does: raise :class:`KeyboardInterrupt` in the main thread.

    To be called once a local cluster has been started, which sets a handler of Ray's own. That one would end this
    process without ending the cluster in order.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def foreground(url: str, wait: bool = True) -> Iterator[None]:
    """Say, after the block, that a service is ready, and stay until Ctrl-C or SIGTERM, which are no error here.

    Args:
        url: Where the service answers. The block prints it: whoever has read it may end the service at once.
        wait: False: the service goes on without this program, which need not stay.
    """
    if wait:
        interrupt_on_sigterm()
    try:
        yield
        say(f"READY: search page {url}/, HTTP API {url}/docs")
        if wait:
            say("Ctrl-C ends the service and its local cluster")
            threading.Event().wait()
    except KeyboardInterrupt:
        if wait:
            say("ending")
