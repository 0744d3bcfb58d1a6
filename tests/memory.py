"""Measurement of the memory that a function takes at most, for tests marked ``alone``."""

import tracemalloc
from collections.abc import Callable


def check_peak(call: Callable[[], object], most: float) -> None:
    """Check that a function allocates at most so many bytes at a time.

    All threads of the process are counted. In one that has run many other tests some are left, which is why a test
    that asks this is marked ``alone``.
    """
    tracemalloc.start()
    try:
        call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= most, f"{peak} bytes"
