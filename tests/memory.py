"""Measurement of the memory that a function takes at most."""

import threading
import tracemalloc
from collections.abc import Callable

_TRIES = 3


def check_peak(call: Callable[[], object], most: float) -> None:
    """Check that a function allocates at most so many bytes at a time.

    All threads of a process are counted, so that one that an earlier test has left can add to it: the best of a few
    tries counts.
    """
    peaks: list[int] = []
    while not peaks or (peaks[-1] > most and len(peaks) < _TRIES):
        tracemalloc.start()
        try:
            call()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) <= most, (peaks, [thread.name for thread in threading.enumerate()])
