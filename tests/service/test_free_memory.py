"""Memory that is freed while a shard is opened goes back to the system."""

from __future__ import annotations

import sys

import numpy as np
import psutil
import pytest

from texthash.service.replicas.free_memory import return_freed_memory

BLOCKS, SIZE = 4_000, 50_000  # bytes each: too few to be mapped by themselves, so that glibc keeps them


@pytest.mark.skipif(sys.platform != "linux", reason="other allocators")
def test_freed_memory_is_returned() -> None:
    blocks = [np.ones(SIZE, np.uint8) for _ in range(BLOCKS)]
    kept = blocks[-1]  # the last one holds the heap below it
    del blocks
    before = psutil.Process().memory_info().rss
    return_freed_memory()
    assert psutil.Process().memory_info().rss < before - BLOCKS * SIZE / 2
    assert kept.sum() == SIZE
