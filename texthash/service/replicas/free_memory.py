"""Return of memory that a process has freed and keeps for itself."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa


def return_freed_memory() -> None:
    """Return freed memory to the system, where the allocators allow it.

    Opening a shard takes ten times what stays of it: the columns that are read, and what is sorted. Arrow keeps it for
    the next reading, and glibc for the next allocation: a third of the memory of an ingress.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # of glibc only
