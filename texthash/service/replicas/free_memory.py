"""Return of memory that a process has freed and keeps for itself, and less work for its garbage collector."""

from __future__ import annotations

import ctypes
import gc
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


_YOUNG = 20_000  # objects: more than a pass of 32 requests has, with Python's 700 the collector runs many times in one


def spare_collector() -> None:
    """Let the garbage collector leave alone what exists now; call it once the process is ready for requests.

    It would walk through modules and opened shards again and again, which is a twentieth of the time of a search.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
