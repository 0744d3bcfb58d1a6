"""The compiled loops of multi-index hashing: building the tables, and searching them.

The bits of a code are divided into m substrings, and a table for each lists the rows by the value of that substring:
``rows[j, offsets[v]:offsets[v + 1]]`` hold value v in substring j. Codes that differ in few bits differ in very few of
some substring, so a search looks up the values near those of the query, a *level* at a time: level r of a table is the
C(width, r) values at exactly r bits from the query's.

When table j has been searched to level r_j (-1: not at all), a row not met differs in r_j + 1 bits or more of every
substring j, hence lies at a distance of sum_j (r_j + 1) or more (the pigeonhole principle; Norouzi, Punjani & Fleet,
"Fast Exact Search in Hamming Space with Multi-Index Hashing", TPAMI 2014, with one radius for all tables). Every level
adds one to that sum, whichever table it is of, so the cheapest is taken each time.

Arrays as in `texthash.hamming._scan`; the tables as in `texthash.hamming.multi_index.Tables`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from texthash.hamming._scan import row_distance
from texthash.hamming._simd import compiled, fetch, inlined, lowest, popcount
from texthash.hamming._topk import enter, order

FRAGMENT_BITS = 32


class Substrings(NamedTuple):
    """The arrays of `texthash.hamming.multi_index.Tables`, where they are said."""

    starts: Any
    widths: Any
    bases: Any
    offsets: Any
    rows: Any
    fragments: Any


class Levels(NamedTuple):
    """Where the search of one query stands, for each table.

    Attributes:
        reach: int64, the level up to which it has been searched; -1: not at all.
        values: uint64, the query's value of the substring.
        pieces: uint64, its fragment after it.
        probes: float64, values of the next level.
        density: float64, candidates that each of them is expected to meet.
    """

    reach: Any
    values: Any
    pieces: Any
    probes: Any
    density: Any


class Prices(NamedTuple):
    """What the steps of a search cost, and how much a query may spend: `texthash.hamming.multi_index.Costs`."""

    probe: float
    candidate: float
    budget: float


class Search(NamedTuple):
    """What the search of one query reads, and the room that it works in.

    Attributes:
        words, queries, allow: As in `texthash.hamming._scan`.
        query: Which of them.
        tables: A `Substrings`.
        state: A `Levels`.
        ahead: int64 [2, `_AHEAD`], where the rows of each value that was looked up begin and end.
        pending: int64 [`_PENDING`], places of a table whose rows wait to be compared.
    """

    words: Any
    queries: Any
    allow: Any
    query: int
    tables: Any
    state: Any
    ahead: Any
    pending: Any


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
def _begin(search: Any) -> None:
    """Fill what a query starts from."""
    tables, state, queries, query = search.tables, search.state, search.queries, search.query
    for table in range(len(tables.starts)):
        start, width = tables.starts[table], tables.widths[table]
        state.values[table] = _of_query(queries, query, start, width)
        state.pieces[table] = _of_query(queries, query, start + width, FRAGMENT_BITS)
        state.reach[table] = -1
        state.probes[table] = 1.0
        fetch(tables.offsets, tables.bases[table] + np.int64(state.values[table]))
    for table in range(len(tables.starts)):
        bucket = tables.bases[table] + np.int64(state.values[table])
        state.density[table] = np.float64(tables.offsets[bucket + 1]) - np.float64(tables.offsets[bucket])


@inlined
def _cheapest(tables: Any, state: Any, prices: Any) -> Any:
    """Return the table whose next level costs least, -1 when every level has been searched; and what it costs."""
    chosen = -1
    least = np.inf
    for table in range(len(tables.widths)):
        cost = state.probes[table] * (prices.probe + state.density[table] * prices.candidate)
        if state.reach[table] < tables.widths[table] and cost < least:
            chosen = table
            least = cost
    return chosen, least


@inlined
def _following(flips: Any) -> Any:
    """Return the next greater number with as many bits set (Gosper's hack). ``flips`` is not 0, and below 2^32."""
    unit = flips & (~flips + np.uint64(1))
    carried = flips + unit
    return ((carried ^ flips) >> np.uint64(lowest(np.uint32(flips)) + 2)) | carried


@inlined
def _look_up(search: Any, chosen: int, flips: Any) -> Any:
    """Look up the next values of a level of the chosen table, in ascending order of the bits in which they differ from
    the query's, fill ``ahead`` with them, and ask memory for their rows.

    Args:
        flips: Bits in which the first of them differs.

    Returns:
        (values looked up, flips of the one after them, whether there is one, rows met).
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
            flips = _following(flips)
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
def _known(search: Any, row: int, chosen: int) -> Any:
    """Whether a row has been met in a table other than the chosen one."""
    tables, state = search.tables, search.state
    known = False
    for table in range(len(tables.starts)):
        if table != chosen:
            other = _of_row(search.words, row, tables.starts[table], tables.widths[table]) ^ state.values[table]
            known |= np.int64(popcount(other)) <= state.reach[table]
    return known


@inlined
def _compare(search: Any, chosen: int, waiting: int, best: Any, size: int, top: int) -> Any:
    """Compare the rows at the first ``waiting`` of the pending places with the query. Returns as `enter`."""
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
        if distance <= top and not _known(search, row, chosen):
            size, top = enter(best, size, top, distance, row)
    return size, top


@inlined
def _may_enter(search: Any, chosen: int, place: int, radius: Any, best: Any, size: int, top: int) -> Any:
    """Whether the row at a place of the chosen table may belong to the best, as far as its substring, which differs in
    ``radius`` bits, and its fragment tell."""
    tables = search.tables
    near = np.int64(radius + popcount(tables.fragments[chosen, place] ^ np.uint32(search.state.pieces[chosen])))
    k = len(best)
    if near == top and k > 0 and size == k:  # equal to the k-th: only a lower row can take its place
        return tables.rows[chosen, place] < np.uint32(best[0])
    return near <= top


@inlined
def _meet(search: Any, chosen: int, found: int, best: Any, size: int, top: int) -> Any:
    """Go through the rows of the ``found`` values that were looked up. Returns as `enter`."""
    tables, ahead, pending = search.tables, search.ahead, search.pending
    short = tables.fragments.shape[1] > 0
    radius = np.uint64(search.state.reach[chosen] + 1)
    waiting = 0
    # Once more than there are values, for what is still waiting then.
    for i in range(found + 1):
        place: Any = ahead[0, i] if i < found else 0
        end: Any = ahead[1, i] if i < found else 0
        while place < end or (i == found and waiting > 0):
            if place < end:
                if not short or _may_enter(search, chosen, place, radius, best, size, top):
                    fetch(tables.rows, chosen * tables.rows.shape[1] + place)
                    pending[waiting] = place
                    waiting += 1
                place += 1
                if waiting < _PENDING:
                    continue
            size, top = _compare(search, chosen, waiting, best, size, top)
            waiting = 0
    return size, top


@inlined
def _search_level(search: Any, chosen: int, prices: Any, spent: float, best: Any, size: int, top: int) -> Any:
    """Search the next level of the chosen table, unless it takes more than is left of the budget.

    Returns:
        (size and top as `enter` does, values looked up, candidates met, whether the query is given up).
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
        size, top = _meet(search, chosen, found, best, size, top)
    return size, top, looked, met, given_up


@inlined
def _searched(tables: Any, state: Any, chosen: int, met: float, rows: int) -> None:
    """Go on to the next level of a table, in which a value is expected to meet as many rows as midway between those
    that a value of this level ``met`` and the average of the table."""
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
    """Find the nearest allowed rows at less than ``bound`` of queries first..last-1, or count them.

    Candidates whose substring and fragment alone differ too much are passed over. One met again in a second table is
    known by its own bits: those of the first table differ in no more bits than the levels searched there. The best k
    are kept as keys ``distance << 32 | row``, the greatest first in a heap, so that ties are settled by row.

    Args:
        tables: A `Substrings`.
        prices: A `Prices`; a query whose next level would bring the cost of its probes and candidates above the budget
            is given up.
        keys: uint64 [Q, k], filled in ascending order; k = 0: the rows are only counted.
        sizes: int64 [Q], filled: keys of each query, or rows counted; -1 for a query that was given up.
        work: int64 [Q, 2], filled: values looked up, and candidates met.
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
        top = np.int64(bound - 1)  # the greatest distance that may still enter
        spent = 0.0
        looked = 0
        met: Any = 0
        covered = 0  # all rows nearer than this have been met
        given_up = False
        _begin(search)
        while covered <= top and not given_up:
            chosen, cost = _cheapest(tables, state, prices)
            if chosen < 0:  # every row has been met
                break
            if spent + cost > prices.budget:
                given_up = True
                break
            size, top, newly_looked, newly_met, given_up = _search_level(search, chosen, prices, spent, best, size, top)
            looked += newly_looked
            met += newly_met
            spent += newly_looked * prices.probe + newly_met * prices.candidate
            _searched(tables, state, chosen, newly_met / newly_looked, words.shape[1])
            covered += 1

        work[query, 0] = looked
        work[query, 1] = met
        sizes[query] = -1 if given_up else size
        order(best, size)
