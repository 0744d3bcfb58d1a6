"""Tables of multi-index hashing over word-major codes: layout, construction, and exact search."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError
from texthash.hamming import _asymmetric, _mih
from texthash.hamming._threads import Mask, Words, arguments, run_parallel
from texthash.hamming.codes import as_readonly, check_bits, check_codes, to_words

# Largest number of values of a table per row: more values would be mostly empty, and cost memory.
_VALUES_PER_ROW = 1.5
_LEAST_WIDTH = 4
# For codes of more words, a fragment of 32 bits rules out too few candidates to be worth its memory.
_FRAGMENT_WORDS = 2
_KEY_BYTES = 1 << 26
# Keys are distance << 32 | row.
_ROW_BITS = np.uint64(32)
_ROW_MASK = np.uint64(0xFFFFFFFF)
# Typical nanoseconds of a scan per word, and of any call.
_SCAN_WORD = 0.35
_LEAST_BUDGET = 10_000.0


@dataclass(frozen=True)
class Costs:
    """Costs of the steps of a search, and budget of a query, in nanoseconds.

    Attributes:
        probe: Cost of looking up one value.
        candidate: Cost of one candidate.
        budget: Largest cost of a query; `nearest` and `count_within` give up a more expensive one.
    """

    probe: float = 20.0
    candidate: float = 2.0
    budget: float = math.inf

    @classmethod
    def of_scan(cls, words: Words) -> Costs:
        """Return typical costs, with half the time of a scan of ``words`` as the budget."""
        return cls(budget=max(_LEAST_BUDGET, words.size * _SCAN_WORD / 2))


class Found(NamedTuple):
    """Search results of the tables for each query.

    Attributes:
        distances: Distances of each query, uint16, ascending.
        rows: Rows of each query, int64, ascending among equal distances.
        sizes: Number of hits, int64 [Q]; -1 for a query that was given up.
        work: Numbers of values looked up and of candidates, int64 [Q, 2].
    """

    distances: list[NDArray[np.uint16]]
    rows: list[NDArray[np.int64]]
    sizes: NDArray[np.int64]
    work: NDArray[np.int64]


@dataclass(frozen=True)
class Tables:
    """Tables of the substrings of codes, one per substring; `texthash.hamming._mih` describes their use.

    Attributes:
        words: Codes, uint64 [w, N].
        starts: First bit of each substring, counted from the lowest bit of word 0, int64 [m].
        widths: Width of each substring in bits, int64 [m].
        bases: Begin of each table in ``offsets``, int64 [m].
        offsets: Begin of each value in ``rows``, uint32, 2^width + 1 elements per table.
        rows: Rows by value of each substring, uint32 [m, N].
        fragments: The 32 bits that follow the substring in each row of ``rows``, uint32 [m, N]; [m, 0] for wide codes.
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
        """Build the tables of codes of ``bits`` bits.

        Args:
            words: Codes, uint64 [w, N], in bits 0..bits-1, counted from the lowest bit of word 0.
            bits: Width of a code.
            substrings: Number of substrings; None takes `substrings_for`.
            threads: Number of threads, which divide the tables.

        Raises:
            TexthashError: ``substrings`` is out of range, or there are 2^32 codes or more.
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

        run_parallel([functools.partial(make, first) for first in range(min(threads, parts))])
        return cls(words, *(as_readonly(array) for array in (starts, widths, bases, offsets, rows, fragments)))

    @property
    def size_bytes(self) -> int:
        """Memory of the tables in bytes, without the codes."""
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
        """Return the k nearest allowed rows of each query. Arguments as in `texthash.hamming.kernels.nearest`."""
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
        """Return (counts int64 [Q], work int64 [Q, 2]).

        Counts are those of `texthash.hamming.kernels.count_within`, and -1 for a query that was given up.
        """
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
        run_parallel(
            [
                functools.partial(
                    _mih.probe, words, queries, mask, tables, bound, prices, first, last, keys, sizes, work
                )
                for first, last in pairwise(edges)
            ]
        )
        return sizes, work


def substrings_for(bits: int, count: int) -> int:
    """Return a suitable number of substrings for ``count`` codes: about bits / log2(count), or one row per value."""
    width = max(_LEAST_WIDTH, math.floor(math.log2(max(1, count) * _VALUES_PER_ROW)))
    return -(-bits // min(width, 32, bits))


def bit_order(codes: NDArray[np.uint8], substrings: int) -> NDArray[np.int64]:
    """Return an order of the bits of codes in which those within a substring are least correlated.

    Correlated bits leave most values of a substring empty and a few crowded. Bits are assigned greedily, the most
    correlated first, each to the substring whose bits it correlates with least.

    Args:
        codes: Sample of codes, uint8 [N, bits / 8].
        substrings: Number of substrings of the tables.

    Returns:
        Order, int64 [bits]: bit ``order[p]`` of a code moves to position p.
    """
    bits = check_codes(codes)
    ones = np.unpackbits(codes, axis=1).astype(np.float32)
    ones -= ones.mean(axis=0) if len(ones) else 0
    covariance = ones.T @ ones
    scale = np.sqrt(np.diag(covariance))
    correlation = np.abs(covariance) / np.maximum(np.outer(scale, scale), 1e-9)
    # A constant bit carries no information, like a bit that follows from others.
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
    """Permutation of the bits of codes.

    Args:
        order: Order of the bits, int64 [bits], each of 0..bits-1 once: bit ``order[p]`` of a code moves to position p.

    Raises:
        TexthashError: ``order`` is not a permutation, or not of a permitted width.
    """

    def __init__(self, order: NDArray[np.int64]) -> None:
        bits = check_bits(len(order))
        if not np.array_equal(np.sort(order), np.arange(bits)):
            raise TexthashError(f"the order of {bits} bits does not name each bit once", "make it with bit_order")
        self.order = order
        # Bit b of a code is bit 8 (b // 8) + 7 - b % 8 of its words.
        places = order // 8 * 8 + 7 - order % 8
        self._patterns = _patterns(places, np.arange(bits))
        self._inverse = _patterns(np.arange(bits), places)

    def words(self, codes: NDArray[np.uint8]) -> Words:
        """Return codes as words, as `to_words` does, with bit ``order[p]`` of a code at bit p.

        Bits are counted from the lowest bit of word 0.
        """
        check_codes(codes, len(self.order))
        permuted: NDArray[Any] = _mih.permute(as_readonly(codes), self._patterns)
        return to_words(permuted.view(np.uint8))

    def codes(self, words: Words) -> NDArray[np.uint8]:
        """Return the codes, uint8 [N, bits / 8], of permuted words, uint64 [w, N]; the inverse of `words`."""
        size = len(self.order) // 8
        permuted = np.ascontiguousarray(words.T).view(np.uint8)[:, :size]
        codes: NDArray[Any] = _mih.permute(as_readonly(permuted), self._inverse)
        return codes.view(np.uint8)[:, :size]

    def add_scores(
        self,
        words: Words,
        rows: NDArray[np.int64],
        queries: NDArray[np.int64],
        sums: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> None:
        """Set the asymmetric scores of permuted codes: `texthash.hamming.asymmetric`.

        Args:
            words: Permuted words, uint64 [w, N].
            rows: Row of each score, int64; a negative one leaves its score as it is.
            queries: Query of each score, int64.
            sums: Result of `texthash.hamming.asymmetric.sums_of_four` for the queries.
            scores: The scores, float64.
        """
        _asymmetric.add_scores(as_readonly(words), rows, queries, self._inverse, sums, scores)


def _patterns(places: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return what each value of each byte sets where bits move from places to targets, uint64 [bytes, 256, w]."""
    values = np.arange(256)
    patterns = np.zeros((len(places) // 8, 256, -(-len(places) // 64)), np.uint64)
    for place, target in zip(places, targets, strict=True):
        ones = (values >> (place % 8) & 1).astype(np.uint64)
        patterns[place // 8, :, target // 64] |= ones << np.uint64(target % 64)
    return patterns
