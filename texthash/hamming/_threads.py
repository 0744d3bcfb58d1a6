"""Dispatch from the public kernels to the compiled loops: checks, array layouts, row ranges on threads, and merging."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from texthash.arguments import check_whole
from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming._simd import LANES
from texthash.hamming.codes import as_readonly

Words = NDArray[np.uint64]
Mask = NDArray[np.bool_] | NDArray[np.uint32]
# Distances [Q, m], rows [Q, m], and the number of columns that each query fills.
Found = tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]
T = TypeVar("T")

# Work (rows times queries times words) below which a further thread costs more than it saves.
_WORK_PER_THREAD = 1 << 18
# A block has to stay in the first-level cache (32 KiB on most machines) while all queries scan it, together with their
# state. With few queries a block can be larger: fewer block ends then interrupt the stream from memory.
_BLOCK_WORDS = 2048
_FEW_QUERIES, _LARGE_BLOCK_WORDS = 4, 4096


def pack_allow(allow: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Pack a bool mask [N] into uint32 [ceil(N / 32)]: bit i of element j is row 32 j + i."""
    packed = np.packbits(allow, bitorder="little")
    padded = np.zeros(-(-len(packed) // 4) * 4, np.uint8)
    padded[: len(packed)] = packed
    return padded.view("<u4")


def arguments(
    words: Words, query_words: Words, allow: Mask | None, radius: int | None
) -> tuple[Words, Words, NDArray[np.uint32], int]:
    """Check the arguments of a search, and convert them to the layouts of the compiled loops.

    Returns:
        Codes, query codes by query, packed mask, and the distance that a hit must stay below.

    Raises:
        ModelMismatchError: The query codes have another width than the codes.
        TexthashError: An array has the wrong type or shape, or the radius is negative.
    """
    for name, array in (("words", words), ("query words", query_words)):
        if array.dtype != np.uint64 or array.ndim != 2:
            raise TexthashError(
                f"{name} are a {array.dtype} array of shape {array.shape}, not uint64 [words, codes]",
                "make them with texthash.hamming.codes.to_words",
            )
    if len(words) != len(query_words):
        raise ModelMismatchError(
            f"query codes have {len(query_words)} words of 64 bits, the codes searched have {len(words)}",
            "encode queries with the model that made the index",
        )
    longest = 64 * len(words)
    if radius is not None:
        check_whole("radius", radius, least=0, unit="bits")
    bound = 1 + (longest if radius is None else min(radius, longest))
    return as_readonly(words), by_query(query_words), _mask(allow, words.shape[1]), bound


def _mask(allow: Mask | None, rows: int) -> NDArray[np.uint32]:
    if allow is None:
        return as_readonly(np.empty(0, np.uint32))
    if allow.dtype == np.bool_ and allow.shape == (rows,):
        return as_readonly(pack_allow(allow.astype(np.bool_, copy=False)))
    if allow.dtype == np.uint32 and allow.shape == (-(-rows // LANES),):
        return as_readonly(allow)
    raise TexthashError(
        f"the mask of allowed rows is a {allow.dtype} array of shape {allow.shape}",
        f"give bool [{rows}], or the result of pack_allow for it",
    )


def by_query(query_words: Words) -> Words:
    """Return query codes [w, Q] as a read-only array [Q, w]."""
    return as_readonly(query_words.T)


def block_rows(words: Words, queries: int) -> int:
    """Return the number of rows per block of a scan, a multiple of 32."""
    size = _LARGE_BLOCK_WORDS if queries <= _FEW_QUERIES else _BLOCK_WORDS
    return size // len(words) // LANES * LANES


def useful_threads(threads: int, work: int) -> int:
    """Return the number of threads, at most ``threads``, that pay off for ``work`` (rows times queries times words)."""
    return max(1, min(threads, work // _WORK_PER_THREAD))


def map_row_ranges(search: Callable[[int, int], T], words: Words, queries: int, threads: int) -> list[T]:
    """Call ``search(start, stop)`` for contiguous row ranges, at most one per thread; return the results in order."""
    rows = words.shape[1]
    parts = useful_threads(threads, words.size * queries)
    size = -(-rows // parts)
    size = max(LANES, -(-size // LANES) * LANES)
    starts = range(0, max(rows, 1), size)
    return run_parallel([functools.partial(search, start, min(start + size, rows)) for start in starts])


def merge_ranges(found: list[Found], k: int) -> Found:
    """Merge the results of row ranges, given in the order of the ranges, and keep the best k."""
    if len(found) == 1:
        return found[0]
    sizes = np.minimum(k, np.sum([part[2] for part in found], axis=0))
    width = int(sizes.max(initial=0))
    near = np.concatenate([part[0] for part in found], axis=1)
    rows = np.concatenate([part[1] for part in found], axis=1)
    # Rows of equal distance are already in order, within a range and between ranges; a stable sort keeps that order.
    order = np.argsort(near, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(rows, order, axis=1), sizes


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="hamming")


# A forked child inherits the pool without its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


def run_parallel(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run jobs in parallel, and return their results in order.

    The calling thread runs the first job itself, which saves waking one thread.
    """
    others = [_pool().submit(job) for job in jobs[1:]]
    return [jobs[0](), *(other.result() for other in others)]
