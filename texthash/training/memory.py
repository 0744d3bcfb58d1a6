"""Freed memory is kept for the next step, not handed back to the system."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Let glibc serve large blocks from its heap and never shrink it.

    By default each block above 32 MiB is mapped anew and unmapped when freed. The gradient of a V x H embedding is such
    a block, so every training step would fault in all of its pages: at V = 10,000 and H = 1000 that is a third of the
    time of a step. The price is that the process keeps its peak size.

    Returns:
        Whether the C library has such settings; without, nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
