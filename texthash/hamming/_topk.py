"""Best k of a search, as a max-heap of keys ``distance << 32 | row``, which breaks ties by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from texthash.hamming._simd import inlined


@inlined
def sift(heap: Any, size: int, key: Any) -> None:
    """Replace the greatest of ``size`` keys by ``key``."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key


@inlined
def push(heap: Any, size: int, key: Any) -> None:
    """Add ``key`` to a heap of ``size`` keys."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if heap[parent] >= key:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = key


@inlined
def enter(best: Any, size: int, top: Any, distance: int, row: int) -> Any:
    """Add a row to the best k if it is one of them; with k = 0 it is only counted.

    Returns:
        (new size, largest distance that can still enter).
    """
    k = len(best)
    if k == 0:
        return size + 1, top
    key = np.uint64(distance) << np.uint64(32) | np.uint64(row)
    if size < k:
        push(best, size, key)
        size += 1
    elif key < best[0]:
        sift(best, k, key)
    if size == k:
        top = min(top, np.int64(best[0] >> np.uint64(32)))
    return size, top


@inlined
def sort_heap(best: Any, size: int) -> None:
    """Sort a heap of ``size`` keys in ascending order."""
    if len(best) > 0:
        for left in range(size - 1, 0, -1):
            key = best[left]
            best[left] = best[0]
            sift(best, left, key)
