"""Setting of the C library that keeps freed memory for the next training step."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Let glibc serve large blocks from its heap and never shrink it.

    By default each block above 32 MiB is mapped when it is allocated and unmapped when it is freed. The gradient of a
    V x H embedding is such a block, so every training step would fault in all of its pages: at V = 10,000 and H = 1000
    that is a third of the time of a step. In return the process keeps its peak size.

    Returns:
        True if the C library has these settings; otherwise nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
