"""The k nearest other rows of each row, block by block: what a search is, and its blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError
from texthash.executor import Claim, Executor, LocalExecutor
from texthash.progress import track

Neighbours = tuple[NDArray[np.int32], NDArray[np.float32]]
# The first row of a block, and its neighbours.
Block = tuple[int, NDArray[np.int32], NDArray[np.float32]]

BLOCK_ROWS = 256
# A task of a cluster costs a message, so it has more rows; what is found does not depend on their number.
_REMOTE_BLOCK_ROWS = 2048


class Search(Protocol):
    """Finds neighbours among the rows it was made of; what it finds for a row depends on nothing else."""

    @property
    def documents(self) -> int:
        """Number N of rows."""

    def nearest(self, start: int, stop: int, k: int) -> Neighbours:
        """Rows int32 [stop - start, k] and similarities float32 [stop - start, k], best first, equal ones by row."""


def blocks_of(search: Search, k: int, executor: Executor | None = None, *, block: int | None = None) -> Iterator[Block]:
    """Find the neighbours of all rows, block by block, in the order in which blocks are finished.

    Args:
        search: What to look in; on a cluster it is stored once on each node.
        k: Number of neighbours.
        executor: Runs the blocks; None: threads of this process, one for each of its cores.
        block: Rows of a block; None: as many as suit the executor.
    """
    executor = executor or LocalExecutor(threads=None)
    size = block or (_REMOTE_BLOCK_ROWS if executor.remote else BLOCK_ROWS)
    tasks = ({"start": start, "size": size, "k": k} for start in range(0, search.documents, size))
    yield from executor.map(_find, tasks, shared=search, claim=Claim())


def _find(search: Search, start: int, size: int, k: int) -> Block:
    return start, *search.nearest(start, min(start + size, search.documents), k)


def fill(
    search: Search, k: int, rows: NDArray[np.int32], weights: NDArray[np.float32], blocks: Iterable[Block]
) -> None:
    """Write the blocks of :func:`blocks_of` into ``rows`` and ``weights`` [N, k], which may be memory-mapped."""
    done = 0
    for start, some, their_weights in track(blocks, "nearest neighbours"):
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
    fill(search, k, rows, weights, blocks_of(search, k, LocalExecutor(threads), block=block))
    return rows, weights


def check_k(k: int, documents: int) -> None:
    """Raise :class:`UsageError` unless there are k other documents."""
    if not 1 <= k < documents:
        raise UsageError(f"k={k} neighbours of {documents} documents.", "choose k from 1 to documents - 1.")
