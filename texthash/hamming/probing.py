"""The compiled loops of multi-index hashing: building the tables, and searching them.

The bits of a code are divided into m substrings, and a table for each lists the rows by the value of that substring:
``rows[j, offsets[v]:offsets[v + 1]]`` hold value v in substring j. Codes that differ in few bits differ in very few of
some substring, so a search looks up the values near those of the query, a *level* at a time: level r of a table is the
C(width, r) values at exactly r bits from the query's.

When table j has been searched to level r_j (-1: not at all), a row not met differs in r_j + 1 bits or more of every
substring j, hence lies at a distance of sum_j (r_j + 1) or more (the pigeonhole principle; Norouzi, Punjani & Fleet,
"Fast Exact Search in Hamming Space with Multi-Index Hashing", TPAMI 2014, with one radius for all tables). Every level
adds one to that sum, whichever table it is of, so the cheapest is taken each time.

Arrays as in `texthash.hamming.scanning`; the tables as in `texthash.hamming.tables.Tables`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from texthash.hamming.lanes import compiled, fetch, inlined, lowest, popcount
from texthash.hamming.scanning import row_distance

FRAGMENT_BITS = 32
# Values looked up side by side: memory is asked for all of them before the first is needed.
_AHEAD = 32
# Rows compared side by side, for the same reason.
_PENDING = 128
_WORD_BITS = 64


@inlined
def _cut(low: Any, high: Any, start: int, width: int) -> Any:
    """Return ``width`` bits of two words of 64 from bit ``start`` % 64 of the lower on, as uint64."""
    shift = np.uint64(start % _WORD_BITS)
    value = low >> shift
    if shift != np.uint64(0):
        value |= high << (np.uint64(_WORD_BITS) - shift)
    return value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))


@inlined
def _of_row(words: Any, row: int, start: int, width: int) -> Any:
    """Return bits start..start+width-1 of a row, counted round the end."""
    low = start // _WORD_BITS % words.shape[0]
    return _cut(words[low, row], words[(low + 1) % words.shape[0], row], start, width)


@inlined
def _of_query(queries: Any, query: int, start: int, width: int) -> Any:
    low = start // _WORD_BITS % queries.shape[1]
    return _cut(queries[query, low], queries[query, (low + 1) % queries.shape[1]], start, width)


@compiled
def permute(codes: Any, patterns: Any) -> Any:
    """Return codes with their bits in another order, as uint64 [N, w].

    Args:
        codes: uint8 [N, bytes].
        patterns: uint64 [bytes, 256, w], what each value of each byte adds to the code.
    """
    out = np.zeros((codes.shape[0], patterns.shape[2]), np.uint64)
    for row in range(codes.shape[0]):
        for byte in range(codes.shape[1]):
            for word in range(patterns.shape[2]):
                out[row, word] |= patterns[byte, codes[row, byte], word]
    return out


@compiled
def fill_table(words: Any, start: int, width: int, offsets: Any, rows: Any, fragments: Any) -> None:
    """Make the table of one substring, its rows in order within a value: a counting sort.

    Args:
        offsets: uint32 [2^width + 1], zeros.
        rows: uint32 [N].
        fragments: uint32 [N] for the 32 bits that follow the substring, or empty.
    """
    count = words.shape[1]
    for row in range(count):
        offsets[np.int64(_of_row(words, row, start, width)) + 1] += np.uint32(1)
    total = np.uint32(0)
    for value in range(1, len(offsets)):
        here = offsets[value]
        offsets[value] = total
        total += here
    for row in range(count):
        bucket = np.int64(_of_row(words, row, start, width)) + 1
        place = offsets[bucket]
        offsets[bucket] = place + np.uint32(1)
        rows[place] = np.uint32(row)
        if len(fragments) > 0:
            fragments[place] = np.uint32(_of_row(words, row, start + width, FRAGMENT_BITS))


@inlined
def _sift(heap: Any, size: int, key: Any) -> None:
    """Put ``key`` in the place of the greatest of ``size`` keys."""
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
def _push(heap: Any, size: int, key: Any) -> None:
    """Add ``key`` to ``size`` keys of which the greatest stands first."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if heap[parent] >= key:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = key


