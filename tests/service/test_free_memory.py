"""Memory that is freed while a shard is opened goes back to the system, and later garbage is still collected."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import psutil
import pytest

from texthash.service.replicas.free_memory import return_freed_memory, spare_collector

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


class _Cycle:
    def __init__(self) -> None:
        self.own = self


def test_cycles_that_come_later_are_collected() -> None:
    before = gc.get_threshold()
    try:
        spare_collector()
        assert gc.get_freeze_count() > 0
        alive = weakref.ref(_Cycle())
        gc.collect()
        assert alive() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
