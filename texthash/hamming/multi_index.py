"""Multi-index hashing tables over word-major codes: their layout, their building, and exact searches with them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError
from texthash.hamming import _mih
from texthash.hamming._threads import Mask, Words, arguments, as_readonly, side_by_side
from texthash.hamming.codes import check_bits, check_codes, to_words

# A table has at most so many times as many values as there are rows: more would be mostly empty, and cost memory.
_VALUES_PER_ROW = 1.5
_LEAST_WIDTH = 4
# Beside codes of more words, 32 further bits say too little about a distance for what they take.
_FRAGMENT_WORDS = 2
_KEY_BYTES = 1 << 26
# Keys are distance << 32 | row.
_ROW_BITS = np.uint64(32)
_ROW_MASK = np.uint64(0xFFFFFFFF)
# Nanoseconds a scan takes for a word, and that any call takes.
_SCAN_WORD = 0.35
_LEAST_BUDGET = 10_000.0


@dataclass(frozen=True)
class Costs:
    """What the steps of a search take, in nanoseconds; when a query is given up (`nearest`, `count_within`).

    Attributes:
        probe: Looking up one value.
        candidate: Passing one candidate.
        budget: A query that would take longer is given up.
    """

    probe: float = 20.0
    candidate: float = 2.0
    budget: float = math.inf

    @classmethod
    def of_scan(cls, words: Words) -> Costs:
        """Costs as they usually are, with half the time of a scan of ``words`` as the budget."""
        return cls(budget=max(_LEAST_BUDGET, words.size * _SCAN_WORD / 2))


class Found(NamedTuple):
    """What tables found for each query.

    Attributes:
        distances: uint16 arrays, ascending.
        rows: int64 arrays, ascending where distances are equal.
        sizes: int64 [Q], how many were found; -1 for a query that was given up.
        work: int64 [Q, 2], values looked up and candidates met.
    """

    distances: list[NDArray[np.uint16]]
    rows: list[NDArray[np.int64]]
    sizes: NDArray[np.int64]
    work: NDArray[np.int64]


@dataclass(frozen=True)
class Tables:
    """One table per substring of the codes; `texthash.hamming._mih` says what they hold.

    Attributes:
        words: uint64 [w, N], the codes.
        starts: int64 [m], first bit of each substring, counted from the lowest bit of word 0.
        widths: int64 [m], its bits.
        bases: int64 [m], where each table begins in ``offsets``.
        offsets: uint32, for each table 2^width + 1.
        rows: uint32 [m, N].
        fragments: uint32 [m, N], the 32 bits that follow the substring in each row of ``rows``; [m, 0] for wide codes.
    """

    words: Words
    starts: NDArray[np.int64]
    widths: NDArray[np.int64]
    bases: NDArray[np.int64]
    offsets: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    fragments: NDArray[np.uint32]

    @classmethod
    def build(cls, words: Words, bits: int, substrings: int | None = None, threads: int = 1) -> Tables:
        """Make the tables of codes of ``bits`` bits.

        Args:
            words: uint64 [w, N], bits 0..bits-1 of each code in use, counted from the lowest bit of word 0.
            bits: Bits of a code.
            substrings: How many to divide them into; by default what suits N, see `substrings_for`.
            threads: Tables made side by side.

        Raises:
            TexthashError: A number of substrings that cannot be, or 2^32 codes or more.
        """
        count = words.shape[1]
        if count >= 1 << 32:
            raise TexthashError(f"{count} codes do not fit one set of tables", "divide the index into more shards")
        parts = substrings_for(bits, count) if substrings is None else substrings
        if not 1 <= parts <= bits or -(-bits // parts) > 32:
            raise TexthashError(
                f"{bits} bits cannot be divided into {parts} substrings", "choose substrings of 1 to 32 bits"
            )
        widths = np.full(parts, bits // parts, np.int64)
        widths[: bits % parts] += 1
        starts = np.cumsum(widths) - widths
        sizes = (np.int64(1) << widths) + 1
        bases = np.cumsum(sizes) - sizes
        offsets = np.zeros(sizes.sum(), np.uint32)
        rows = np.empty((parts, count), np.uint32)
        fragments = np.empty((parts, count if len(words) <= _FRAGMENT_WORDS else 0), np.uint32)
        words = as_readonly(words)

        def make(first: int) -> None:
            for part in range(first, parts, threads):
                here = offsets[bases[part] : bases[part] + sizes[part]]
                _mih.fill_table(words, int(starts[part]), int(widths[part]), here, rows[part], fragments[part])

        side_by_side([functools.partial(make, first) for first in range(min(threads, parts))])
        return cls(words, *(as_readonly(array) for array in (starts, widths, bases, offsets, rows, fragments)))

    @property
    def size_bytes(self) -> int:
        """Memory of the tables, without the codes."""
        return int(self.offsets.nbytes + self.rows.nbytes + self.fragments.nbytes)

    def nearest(
        self,
        query_words: Words,
        k: int,
        radius: int | None = None,
        allow: Mask | None = None,
        costs: Costs = Costs(),
        threads: int = 1,
    ) -> Found:
        """Find the k nearest allowed rows of each query; arguments as of `texthash.hamming.kernels.nearest`."""
        k = max(1, min(k, self.words.shape[1]))
        count = query_words.shape[1]
        step = max(1, _KEY_BYTES // (8 * k))
        near, rows, sizes, work = [], [], [], []
        for first in range(0, count, step):
            keys = np.empty((min(step, count - first), k), np.uint64)
            done = self._probe(query_words[:, first : first + step], keys, radius, allow, costs, threads)
            sizes.append(done[0])
            work.append(done[1])
            for query, size in enumerate(done[0].tolist()):
                found = keys[query, : max(size, 0)]
                near.append((found >> _ROW_BITS).astype(np.uint16))
                rows.append((found & _ROW_MASK).astype(np.int64))
        if len(sizes) == 1:
            return Found(near, rows, sizes[0], work[0])
        return Found(
            near,
            rows,
            np.concatenate([np.empty(0, np.int64), *sizes]),
            np.concatenate([np.empty((0, 2), np.int64), *work]),
        )

    def count_within(
        self, query_words: Words, radius: int, allow: Mask | None = None, costs: Costs = Costs(), threads: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (counts int64 [Q], work int64 [Q, 2]) as `texthash.hamming.kernels.count_within`; -1 for a query that
        was given up."""
        nothing = np.empty((query_words.shape[1], 0), np.uint64)
        return self._probe(query_words, nothing, radius, allow, costs, threads)

    def _probe(
        self,
        query_words: Words,
        keys: NDArray[np.uint64],
        radius: int | None,
        allow: Mask | None,
        costs: Costs,
        threads: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        words, queries, mask, bound = arguments(self.words, query_words, allow, radius)
        count = len(queries)
        sizes = np.zeros(count, np.int64)
        work = np.zeros((count, 2), np.int64)
        tables = _mih.Substrings(self.starts, self.widths, self.bases, self.offsets, self.rows, self.fragments)
        prices = _mih.Prices(float(costs.probe), float(costs.candidate), float(costs.budget))
        parts = max(1, min(threads, count))
        edges = [count * part // parts for part in range(parts + 1)]
        side_by_side(
            [
                functools.partial(
                    _mih.probe, words, queries, mask, tables, bound, prices, first, last, keys, sizes, work
                )
                for first, last in pairwise(edges)
            ]
        )
        return sizes, work


def substrings_for(bits: int, count: int) -> int:
    """Return how many substrings suit ``count`` codes: about bits / log2(count), so that a value has about one row."""
    width = max(_LEAST_WIDTH, math.floor(math.log2(max(1, count) * _VALUES_PER_ROW)))
    return -(-bits // min(width, 32, bits))


def bit_order(codes: NDArray[np.uint8], substrings: int) -> NDArray[np.int64]:
    """Return the order in which to lay the bits of codes so that those within a substring tell least of each other.

    Bits that go together leave most values of a substring empty and a few crowded. Bits are dealt greedily, the most
    correlated first, each to the substring with whose bits it correlates least.

    Args:
        codes: uint8 [N, bits / 8], a sample.
        substrings: As many as the tables will have.

    Returns:
        int64 [bits]: bit ``order[p]`` of a code comes to place p.
    """
    bits = check_codes(codes)
    ones = np.unpackbits(codes, axis=1).astype(np.float32)
    ones -= ones.mean(axis=0) if len(ones) else 0
    covariance = ones.T @ ones
    scale = np.sqrt(np.diag(covariance))
    correlation = np.abs(covariance) / np.maximum(np.outer(scale, scale), 1e-9)
    # A bit that never changes carries nothing, as one that is known from others does.
    correlation[scale == 0] = correlation[:, scale == 0] = 1
    room = np.full(substrings, bits // substrings)
    room[: bits % substrings] += 1
    members: list[list[int]] = [[] for _ in range(substrings)]
    for bit in np.argsort(-correlation.sum(axis=0), kind="stable"):
        shared = [
            float(correlation[bit, mine].sum()) if len(mine) < space else math.inf
            for mine, space in zip(members, room, strict=True)
        ]
        members[int(np.argmin(shared))].append(int(bit))
    return np.concatenate([np.array(sorted(mine), np.int64) for mine in members])


class BitOrder:
    """An order of the bits of codes, ready to lay codes in it.

    Args:
        order: int64 [bits], each of 0..bits-1 once: bit ``order[p]`` of a code comes to place p.

    Raises:
        TexthashError: ``order`` is no order of so many bits.
    """

    def __init__(self, order: NDArray[np.int64]) -> None:
        bits = check_bits(len(order))
        if not np.array_equal(np.sort(order), np.arange(bits)):
            raise TexthashError(f"the order of {bits} bits does not name each once", "make it with bit_order")
        self.order = order
        values = np.arange(256)
        self._patterns = np.zeros((bits // 8, 256, -(-bits // 64)), np.uint64)
        for place, bit in enumerate(order):
            ones = (values >> (7 - bit % 8) & 1).astype(np.uint64)
            self._patterns[bit // 8, :, place // 64] |= ones << np.uint64(place % 64)

    def words(self, codes: NDArray[np.uint8]) -> Words:
        """Return codes as `to_words` does, bit ``order[p]`` of each at bit p from the lowest bit of word 0 on."""
        check_codes(codes, len(self.order))
        permuted: NDArray[Any] = _mih.permute(as_readonly(codes), self._patterns)
        return to_words(permuted.view(np.uint8))

    def codes(self, words: Words) -> NDArray[np.uint8]:
        """Return the codes, uint8 [N, bits / 8], that `words` laid out as uint64 [w, N]."""
        placed = np.unpackbits(np.ascontiguousarray(words.T).view(np.uint8), axis=1, bitorder="little")
        bits = np.empty((len(placed), len(self.order)), np.uint8)
        bits[:, self.order] = placed[:, : len(self.order)]
        return np.packbits(bits, axis=1)
