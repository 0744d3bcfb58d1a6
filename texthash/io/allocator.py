"""Settings of the allocator of a process with many threads."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def limit_arenas() -> None:
    """Have the threads of this process share two arenas of glibc, from now on.

    By default glibc gives up to eight arenas a core to the threads of a library, each of which keeps what it has freed:
    while 3.2 million documents were written by Lance, 120 MB.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
