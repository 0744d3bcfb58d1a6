"""Folders that cannot be read or written, for root as for anybody else."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


@contextmanager
def without_override() -> Iterator[None]:
    """Have this thread, and those that it starts, obey the modes of files, which root does not otherwise."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 capabilities
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    before = sets[0]
    sets[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


@contextmanager
def closed(path: Path, mode: int = 0) -> Iterator[None]:
    """Give a file or folder a mode, by default that of one which nobody may read, for as long as the block lasts."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with without_override():
            yield
    finally:
        path.chmod(before)
