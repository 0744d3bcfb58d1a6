"""Searches by a scan: order, paging, radius, masks, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.kernels import pack_allow
from texthash.index.memory.multi_index import MultiIndex


def brute(codes, numbers, query, radius=None, allowed=None):
    distances = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int64)
    order = [i for i in np.lexsort((numbers, distances)) if allowed is None or numbers[i] in allowed]
    order = [i for i in order if radius is None or distances[i] <= radius]
    return distances[order], numbers[order]


@settings(deadline=None)  # the first call compiles
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 8, 9, 16, 32]),
    st.integers(0, 200),
    st.integers(1, 50),
    st.integers(0, 250),
    st.none() | st.integers(0, 40),
)
def test_search_is_brute_force_whatever_the_order_of_numbers(seed, width, size, limit, offset, radius):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 4, (size, width), dtype=np.uint8)
    numbers = random.permutation(10 * size)[:size].astype(np.int64)
    queries = random.integers(0, 4, (3, width), dtype=np.uint8)
    index = MultiIndex(codes, numbers)
    hits = index.search(queries, limit, offset, radius=radius, plan="flat")
    assert len(hits) == 3
    for query, distances, found in zip(queries, hits.distances, hits.numbers, strict=True):
        expected = brute(codes, numbers, query, radius)
        assert np.array_equal(distances, expected[0][offset : offset + limit])
        assert np.array_equal(found, expected[1][offset : offset + limit])
    if radius is not None:
        totals = [len(brute(codes, numbers, query, radius)[0]) for query in queries]
        assert index.total_within_radius(queries, radius, plan="flat").tolist() == totals


def test_a_mask_follows_the_order_of_the_numbers_of_the_index():
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (100, 4), dtype=np.uint8)
    numbers = random.permutation(1000)[:100].astype(np.int64)
    index = MultiIndex(codes, numbers)
    assert (np.diff(index.numbers) > 0).all()
    allow = index.numbers % 3 == 0
    expected = brute(codes, numbers, codes[7], allowed=set(index.numbers[allow]))
    for mask in (allow, pack_allow(allow)):
        hits = index.search(codes[7:8], 1000, allow=mask, plan="flat")
        assert np.array_equal(hits.numbers[0], expected[1])
        assert np.array_equal(hits.distances[0], expected[0])
        assert index.total_within_radius(codes[7:8], 32, mask, plan="flat") == allow.sum()


def test_equal_codes_come_in_the_order_of_their_numbers():
    index = MultiIndex(np.zeros((5, 8), np.uint8), np.array([9, -3, 4, 100, 0]))
    assert index.search(np.zeros((1, 8), np.uint8), 3, plan="flat").numbers[0].tolist() == [-3, 0, 4]


def test_size_and_bits():
    index = MultiIndex(np.zeros((5, 16), np.uint8), np.arange(5))
    assert (len(index), index.bits, index.size_bytes) == (5, 128, 5 * (16 + 8))


def test_an_empty_index_and_no_queries():
    empty = MultiIndex(np.zeros((0, 8), np.uint8), np.empty(0, np.int64))
    assert empty.search(np.zeros((2, 8), np.uint8), 10).numbers[1].shape == (0,)
    full = MultiIndex(np.zeros((3, 8), np.uint8), np.arange(3))
    assert len(full.search(np.zeros((0, 8), np.uint8), 10)) == 0


def test_queries_of_another_width():
    index = MultiIndex(np.zeros((5, 8), np.uint8), np.arange(5))
    for width in (4, 16):
        with pytest.raises(ModelMismatchError, match=f"query codes have {8 * width} bits where 64"):
            index.search(np.zeros((1, width), np.uint8), 1)
        with pytest.raises(ModelMismatchError):
            index.total_within_radius(np.zeros((1, width), np.uint8), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"limit": 1, "offset": -1}, "offset is -1"),
        ({"limit": 1, "radius": -1}, "radius is -1"),
        ({"limit": 1, "allow": np.ones(3, np.bool_)}, r"bool \[5\]"),
    ],
)
def test_searches_that_cannot_be(arguments, message):
    index = MultiIndex(np.zeros((5, 8), np.uint8), np.arange(5))
    with pytest.raises(TexthashError, match=message):
        index.search(np.zeros((1, 8), np.uint8), **arguments, plan="flat")


def test_numbers_that_do_not_fit():
    codes = np.zeros((3, 8), np.uint8)
    with pytest.raises(TexthashError, match="number 7 occurs more than once"):
        MultiIndex(codes, np.array([7, 1, 7]))
    with pytest.raises(TexthashError, match="came with 3 codes"):
        MultiIndex(codes, np.arange(2))
