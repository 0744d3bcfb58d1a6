"""Candidates against enumeration, and orders of bits that leave fewer of them to the compiled search."""

import numpy as np
import pytest

from texthash.errors import TexthashError
from texthash.hamming.bit_swaps import candidates_per_query, swapped_order
from texthash.hamming.codes import pack, unpack
from texthash.hamming.multi_index import BitOrder, Tables


def correlated(documents, bits, seed):
    """Codes in which neighbouring bits are nearly equal, so that blocks in their own order hold little."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 2, (12, bits // 4))
    rows = np.repeat(topics[rng.integers(0, 12, documents)], 4, axis=1)
    return pack((rows ^ (rng.random(rows.shape) < 0.08)).astype(np.uint8))


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_candidates_are_those_of_enumeration(blocks):
    codes, queries, k, order = correlated(80, 16, 0), correlated(7, 16, 1), 5, np.random.default_rng(2).permutation(16)
    found = candidates_per_query(codes, queries, k, blocks, order)
    rows, asked = unpack(codes)[:, order], unpack(queries)[:, order]
    edges = np.cumsum([0, *(16 // blocks + (j < 16 % blocks) for j in range(blocks))])
    for q, query in enumerate(asked):
        differ = rows != query
        radius, met, s = np.sort(differ.sum(axis=1))[k - 1], np.zeros(80, bool), 0
        while s <= radius:
            j, r = s % blocks, s // blocks
            met |= differ[:, edges[j] : edges[j + 1]].sum(axis=1) <= r
            s += 1
        assert found[q] == met.sum()
        assert met[differ.sum(axis=1) <= radius].all(), "all results are among them"


def test_swaps_end_where_none_helps_and_never_harm():
    codes, queries = correlated(120, 16, 0), correlated(20, 16, 1)
    order = swapped_order(codes, queries, 5, 2)
    assert sorted(order) == list(range(16))
    best = candidates_per_query(codes, queries, 5, 2, order).sum()
    assert best < candidates_per_query(codes, queries, 5, 2).sum()
    for a in range(8):
        for b in range(8, 16):
            other = order.copy()
            other[[a, b]] = other[[b, a]]
            assert candidates_per_query(codes, queries, 5, 2, other).sum() >= best


def test_the_compiled_search_meets_fewer_candidates_and_finds_the_same():
    codes, held_out, queries = correlated(3_000, 32, 0), correlated(60, 32, 1), correlated(100, 32, 2)
    order = swapped_order(codes[:1_000], held_out, 5, 2, sweeps=12)
    work, distances = [], []
    for layout in (BitOrder(np.arange(32)), BitOrder(order)):
        found = Tables.build(layout.words(codes), 32, 2).nearest(layout.words(queries), 15)
        work.append(found.work[:, 1].mean())
        distances.append(np.stack(found.distances))
    assert np.array_equal(*distances)
    assert work[1] < 0.8 * work[0]


def test_blocks_and_results_that_cannot_be_are_refused():
    codes = correlated(10, 16, 0)
    for k, blocks in ((11, 2), (0, 2), (3, 17), (3, 0)):
        with pytest.raises(TexthashError, match="blocks of 16 bits"):
            swapped_order(codes, codes, k, blocks)
