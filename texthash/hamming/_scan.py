"""Compiled loops of the scan: nearest codes and codes within a radius, over a range of rows.

Rows are processed in blocks that stay in the first-level cache while all queries scan them. For each query, only the
minimum distance of a block is computed first. If it is not below the query's bound, the distance that a row must stay
below to enter the best k, the block contains no hit. The few other blocks are scanned again for their rows.

Arrays, here and in `texthash.hamming.kernels`: ``words`` uint64 [w, N] word-major; ``queries`` uint64 [Q, w];
``allow`` uint32 [ceil(N / 32)], bit i of element j allows row 32 j + i, or empty when every row is allowed.
Ranges start at multiples of 32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from texthash.hamming._simd import (
    LANES,
    added,
    below,
    compiled,
    fetch,
    fetch_rows,
    filled,
    inlined,
    lowest,
    popcount,
    smaller,
    where_allowed,
    xor_popcount,
)

# Distance in the unused columns of a query with fewer hits than another; the row is -1.
NO_DISTANCE = np.iinfo(np.uint16).max
# Above every distance, and below 2^16, the limit of `smaller`.
_FAR = np.uint64(0x7FFF)
# If fewer than one in this many rows of a block is allowed, only the allowed rows are compared: they are copied once
# into a contiguous buffer, which takes about as long as comparing them, and the queries scan the copies. With more
# rows, comparing all of them 32 at a time is faster.
_SPARSE = 32
# A mask that allows most of the near rows is cheapest to apply last: a block is skipped by its minimum over all rows.
# When more than one block in this many was scanned again without a hit, the mask is applied in the minimum.
_IDLE = 16
# Prefetch distance. The processor's own prefetching falls behind the scan if codes come from beyond the second-level
# cache. One query reached 0.80 of the memory read rate at 2 KiB, 0.85 at 4 KiB, and 0.85 to 0.90 at 8 and 16 KiB
# (64 bits, an AMD EPYC of 2025).
_AHEAD_BYTES = 8192


class Candidates(NamedTuple):
    """Candidates of the queries of a search.

    Attributes:
        distances: Distances, uint16 [Q, room].
        rows: Rows, int64 [Q, room].
        sizes: Number of candidates of each query, int64 [Q].
        at: Number of candidates at each distance, int64 [Q, bound].
        bounds: Distance that a row must stay below, uint64 [Q].
        inside: Number of candidates below the bound, int64 [Q].
        starts, spare_distances, spare_rows: Buffers for sorting, int64 [bound], uint16 [k] and int64 [k].
    """

    distances: Any
    rows: Any
    sizes: Any
    at: Any
    bounds: Any
    inside: Any
    starts: Any
    spare_distances: Any
    spare_rows: Any


@inlined
def prefetch_ahead(words: Any, row: int, count: int) -> None:
    """Prefetch the rows, of ``count`` words, that a scan reaches some time after row..row+31."""
    for word in range(count):
        fetch_rows(words, word, row + _AHEAD_BYTES // 8 // count)


@inlined
def group_distance(words: Any, queries: Any, query: int, row: int) -> Any:
    """Return the distances of rows row..row+31 as lanes."""
    total = xor_popcount(words, 0, row, queries[query, 0])
    for word in range(1, words.shape[0]):
        total = added(total, xor_popcount(words, word, row, queries[query, word]))
    return total


@inlined
def row_distance(words: Any, queries: Any, query: int, row: int) -> Any:
    """Return the distance of one row as uint64."""
    total = np.uint64(0)
    for word in range(words.shape[0]):
        total += popcount(words[word, row] ^ queries[query, word])
    return total


@inlined
def _block_minimum(words: Any, queries: Any, query: int, start: int, stop: int, ask: bool) -> Any:
    """Return, in each lane, the minimum distance over every 32nd row of the block.

    There is one loop per number of words, so that the query's words stay in registers.
    """
    least = filled(_FAR)
    count = words.shape[0]
    q0 = queries[query, 0]
    if count == 1:
        for row in range(start, stop, LANES):
            if ask:
                prefetch_ahead(words, row, 1)
            least = smaller(least, xor_popcount(words, 0, row, q0))
    elif count == 2:
        q1 = queries[query, 1]
        for row in range(start, stop, LANES):
            if ask:
                prefetch_ahead(words, row, 2)
            least = smaller(least, added(xor_popcount(words, 0, row, q0), xor_popcount(words, 1, row, q1)))
    elif count == 4:
        q1, q2, q3 = queries[query, 1], queries[query, 2], queries[query, 3]
        for row in range(start, stop, LANES):
            if ask:
                prefetch_ahead(words, row, 4)
            low = added(xor_popcount(words, 0, row, q0), xor_popcount(words, 1, row, q1))
            high = added(xor_popcount(words, 2, row, q2), xor_popcount(words, 3, row, q3))
            least = smaller(least, added(low, high))
    else:
        for row in range(start, stop, LANES):
            if ask:
                prefetch_ahead(words, row, count)
            least = smaller(least, group_distance(words, queries, query, row))
    return least


@inlined
def _allowed_minimum(words: Any, queries: Any, query: int, start: int, stop: int, ask: bool, allow: Any) -> Any:
    """Return the same as `_block_minimum`, over the allowed rows."""
    least = filled(_FAR)
    if words.shape[0] == 1:
        q0 = queries[query, 0]
        for row in range(start, stop, LANES):
            if ask:
                prefetch_ahead(words, row, 1)
            least = smaller(least, where_allowed(xor_popcount(words, 0, row, q0), allow[row // LANES], _FAR))
    else:
        for row in range(start, stop, LANES):
            if ask:
                prefetch_ahead(words, row, words.shape[0])
            least = smaller(least, where_allowed(group_distance(words, queries, query, row), allow[row // LANES], _FAR))
    return least


@inlined
def _allowed_rows(allow: Any, start: int, stop: int) -> Any:
    """Return the number of allowed rows among start..stop-1."""
    count = np.uint64(0)
    for group in range(start // LANES, -(-stop // LANES)):
        count += popcount(allow[group])
    return np.int64(count)


@compiled
def _no_candidates(count: int, k: int, bound: int, room: int) -> Any:
    """Return empty `Candidates` of ``count`` queries."""
    return Candidates(
        np.empty((count, room), np.uint16),
        np.empty((count, room), np.int64),
        np.zeros(count, np.int64),
        np.zeros((count, bound), np.int64),
        np.full(count, np.uint64(bound), np.uint64),
        np.zeros(count, np.int64),
        np.empty(bound, np.int64),
        np.empty(k, np.uint16),
        np.empty(k, np.int64),
    )


@compiled
def _compact(held: Any, query: int) -> None:
    """Sort the candidates of a query by distance with a stable counting sort, and keep the best k."""
    distances, rows, size = held.distances[query], held.rows[query], held.sizes[query]
    starts, spare_distances, spare_rows = held.starts, held.spare_distances, held.spare_rows
    k = len(spare_rows)
    starts[:] = 0
    for i in range(size):
        starts[distances[i]] += 1
    total = 0
    for distance in range(len(starts)):
        here = starts[distance]
        starts[distance] = total
        total += here
    for i in range(size):
        position = starts[distances[i]]
        starts[distances[i]] = position + 1
        if position < k:
            spare_distances[position] = distances[i]
            spare_rows[position] = rows[i]
    size = min(size, k)
    for i in range(size):
        distances[i] = spare_distances[i]
        rows[i] = spare_rows[i]
    held.sizes[query] = size


@compiled
def _best(held: Any) -> Any:
    """Return the result of `nearest` from its final candidates."""
    distances, rows, sizes = held.distances, held.rows, held.sizes
    for query in range(len(sizes)):
        _compact(held, query)
    width = sizes.max() if len(sizes) > 0 else 0
    for query in range(len(sizes)):
        distances[query, sizes[query] : width] = NO_DISTANCE
        rows[query, sizes[query] : width] = -1
    return distances[:, :width], rows[:, :width], sizes


@inlined
def _gather(words: Any, allow: Any, start: int, stop: int, few_rows: Any, few_words: Any) -> int:
    """Copy the allowed rows of start..stop-1 into a contiguous buffer, and return their number."""
    size = 0
    for group in range(start // LANES, -(-stop // LANES)):
        candidates = allow[group]
        while candidates != 0:
            row = group * LANES + lowest(candidates)
            candidates &= candidates - np.uint32(1)
            if row < stop:
                fetch(words, row)
                few_rows[size] = row
                size += 1
    for word in range(words.shape[0]):
        for i in range(size):
            few_words[word, i] = words[word, few_rows[i]]
    return size


@inlined
def _enter(held: Any, query: int, distance: Any, row: int) -> None:
    """Add a row below the query's bound to its candidates, and lower the bound as described in `nearest`."""
    size = held.sizes[query]
    held.distances[query, size] = distance
    held.rows[query, size] = row
    held.sizes[query] = size + 1
    held.at[query, distance] += 1
    held.inside[query] += 1
    while held.inside[query] >= len(held.spare_rows):
        held.bounds[query] -= np.uint64(1)
        held.inside[query] -= held.at[query, held.bounds[query]]
    if held.sizes[query] == held.distances.shape[1]:
        _compact(held, query)


