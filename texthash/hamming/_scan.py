"""The compiled loops of the search: nearest codes and codes within a radius, over a range of rows.

The rows are taken in blocks that stay in the first-level cache while all queries pass over them. A query takes only the
minimum distance of a block; a block whose minimum is not below the query's bound, the distance that an item has to beat
to enter its best k, holds nothing for it. The few blocks that do are looked through again for their items.

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

# Where a query has fewer hits than another: its distance; its row is -1.
NO_DISTANCE = np.iinfo(np.uint16).max
# More than any distance, less than the 2^16 at which `smaller` ends.
_FAR = np.uint64(0x7FFF)
# Of a block with fewer than one allowed row in this many, these rows alone are compared: they are copied together once,
# which takes about as long as comparing them, and the queries pass over the copies. With more rows than this, comparing
# all of them 32 at a time is faster.
_SPARSE = 32
# A mask that allows most of the near rows is cheapest looked at last: a block is passed over by its minimum over all
# rows. When more than one block in this many was then looked through for nothing, the mask goes into the minimum.
_IDLE = 16
# How far ahead of the scan memory is asked for codes. The processor's own prefetching falls behind the scan where codes
# come from beyond the second-level cache. One query came to 0.80 of the rate of reading at 2 KiB, 0.85 at 4 KiB, and
# 0.85 to 0.90 at 8 and 16 KiB (64 bits, an AMD EPYC of 2025).
_AHEAD_BYTES = 8192


class Candidates(NamedTuple):
    """What the queries of a search have found so far.

    Attributes:
        distances: uint16 [Q, room].
        rows: int64 [Q, room].
        sizes: int64 [Q], how many a query has.
        at: int64 [Q, bound], how many at each distance.
        bounds: uint64 [Q], the distance that a row has to beat.
        inside: int64 [Q], how many do.
        starts, spare_distances, spare_rows: int64 [bound], uint16 [k] and int64 [k], in which they are put in order.
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
def ask_ahead(words: Any, row: int, count: int) -> None:
    """Ask memory for the rows, of ``count`` words, that a scan comes to after row..row+31."""
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
    """Return, in each lane, the minimum over every 32nd row of the block. One loop per number of words: the query's
    words then stay in registers."""
    least = filled(_FAR)
    count = words.shape[0]
    q0 = queries[query, 0]
    if count == 1:
        for row in range(start, stop, LANES):
            if ask:
                ask_ahead(words, row, 1)
            least = smaller(least, xor_popcount(words, 0, row, q0))
    elif count == 2:
        q1 = queries[query, 1]
        for row in range(start, stop, LANES):
            if ask:
                ask_ahead(words, row, 2)
            least = smaller(least, added(xor_popcount(words, 0, row, q0), xor_popcount(words, 1, row, q1)))
    elif count == 4:
        q1, q2, q3 = queries[query, 1], queries[query, 2], queries[query, 3]
        for row in range(start, stop, LANES):
            if ask:
                ask_ahead(words, row, 4)
            low = added(xor_popcount(words, 0, row, q0), xor_popcount(words, 1, row, q1))
            high = added(xor_popcount(words, 2, row, q2), xor_popcount(words, 3, row, q3))
            least = smaller(least, added(low, high))
    else:
        for row in range(start, stop, LANES):
            if ask:
                ask_ahead(words, row, count)
            least = smaller(least, group_distance(words, queries, query, row))
    return least


@inlined
def _allowed_minimum(words: Any, queries: Any, query: int, start: int, stop: int, ask: bool, allow: Any) -> Any:
    """As `_block_minimum`, over the allowed rows."""
    least = filled(_FAR)
    if words.shape[0] == 1:
        q0 = queries[query, 0]
        for row in range(start, stop, LANES):
            if ask:
                ask_ahead(words, row, 1)
            least = smaller(least, where_allowed(xor_popcount(words, 0, row, q0), allow[row // LANES], _FAR))
    else:
        for row in range(start, stop, LANES):
            if ask:
                ask_ahead(words, row, words.shape[0])
            least = smaller(least, where_allowed(group_distance(words, queries, query, row), allow[row // LANES], _FAR))
    return least


@inlined
def _allowed_rows(allow: Any, start: int, stop: int) -> Any:
    """Return how many of rows start..stop-1 are allowed."""
    count = np.uint64(0)
    for group in range(start // LANES, -(-stop // LANES)):
        count += popcount(allow[group])
    return np.int64(count)


@compiled
def _no_candidates(count: int, k: int, bound: int, room: int) -> Any:
    """Return the `Candidates` of ``count`` queries before the first row."""
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
    """Order the candidates of a query by distance, keeping the order of equals, and cut them to k: a counting sort."""
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
        place = starts[distances[i]]
        starts[distances[i]] = place + 1
        if place < k:
            spare_distances[place] = distances[i]
            spare_rows[place] = rows[i]
    size = min(size, k)
    for i in range(size):
        distances[i] = spare_distances[i]
        rows[i] = spare_rows[i]
    held.sizes[query] = size


@compiled
def _best(held: Any) -> Any:
    """Return what `nearest` does, of the candidates that it has in the end."""
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
    """Copy the allowed rows of start..stop-1 together and return how many they are."""
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
    """Add a row that is nearer than the query's bound to its candidates, and lower the bound as `nearest` says."""
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
    """Enter the allowed rows of first..last-1 that are nearer than the query's bound. Return whether one was."""
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
    """Find the k nearest allowed rows of start..stop-1 at less than ``bound``.

    Candidates are collected in order of row, with a count of them per distance. Once k of them are nearer than
    ``bound``, the bound falls to the distance of the k-th: a later row at just that distance loses to the k before it,
    so only nearer ones need to be looked at, and ties are settled by row without comparing rows.

    Args:
        block: Rows per block, a multiple of 32.
        room: Candidates that a query can hold before they are cut to k; more than k.

    Returns:
        (distances uint16 [Q, m], rows int64 [Q, m], sizes int64 [Q]), ordered by (distance, row); m is the greatest
        size, and a query with fewer has `NO_DISTANCE` and -1 after them.
    """
    count = queries.shape[0]
    held = _no_candidates(count, k, bound, room)
    few_rows = np.empty(block // _SPARSE + 1, np.int64)
    few_words = np.empty((words.shape[0], block // _SPARSE + 1), np.uint64)
    masked = len(allow) > 0
    idle = np.zeros(count, np.int64)  # blocks looked through for nothing
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
                ask = query == 0  # the others find in the cache what it asked for
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
    """Return int64 [Q]: the allowed rows of start..stop-1 at less than ``bound``."""
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
                    ask_ahead(words, row, words.shape[0])
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
