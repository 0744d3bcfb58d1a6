"""Codes as bytes: layout, widths, words, readable forms, and the same bytes in faiss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming import codes as c

bit_arrays = st.integers(1, 20).flatmap(
    lambda width: hnp.arrays(np.bool_, st.tuples(st.integers(0, 40), st.just(8 * width)))
)


def test_most_significant_bit_comes_first():
    bits = np.zeros((1, 16), np.bool_)
    bits[0, 0] = bits[0, 15] = True
    assert c.pack(bits).tolist() == [[0x80, 0x01]]
    assert c.to_hex(c.pack(bits)) == ["8001"]
    assert c.to_bitstring(c.pack(bits)) == ["1000000000000001"]


@given(bit_arrays)
def test_every_form_goes_there_and_back(bits):
    codes = c.pack(bits)
    assert np.array_equal(c.unpack(codes), bits)
    assert np.array_equal(c.pack(bits.astype(np.uint8)), codes)
    assert np.array_equal(c.from_hex(c.to_hex(codes), bits.shape[1]), codes)
    assert [list(map(int, text)) for text in c.to_bitstring(codes)] == bits.astype(int).tolist()


@given(bit_arrays)
def test_words_are_word_major_aligned_and_padded_with_zeros(bits):
    codes = c.pack(bits)
    words = c.to_words(codes)
    assert words.shape == (-(-bits.shape[1] // 64), len(bits))
    assert words.dtype == np.uint64
    assert not words.size or words.ctypes.data % 64 == 0
    assert np.bitwise_count(words).sum() == bits.sum()
    back = np.ascontiguousarray(words.T).view(np.uint8)
    assert np.array_equal(back[:, : codes.shape[1]], codes)
    assert not back[:, codes.shape[1] :].any()


def test_words_of_a_view_with_gaps():
    codes = np.arange(64, dtype=np.uint8).reshape(4, 16)[::2, :8]
    assert np.array_equal(c.to_words(codes), c.to_words(codes.copy()))


@pytest.mark.parametrize("bits", [0, 4, 12, 1032])
def test_widths_that_codes_cannot_have(bits):
    with pytest.raises(TexthashError, match=f"{bits} bits"):
        c.check_bits(bits)
    with pytest.raises(TexthashError, match=f"{bits} bits"):
        c.pack(np.zeros((2, bits), np.bool_))


def test_another_width_than_expected_names_both():
    codes = np.zeros((3, 4), np.uint8)
    assert c.check_codes(codes, 32) == 32
    with pytest.raises(ModelMismatchError, match="query codes have 32 bits where 64"):
        c.check_codes(codes, 64, "query codes")
    with pytest.raises(ModelMismatchError):
        c.unpack(codes, 64)
    with pytest.raises(ModelMismatchError):
        c.from_hex(["00ff"], 32)


@pytest.mark.parametrize("codes", [np.zeros((3, 8), np.int8), np.zeros(8, np.uint8), [[1, 2]], np.zeros((2, 3, 8))])
def test_what_is_not_codes(codes):
    with pytest.raises(TexthashError, match="not a uint8 array"):
        c.check_codes(codes)


@pytest.mark.parametrize("bits", [np.zeros((2, 8)), np.zeros(8, np.bool_), np.full((2, 8), 2, np.uint8)])
def test_what_is_not_bits(bits):
    with pytest.raises(TexthashError, match="bits to pack"):
        c.pack(bits)


@pytest.mark.parametrize("texts", [["xy"], ["00", "0"], ["00", "0000"], []])
def test_what_is_not_hexadecimal_codes(texts):
    with pytest.raises(TexthashError, match="remedy"):
        c.from_hex(texts)


def test_no_hexadecimal_codes_of_a_known_width():
    assert c.from_hex([], 32).shape == (0, 4)


@pytest.mark.parametrize("bits", [8, 32, 64, 72, 256, 1024])
def test_faiss_reads_the_same_bytes(bits):
    faiss = pytest.importorskip("faiss")
    random = np.random.default_rng(bits)
    ones = random.random((50, bits)) < 0.5
    codes = c.pack(ones)
    index = faiss.IndexBinaryFlat(bits)
    index.add(codes)
    distances, rows = index.search(codes[:5], 50)
    expected = (ones[:5, None] != ones[None]).sum(axis=2)
    assert np.array_equal(np.take_along_axis(expected, rows, axis=1), distances)