@compiled
def probe(
    words: Any,
    queries: Any,
    allow: Any,
    starts: Any,
    widths: Any,
    bases: Any,
    offsets: Any,
    rows: Any,
    fragments: Any,
    bound: int,
    probe_cost: float,
    candidate_cost: float,
    budget: float,
    first: int,
    last: int,
    keys: Any,
    sizes: Any,
    work: Any,
) -> None:
    """Find the nearest allowed rows at less than ``bound`` of queries first..last-1, or count them.

    Candidates whose substring and fragment alone differ too much are passed over. One met again in a second table is
    known by its own bits: those of the first table differ in no more bits than the levels searched there. The best k
    are kept as keys ``distance << 32 | row``, the greatest first in a heap, so that ties are settled by row.

    Args:
        probe_cost, candidate_cost, budget: A query whose next level would bring the cost of its probes and candidates
            above the budget is given up.
        keys: uint64 [Q, k], filled in ascending order; k = 0: the rows are only counted.
        sizes: int64 [Q], filled: keys of each query, or rows counted; -1 for a query that was given up.
        work: int64 [Q, 2], filled: values looked up, and candidates met.
    """
    k = keys.shape[1]
    count = words.shape[1]
    tables = len(starts)
    masked = len(allow) > 0
    short = fragments.shape[1] > 0
    reach = np.empty(tables, np.int64)
    values = np.empty(tables, np.uint64)
    pieces = np.empty(tables, np.uint64)
    probes = np.empty(tables, np.float64)  # of the next level
    density = np.empty(tables, np.float64)  # candidates that a probe of it is expected to meet
    lows = np.empty(_AHEAD, np.int64)
    highs = np.empty(_AHEAD, np.int64)
    pending = np.empty(_PENDING, np.int64)

    for query in range(first, last):
        best = keys[query]
        size = 0
        spent = 0.0
        looked = 0
        met: Any = 0
        top = np.int64(bound - 1)  # the greatest distance that may still enter
        covered = 0  # all rows nearer than this have been met
        given_up = False
        for table in range(tables):
            reach[table] = -1
            values[table] = _of_query(queries, query, starts[table], widths[table])
            pieces[table] = _of_query(queries, query, starts[table] + widths[table], FRAGMENT_BITS)
            fetch(offsets, bases[table] + np.int64(values[table]))
            probes[table] = 1.0
        for table in range(tables):
            bucket = bases[table] + np.int64(values[table])
            density[table] = np.float64(offsets[bucket + 1]) - np.float64(offsets[bucket])

        while covered <= top and not given_up:
            chosen = -1
            least = np.inf
            for table in range(tables):
                cost = probes[table] * (probe_cost + density[table] * candidate_cost)
                if reach[table] < widths[table] and cost < least:
                    chosen = table
                    least = cost
            if chosen < 0:  # every row has been met
                break
            if spent + least > budget:
                given_up = True
                break
            width = widths[chosen]
            radius = np.uint64(reach[chosen] + 1)
            flips = (np.uint64(1) << radius) - np.uint64(1)
            end = np.uint64(1) << np.uint64(width)
            met_before = met
            looked_before = looked
            more: Any = True
            while more:
                # Look up the next values that differ in `radius` bits, in ascending order (Gosper's hack).
                ahead = 0
                while ahead < _AHEAD and more:
                    bucket = bases[chosen] + np.int64(values[chosen] ^ flips)
                    fetch(offsets, bucket)
                    lows[ahead] = bucket
                    ahead += 1
                    if flips == np.uint64(0):
                        more = False
                    else:
                        unit = flips & (~flips + np.uint64(1))
                        carried = flips + unit
                        shift = np.uint64(lowest(np.uint32(flips)) + 2)
                        flips = ((carried ^ flips) >> shift) | carried
                        more = flips < end
                looked += ahead
                for i in range(ahead):
                    low = np.int64(offsets[lows[i]])
                    high = np.int64(offsets[lows[i] + 1])
                    lows[i] = low
                    highs[i] = high
                    if high > low:
                        met += high - low
                        if short:
                            fetch(fragments, chosen * count + low)
                        else:
                            fetch(rows, chosen * count + low)
                if spent + (looked - looked_before) * probe_cost + (met - met_before) * candidate_cost > budget:
                    given_up = True
                    break
                waiting = 0
                for i in range(ahead + 1):
                    place: Any = lows[i] if i < ahead else 0
                    end_of_bucket = highs[i] if i < ahead else 0
                    while place < end_of_bucket or (i == ahead and waiting > 0):
                        if place < end_of_bucket:
                            if short:
                                near = radius + popcount(fragments[chosen, place] ^ np.uint32(pieces[chosen]))
                                enters = np.int64(near) <= top
                                if enters and size == k and np.int64(near) == top:
                                    # Equal to the k-th: only a lower row can take its place.
                                    enters = k == 0 or rows[chosen, place] < np.uint32(best[0])
                                if enters:
                                    fetch(rows, chosen * count + place)
                                    pending[waiting] = place
                                    waiting += 1
                            else:
                                pending[waiting] = place
                                waiting += 1
                            place += 1
                            if waiting < _PENDING:
                                continue
                        for p in range(waiting):
                            row = np.int64(rows[chosen, pending[p]])
                            pending[p] = row
                            for word in range(words.shape[0]):
                                fetch(words, word * count + row)
                            if masked:
                                fetch(allow, row // 32)
                        for p in range(waiting):
                            row = pending[p]
                            if masked and not (allow[row // 32] >> np.uint32(row % 32)) & np.uint32(1):
                                continue
                            distance = np.int64(row_distance(words, queries, query, row))
                            if distance > top:
                                continue
                            known = False
                            for table in range(tables):
                                if table != chosen:
                                    other = _of_row(words, row, starts[table], widths[table]) ^ values[table]
                                    known |= np.int64(popcount(other)) <= reach[table]
                            if known:
                                continue
                            if k == 0:
                                size += 1
                                continue
                            key = np.uint64(distance) << np.uint64(32) | np.uint64(row)
                            if size < k:
                                _push(best, size, key)
                                size += 1
                            elif key < best[0]:
                                _sift(best, k, key)
                            if size == k:
                                top = min(top, np.int64(best[0] >> np.uint64(32)))
                        waiting = 0
            looked_now = looked - looked_before
            met_now = met - met_before
            spent += looked_now * probe_cost + met_now * candidate_cost
            reach[chosen] += 1
            covered += 1
            probes[chosen] *= (width - reach[chosen]) / (reach[chosen] + 1)
            density[chosen] = 0.5 * (met_now / looked_now + count / np.float64(end))

        work[query, 0] = looked
        work[query, 1] = met
        sizes[query] = -1 if given_up else size
        if k > 0:
            for left in range(size - 1, 0, -1):
                key = best[left]
                best[left] = best[0]
                _sift(best, left, key)
