"""Signals that end a program in order, as Ctrl-C does."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def leave_on_signals() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP leave the block as Ctrl-C does, and the program with their status: 143 and 129.

    SIGHUP stays ignored where it is, and so is either of the two while the block is being left. Only the main thread
    can do this; in another one nothing is changed.

    Yields:
        The signal that was received, for code that has caught the interrupt itself; empty without one.
    """
    before: dict[int, Any] = {}
    received: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        received.append(number)
        if len(received) == 1:  # a supervisor may send it to the process and to its group
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        wanted = (signal.SIGTERM, signal.SIGHUP)
        before = {one: signal.getsignal(one) for one in wanted if signal.getsignal(one) is not signal.SIG_IGN}
        for number in before:
            signal.signal(number, interrupt)
    try:
        yield received
    except KeyboardInterrupt:
        if received:
            sys.exit(128 + received[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: one that is not of Python