@inlined
def _look_through(words: Any, queries: Any, query: int, allow: Any, first: int, last: int, held: Any) -> Any:
    """Add the allowed rows of first..last-1 below the query's bound to its candidates. Return whether there are any."""
    whole = first + (last - first) // LANES * LANES
    entered = False
    for row in range(first, last, LANES):
        candidates = np.uint32(0xFFFFFFFF)
        if len(allow) > 0:
            candidates = allow[row // LANES]
        if row == whole:
            candidates &= np.uint32((1 << (last - whole)) - 1)
        else:
            candidates &= below(group_distance(words, queries, query, row), held.bounds[query])
        while candidates != 0:
            found = row + lowest(candidates)
            candidates &= candidates - np.uint32(1)
            distance = row_distance(words, queries, query, found)
            if distance < held.bounds[query]:
                entered = True
                _enter(held, query, distance, found)
    return entered


@compiled
def nearest(
    words: Any, queries: Any, allow: Any, block: int, k: int, bound: int, room: int, start: int, stop: int
) -> Any:
    """Find the k nearest allowed rows of start..stop-1 at a distance below ``bound``.

    Candidates are collected in order of row and counted per distance. Once k of them are below the bound, it falls to
    the distance of the k-th. A later row at that distance ranks after the k before it, so only nearer rows can enter,
    and ties are broken by row without comparing rows.

    Args:
        words, queries, allow: Arrays described in this module.
        block: Number of rows per block, a multiple of 32.
        k: Number of hits per query.
        bound: Distance that a hit must stay below.
        room: Capacity for candidates per query, above k; when it is full, only the best k are kept.
        start, stop: Range of rows.

    Returns:
        (distances uint16 [Q, m], rows int64 [Q, m], sizes int64 [Q]), ordered by (distance, row); m is the largest
        size. Unused columns hold `NO_DISTANCE` and -1.
    """
    count = queries.shape[0]
    held = _no_candidates(count, k, bound, room)
    few_rows = np.empty(block // _SPARSE + 1, np.int64)
    few_words = np.empty((words.shape[0], block // _SPARSE + 1), np.uint64)
    masked = len(allow) > 0
    idle = np.zeros(count, np.int64)  # Number of blocks that were scanned again without a hit.
    seen = 0

    for first in range(start, stop, block):
        last = min(first + block, stop)
        whole = first + (last - first) // LANES * LANES
        allowed = last - first
        seen += 1
        if masked:
            allowed = _allowed_rows(allow, first, last)
            if allowed == 0:
                continue
        if allowed * _SPARSE < block and masked:
            few = _gather(words, allow, first, last, few_rows, few_words)
            for query in range(count):
                for i in range(few):
                    distance = row_distance(few_words, queries, query, i)
                    if distance < held.bounds[query]:
                        _enter(held, query, distance, few_rows[i])
            continue
        for query in range(count):
            if whole > first:
                ask = query == 0  # The rows that it prefetches are in the cache for the other queries.
                if masked and idle[query] * _IDLE > seen:
                    least = _allowed_minimum(words, queries, query, first, whole, ask, allow)
                else:
                    least = _block_minimum(words, queries, query, first, whole, ask)
                if below(least, held.bounds[query]) == 0 and whole == last:
                    continue
            if not _look_through(words, queries, query, allow, first, last, held):
                idle[query] += 1
    return _best(held)


@compiled
def count_within(words: Any, queries: Any, allow: Any, block: int, bound: int, start: int, stop: int) -> Any:
    """Return the number of allowed rows of start..stop-1 at a distance below ``bound``, int64 [Q]."""
    counts = np.zeros(queries.shape[0], np.int64)
    masked = len(allow) > 0
    limit = np.uint64(bound)
    for first in range(start, stop, block):
        last = min(first + block, stop)
        whole = first + (last - first) // LANES * LANES
        for query in range(queries.shape[0]):
            total = np.uint64(0)
            for row in range(first, whole, LANES):
                if query == 0:
                    prefetch_ahead(words, row, words.shape[0])
                candidates = below(group_distance(words, queries, query, row), limit)
                if masked:
                    candidates &= allow[row // LANES]
                total += popcount(candidates)
            for row in range(whole, last):
                permitted = not masked or (allow[row // LANES] >> np.uint32(row % LANES)) & np.uint32(1)
                if permitted and row_distance(words, queries, query, row) < limit:
                    total += np.uint64(1)
            counts[query] += np.int64(total)
    return counts
