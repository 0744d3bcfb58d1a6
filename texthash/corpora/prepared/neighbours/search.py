"""The k nearest other rows of each row, block by block: what a search is, and blocks on threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError
from texthash.progress import track

Neighbours = tuple[NDArray[np.int32], NDArray[np.float32]]
# The first row of a block, and its neighbours.
Block = tuple[int, NDArray[np.int32], NDArray[np.float32]]

BLOCK_ROWS = 256


class Search(Protocol):
    """Finds neighbours among the rows it was made of; what it finds for a row depends on nothing else."""

    @property
    def documents(self) -> int:
        """Number N of rows."""

    def nearest(self, start: int, stop: int, k: int) -> Neighbours:
        """Rows int32 [stop - start, k] and similarities float32 [stop - start, k], best first, equal ones by row."""


# Who finds the blocks of a search: threads of this process, or the workers of a cluster. In any order.
Spread = Callable[[Search, int], Iterator[Block]]


def on_threads(search: Search, k: int, block: int = BLOCK_ROWS, threads: int | None = None) -> Iterator[Block]:
    """The blocks of a search in order, found by threads of this process.

    Args:
        search: What to look in.
        k: Number of neighbours.
        block: Rows of a block.
        threads: None: as many as this process has cores.
    """
    threads = threads or _cores()
    starts = iter(range(0, search.documents, block))

    def find(start: int) -> Block:
        return start, *search.nearest(start, min(start + block, search.documents), k)

    with ThreadPoolExecutor(threads, thread_name_prefix="neighbours") as pool:
        # No more blocks are under way than can be worked on, so memory is bounded however slowly they are taken.
        pending: list[Future[Block]] = [pool.submit(find, start) for start in islice(starts, 2 * threads)]
        while pending:
            yield pending.pop(0).result()
            pending += [pool.submit(find, start) for start in islice(starts, 1)]


def fill(search: Search, k: int, rows: NDArray[np.int32], weights: NDArray[np.float32], spread: Spread) -> None:
    """Write the neighbours of all rows into ``rows`` and ``weights`` [N, k], which may be memory-mapped."""
    done = 0
    blocks = track(spread(search, k), "nearest neighbours")
    for start, some, their_weights in blocks:
        rows[start : start + len(some)] = some
        weights[start : start + len(some)] = their_weights
        done += len(some)
    if done != search.documents:
        raise RuntimeError(f"neighbours of {done} rows were found, there are {search.documents}")


def all_nearest(search: Search, k: int, block: int = BLOCK_ROWS, threads: int | None = None) -> Neighbours:
    """The neighbours of all rows, in memory."""
    check_k(k, search.documents)
    rows = np.empty((search.documents, k), np.int32)
    weights = np.empty((search.documents, k), np.float32)
    fill(search, k, rows, weights, lambda search, k: on_threads(search, k, block, threads))
    return rows, weights


def check_k(k: int, documents: int) -> None:
    """Raise :class:`UsageError` unless there are k other documents."""
    if not 1 <= k < documents:
        raise UsageError(f"k={k} neighbours of {documents} documents.", "choose k from 1 to documents - 1.")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
