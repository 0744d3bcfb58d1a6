"""Compiled loops of multi-index hashing: construction of the tables, and search in them.

The bits of a code are divided into m substrings, and a table for each lists the rows by the value of that substring:
``rows[j, offsets[v]:offsets[v + 1]]`` hold value v in substring j. Codes that differ in few bits differ in very few
bits of at least one substring, so a search looks up the values near those of the query, one *level* at a time: level r
of a table is the C(width, r) values at exactly r bits from the query's.

When table j has been searched to level r_j (-1: not at all), a row that was not found differs in r_j + 1 bits or more
of every substring j, and so has a distance of sum_j (r_j + 1) or more (the pigeonhole principle; Norouzi, Punjani &
Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", TPAMI 2014, with one radius for all tables). A
level of any table adds one to that sum, so the cheapest level is searched next.

Arrays are described in `texthash.hamming._scan`, the tables in `texthash.hamming.multi_index.Tables`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from texthash.hamming._scan import row_distance
from texthash.hamming._simd import compiled, fetch, inlined, lowest, popcount
from texthash.hamming._topk import enter, sort_heap

FRAGMENT_BITS = 32


class Substrings(NamedTuple):
    """Arrays of `texthash.hamming.multi_index.Tables`, which describes them."""

    starts: Any
    widths: Any
    bases: Any
    offsets: Any
    rows: Any
    fragments: Any


class Levels(NamedTuple):
    """State of the search of one query, per table.

    Attributes:
        reach: Last level that was searched, int64; -1 before the first.
        values: Query's value of the substring, uint64.
        pieces: Query's fragment after the substring, uint64.
        probes: Number of values of the next level, float64.
        density: Expected number of candidates per value of the next level, float64.
    """

    reach: Any
    values: Any
    pieces: Any
    probes: Any
    density: Any


class Prices(NamedTuple):
    """Costs of the steps of a search and budget of a query, as in `texthash.hamming.multi_index.Costs`."""

    probe: float
    candidate: float
    budget: float


class Search(NamedTuple):
    """Inputs and buffers of the search of one query.

    Attributes:
        words, queries, allow: Arrays described in `texthash.hamming._scan`.
        query: Row of the query in ``queries``.
        tables: Tables, a `Substrings`.
        state: State of the search, a `Levels`.
        ahead: Begin and end of the rows of each value that was looked up, int64 [2, `_AHEAD`].
        pending: Positions in a table whose rows are still to be compared, int64 [`_PENDING`].
    """

    words: Any
    queries: Any
    allow: Any
    query: int
    tables: Any
    state: Any
    ahead: Any
    pending: Any


# Number of values looked up together: all of them are prefetched before the first is used.
_AHEAD = 32
# Number of rows compared together, for the same reason.
_PENDING = 128
_WORD_BITS = 64


@inlined
def _extract(low: Any, high: Any, start: int, width: int) -> Any:
    """Return ``width`` bits of two 64-bit words, beginning at bit ``start`` % 64 of the lower, as uint64."""
    shift = np.uint64(start % _WORD_BITS)
    value = low >> shift
    if shift != np.uint64(0):
        value |= high << (np.uint64(_WORD_BITS) - shift)
    return value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))


@inlined
def _row_bits(words: Any, row: int, start: int, width: int) -> Any:
    """Return bits start..start+width-1 of a row, wrapping around at the end."""
    low = start // _WORD_BITS % words.shape[0]
    return _extract(words[low, row], words[(low + 1) % words.shape[0], row], start, width)


@inlined
def _query_bits(queries: Any, query: int, start: int, width: int) -> Any:
    low = start // _WORD_BITS % queries.shape[1]
    return _extract(queries[query, low], queries[query, (low + 1) % queries.shape[1]], start, width)


@compiled
def permute(codes: Any, patterns: Any) -> Any:
    """Return codes with their bits in another order, as uint64 [N, w].

    Args:
        codes: Codes, uint8 [N, bytes].
        patterns: Bits that each value of each byte sets in the permuted code, uint64 [bytes, 256, w].
    """
    out = np.zeros((codes.shape[0], patterns.shape[2]), np.uint64)
    for row in range(codes.shape[0]):
        for byte in range(codes.shape[1]):
            for word in range(patterns.shape[2]):
                out[row, word] |= patterns[byte, codes[row, byte], word]
    return out


@compiled
def fill_table(words: Any, start: int, width: int, offsets: Any, rows: Any, fragments: Any) -> None:
    """Build the table of one substring by a counting sort, with rows in ascending order within a value.

    Args:
        words: Codes, uint64 [w, N].
        start: First bit of the substring.
        width: Width of the substring in bits.
        offsets: Output, uint32 [2^width + 1], initially zero.
        rows: Output, uint32 [N].
        fragments: Output for the 32 bits that follow the substring, uint32 [N], or empty.
    """
    count = words.shape[1]
    for row in range(count):
        offsets[np.int64(_row_bits(words, row, start, width)) + 1] += np.uint32(1)
    total = np.uint32(0)
    for value in range(1, len(offsets)):
        here = offsets[value]
        offsets[value] = total
        total += here
    for row in range(count):
        bucket = np.int64(_row_bits(words, row, start, width)) + 1
        position = offsets[bucket]
        offsets[bucket] = position + np.uint32(1)
        rows[position] = np.uint32(row)
        if len(fragments) > 0:
            fragments[position] = np.uint32(_row_bits(words, row, start + width, FRAGMENT_BITS))


@inlined
def _start_query(search: Any) -> None:
    """Initialise the state of the search of a query."""
    tables, state, queries, query = search.tables, search.state, search.queries, search.query
    for table in range(len(tables.starts)):
        start, width = tables.starts[table], tables.widths[table]
        state.values[table] = _query_bits(queries, query, start, width)
        state.pieces[table] = _query_bits(queries, query, start + width, FRAGMENT_BITS)
        state.reach[table] = -1
        state.probes[table] = 1.0
        fetch(tables.offsets, tables.bases[table] + np.int64(state.values[table]))
    for table in range(len(tables.starts)):
        bucket = tables.bases[table] + np.int64(state.values[table])
        state.density[table] = np.float64(tables.offsets[bucket + 1]) - np.float64(tables.offsets[bucket])


@inlined
def _cheapest(tables: Any, state: Any, prices: Any) -> Any:
    """Return the table whose next level is cheapest, or -1 when every level has been searched; and its cost."""
    chosen = -1
    least = np.inf
    for table in range(len(tables.widths)):
        cost = state.probes[table] * (prices.probe + state.density[table] * prices.candidate)
        if state.reach[table] < tables.widths[table] and cost < least:
            chosen = table
            least = cost
    return chosen, least


@inlined
def _next_combination(flips: Any) -> Any:
    """Return the next greater number with as many bits set (Gosper's hack). ``flips`` is not 0, and below 2^32."""
    unit = flips & (~flips + np.uint64(1))
    carried = flips + unit
    return ((carried ^ flips) >> np.uint64(lowest(np.uint32(flips)) + 2)) | carried


@inlined
def _look_up(search: Any, chosen: int, flips: Any) -> Any:
    """Look up the next values of a level of the chosen table, fill ``ahead`` with them, and prefetch their rows.

    They are in ascending order of their XOR with the query's value.

    Args:
        search: Search of the query, a `Search`.
        chosen: Table to search.
        flips: XOR of the first of these values with the query's.

    Returns:
        (number of values looked up, flips of the next value, True if the next value exists, number of rows found).
    """
    tables, ahead = search.tables, search.ahead
    value, base = search.state.values[chosen], tables.bases[chosen]
    end = np.uint64(1) << np.uint64(tables.widths[chosen])
    size = 0
    more: Any = True
    while size < _AHEAD and more:
        bucket = base + np.int64(value ^ flips)
        fetch(tables.offsets, bucket)
        ahead[0, size] = bucket
        size += 1
        if flips == np.uint64(0):
            more = False
        else:
            flips = _next_combination(flips)
            more = flips < end
    met: Any = 0
    for i in range(size):
        low = np.int64(tables.offsets[ahead[0, i]])
        high = np.int64(tables.offsets[ahead[0, i] + 1])
        ahead[0, i] = low
        ahead[1, i] = high
        if high > low:
            met += high - low
            if tables.fragments.shape[1] > 0:
                fetch(tables.fragments, chosen * tables.fragments.shape[1] + low)
            else:
                fetch(tables.rows, chosen * tables.rows.shape[1] + low)
    return size, flips, more, met


@inlined
def _already_found(search: Any, row: int, chosen: int) -> Any:
    """Return whether a row has been found in a table other than the chosen one."""
    tables, state = search.tables, search.state
    known = False
    for table in range(len(tables.starts)):
        if table != chosen:
            other = _row_bits(search.words, row, tables.starts[table], tables.widths[table]) ^ state.values[table]
            known |= np.int64(popcount(other)) <= state.reach[table]
    return known


@inlined
def _compare(search: Any, chosen: int, waiting: int, best: Any, size: int, top: int) -> Any:
    """Compare the rows at the first ``waiting`` pending positions with the query. Returns the same as `enter`."""
    words, allow, pending = search.words, search.allow, search.pending
    count = words.shape[1]
    masked = len(allow) > 0
    for p in range(waiting):
        row = np.int64(search.tables.rows[chosen, pending[p]])
        pending[p] = row
        for word in range(words.shape[0]):
            fetch(words, word * count + row)
        if masked:
            fetch(allow, row // 32)
    for p in range(waiting):
        row = pending[p]
        if masked and not (allow[row // 32] >> np.uint32(row % 32)) & np.uint32(1):
            continue
        distance = np.int64(row_distance(words, search.queries, search.query, row))
        if distance <= top and not _already_found(search, row, chosen):
            size, top = enter(best, size, top, distance, row)
    return size, top


@inlined
def _may_enter(search: Any, chosen: int, position: int, radius: Any, best: Any, size: int, top: int) -> Any:
    """Return whether the row at a position of the chosen table can be among the best k.

    The decision rests on its substring, which differs in ``radius`` bits, and its fragment.
    """
    tables = search.tables
    near = np.int64(radius + popcount(tables.fragments[chosen, position] ^ np.uint32(search.state.pieces[chosen])))
    k = len(best)
    if near == top and k > 0 and size == k:  # At the distance of the k-th, only a lower row can replace it.
        return tables.rows[chosen, position] < np.uint32(best[0])
    return near <= top


@inlined
def _compare_rows(search: Any, chosen: int, found: int, best: Any, size: int, top: int) -> Any:
    """Compare the rows of the ``found`` values that were looked up. Returns the same as `enter`."""
    tables, ahead, pending = search.tables, search.ahead, search.pending
    short = tables.fragments.shape[1] > 0
    radius = np.uint64(search.state.reach[chosen] + 1)
    waiting = 0
    # One extra iteration compares the rows that are still pending after the last value.
    for i in range(found + 1):
        position: Any = ahead[0, i] if i < found else 0
        end: Any = ahead[1, i] if i < found else 0
        while position < end or (i == found and waiting > 0):
            if position < end:
                if not short or _may_enter(search, chosen, position, radius, best, size, top):
                    fetch(tables.rows, chosen * tables.rows.shape[1] + position)
                    pending[waiting] = position
                    waiting += 1
                position += 1
                if waiting < _PENDING:
                    continue
            size, top = _compare(search, chosen, waiting, best, size, top)
            waiting = 0
    return size, top


@inlined
def _search_level(search: Any, chosen: int, prices: Any, spent: float, best: Any, size: int, top: int) -> Any:
    """Search the next level of the chosen table, within the remaining budget.

    Returns:
        (size and top as `enter` returns them, number of values looked up, number of candidates, True if the query is
        given up).
    """
    flips = (np.uint64(1) << np.uint64(search.state.reach[chosen] + 1)) - np.uint64(1)
    looked = 0
    met: Any = 0
    given_up = False
    more: Any = True
    while more:
        found, flips, more, newly = _look_up(search, chosen, flips)
        looked += found
        met += newly
        if spent + looked * prices.probe + met * prices.candidate > prices.budget:
            given_up = True
            break
        size, top = _compare_rows(search, chosen, found, best, size, top)
    return size, top, looked, met, given_up


@inlined
def _advance_level(tables: Any, state: Any, chosen: int, met: float, rows: int) -> None:
    """Advance the state of a table to its next level.

    The expected number of rows per value is the mean of the number ``met`` in this level and the average of the table.
    """
    width = tables.widths[chosen]
    state.reach[chosen] += 1
    state.probes[chosen] *= (width - state.reach[chosen]) / (state.reach[chosen] + 1)
    state.density[chosen] = 0.5 * (met + rows / np.float64(np.uint64(1) << np.uint64(width)))


@compiled
def probe(
    words: Any,
    queries: Any,
    allow: Any,
    tables: Any,
    bound: int,
    prices: Any,
    first: int,
    last: int,
    keys: Any,
    sizes: Any,
    work: Any,
) -> None:
    """Find or count the nearest allowed rows at a distance below ``bound``, for queries first..last-1.

    Candidates whose substring and fragment alone differ too much are skipped. A candidate that was found in another
    table before is recognised by its bits: its substring of that table differs in no more bits than the levels searched
    there. The best k are kept in a max-heap of keys ``distance << 32 | row``, so that ties are broken by row.

    Args:
        words, queries, allow: Arrays described in `texthash.hamming._scan`.
        tables: Tables, a `Substrings`.
        bound: Distance that a row must stay below.
        prices: Costs and budget, a `Prices`. A query is given up if its next level would bring the cost of its probes
            and candidates above the budget.
        first, last: Range of queries.
        keys: Output, uint64 [Q, k], in ascending order; with k = 0 rows are only counted.
        sizes: Output, int64 [Q]: number of keys of each query, or of rows counted; -1 for a query that was given up.
        work: Output, int64 [Q, 2]: numbers of values looked up and of candidates.
    """
    count = len(tables.starts)
    state = Levels(
        np.empty(count, np.int64),
        np.empty(count, np.uint64),
        np.empty(count, np.uint64),
        np.empty(count, np.float64),
        np.empty(count, np.float64),
    )
    ahead = np.empty((2, _AHEAD), np.int64)
    pending = np.empty(_PENDING, np.int64)

    for query in range(first, last):
        search = Search(words, queries, allow, query, tables, state, ahead, pending)
        best = keys[query]
        size = 0
        top = np.int64(bound - 1)  # Largest distance that can still enter the best k.
        spent = 0.0
        looked = 0
        met: Any = 0
        covered = 0  # All rows below this distance have been found.
        given_up = False
        _start_query(search)
        while covered <= top and not given_up:
            chosen, cost = _cheapest(tables, state, prices)
            if chosen < 0:  # Every row has been found.
                break
            if spent + cost > prices.budget:
                given_up = True
                break
            size, top, newly_looked, newly_met, given_up = _search_level(search, chosen, prices, spent, best, size, top)
            looked += newly_looked
            met += newly_met
            spent += newly_looked * prices.probe + newly_met * prices.candidate
            _advance_level(tables, state, chosen, newly_met / newly_looked, words.shape[1])
            covered += 1

        work[query, 0] = looked
        work[query, 1] = met
        sizes[query] = -1 if given_up else size
        sort_heap(best, size)
