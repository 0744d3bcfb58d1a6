"""Tables: what they hold, how bits are laid out, and which arguments cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming import multi_index as t
from texthash.hamming.codes import pack, unpack
from texthash.hamming.kernels import nearest
from texthash.hamming.multi_index import BitOrder, Costs, Tables, bit_order, substrings_for


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 16, 40, 64, 72, 128, 256]), st.integers(0, 60), st.data())
def test_each_table_lists_each_row_under_its_bits(seed, bits, size, data):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (size, bits // 8), dtype=np.uint8)
    order = random.permutation(bits)
    parts = data.draw(st.integers(max(1, -(-bits // 12)), min(bits, 40)))
    tables = Tables.build(BitOrder(order).words(codes), bits, parts, threads=2)
    ones = unpack(codes)[:, order]
    assert tables.widths.sum() == bits
    for table, (start, width, base) in enumerate(zip(tables.starts, tables.widths, tables.bases, strict=True)):
        values = ones[:, start : start + width] @ (1 << np.arange(width, dtype=np.int64))
        for value in range(1 << width) if width < 7 else np.unique(values):
            low, high = tables.offsets[base + value], tables.offsets[base + value + 1]
            assert np.array_equal(tables.rows[table, low:high], np.flatnonzero(values == value))


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 40, 64, 128, 256]), st.integers(1, 300), st.integers(1, 20))
def test_any_number_of_substrings_finds_the_same_and_what_is_given_up_says_so(seed, bits, size, k):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 4, (size, bits // 8), dtype=np.uint8)
    words = BitOrder(np.arange(bits)).words(codes)
    queries = BitOrder(np.arange(bits)).words(random.integers(0, 4, (3, bits // 8), dtype=np.uint8))
    distances, rows, sizes = nearest(words, queries, k)
    for parts in {-(-bits // 10), min(bits, -(-bits // 10) + int(random.integers(0, 9)))}:
        tables = Tables.build(words, bits, parts)
        found = tables.nearest(queries, k)
        assert np.array_equal(found.sizes, sizes)
        assert all(np.array_equal(a, b) for a, b in zip(found.rows, rows, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(found.distances, distances, strict=True))
        limited = tables.nearest(queries, k, costs=Costs(probe=1, candidate=1, budget=float(random.integers(0, 500))))
        kept = limited.sizes >= 0
        assert np.array_equal(limited.sizes[kept], sizes[kept])
        assert all(np.array_equal(limited.rows[q], rows[q]) for q in np.flatnonzero(kept))
    assert (tables.nearest(queries, k, costs=Costs(budget=0)).sizes == -1).all()
    assert (tables.count_within(queries, bits, costs=Costs(budget=0))[0] == -1).all()


def test_queries_in_blocks_give_the_same(monkeypatch):
    random = np.random.default_rng(0)
    words = BitOrder(np.arange(32)).words(random.integers(0, 256, (500, 4), dtype=np.uint8))
    tables = Tables.build(words, 32)
    whole = tables.nearest(words[:, :50].copy(), 7, threads=2)
    monkeypatch.setattr(t, "_KEY_BYTES", 8 * 7 * 3)
    blocks = tables.nearest(words[:, :50].copy(), 7)
    assert np.array_equal(whole.rows, blocks.rows)
    assert np.array_equal(whole.work, blocks.work)


def test_bits_that_go_together_come_into_different_substrings():
    random = np.random.default_rng(0)
    half = random.random((4000, 32)) < 0.5
    order = bit_order(pack(np.concatenate([half, half], axis=1)), 2)
    assert sorted(order.tolist()) == list(range(64))
    assert sorted(order[:32] % 32) == sorted(order[32:] % 32) == list(range(32))


@pytest.mark.parametrize("count", [0, 1, 100, 721_000, 10_000_000])
@pytest.mark.parametrize("bits", [8, 32, 64, 128, 256, 1024])
def test_tables_are_not_larger_than_a_few_times_the_rows(bits, count):
    parts = substrings_for(bits, count)
    width = -(-bits // parts)
    assert 1 <= parts <= bits
    assert 2**width <= max(16, 4 * count)
    assert bits <= parts * width


def test_ten_million_codes_of_64_bits_take_less_than_48_bytes_each():
    count = 10_000_000
    parts = substrings_for(64, count)
    offsets = sum(4 * (2**width + 1) for width in (64 // parts + (i < 64 % parts) for i in range(parts)))
    # Code, document number, and in each table the row and 32 bits of the code.
    assert 8 + 8 + parts * 8 + offsets / count < 48


@pytest.mark.parametrize("parts", [0, 1, 65])
def test_substrings_that_cannot_be(parts):
    words = BitOrder(np.arange(64)).words(np.zeros((3, 8), np.uint8))
    with pytest.raises(TexthashError, match=f"into {parts} substrings"):
        Tables.build(words, 64, parts)


def test_codes_of_another_width():
    tables = Tables.build(BitOrder(np.arange(64)).words(np.zeros((3, 8), np.uint8)), 64)
    with pytest.raises(ModelMismatchError, match="2 words"):
        tables.nearest(np.zeros((2, 1), np.uint64), 1)
    with pytest.raises(ModelMismatchError):
        BitOrder(np.arange(64)).words(np.zeros((3, 16), np.uint8))
