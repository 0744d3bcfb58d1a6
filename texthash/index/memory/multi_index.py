"""An index that answers as the flat one does, by whichever is faster: the scan, or tables over parts of the codes."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError, nearest_name
from texthash.hamming import kernels
from texthash.hamming.codes import check_codes
from texthash.hamming.multi_index import BitOrder, Costs, Tables, bit_order, substrings_for
from texthash.index.memory.cost_model import Call, CostModel, Plan
from texthash.index.memory.flat import Hits, check_window, sorted_by_number
from texthash.index.memory.segments import Segment, SegmentHits, joined_hits, scanned

PLANS: tuple[Plan, ...] = ("auto", "flat", "mih")
# Fewer documents than this are scanned before a table could be opened.
LEAST_ROWS = 4096
# Added documents are scanned; when they are more than this, and than a share of the others, all go into new tables.
_TAIL_ROWS = 4096
_TAIL_SHARE = 1 / 16
# As many deleted documents are passed over before the index is made anew without them.
_DEAD_SHARE = 1 / 4
_SAMPLE_ROWS = 16_384
_SHARE_SAMPLE = 2048


class MultiIndex:
    """Codes in memory, searched by a scan (`flat`), by multi-index hashing (`mih`), or by what is faster (`auto`).

    The answer is the same whatever the plan: exact, by (distance, document number). An index does not change: `added`
    and `without` return another one, which shares the tables, so whoever searches this one is not disturbed.

    Args:
        codes: uint8 [N, bits / 8], most significant bit first.
        numbers: int64 [N], the document number of each code, all different, in any order.
        order: In which order to lay the bits; by default one made from a sample of the codes
            (`texthash.hamming.multi_index.bit_order`).

    Raises:
        TexthashError: The arrays do not fit together, or a number occurs twice.

    Attributes:
        bits: Bits of a code.
        order: int64 [bits], the order of the bits.
    """

    def __init__(
        self, codes: NDArray[np.uint8], numbers: NDArray[np.int64], order: NDArray[np.int64] | None = None
    ) -> None:
        self.bits = check_codes(codes)
        codes, numbers = sorted_by_number(codes, numbers)
        if order is None:
            sample = codes[:: max(1, len(codes) // _SAMPLE_ROWS)]
            order = bit_order(sample, substrings_for(self.bits, len(codes)))
        self._layout = BitOrder(order)
        self._set(Segment(self._layout.words(codes), numbers), self._none())

    def _set(self, base: Segment, tail: Segment) -> None:
        self._base, self._tail = base, tail
        self._packed = None if base.live is None else kernels.pack_allow(base.live)
        self._tables: Tables | None = None
        self._model: CostModel | None = None
        self._preparing = threading.Lock()

    def _none(self) -> Segment:
        return Segment(self._layout.words(np.empty((0, self.bits // 8), np.uint8)), np.empty(0, np.int64))

    @property
    def order(self) -> NDArray[np.int64]:
        return self._layout.order

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document number of each row, int64 [rows]: ascending, then the added ones, ascending; deleted ones too."""
        return np.concatenate([self._base.numbers, self._tail.numbers]) if len(self._tail) else self._base.numbers

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of documents, uint8 [N, bits / 8], in the order of their numbers, all of which are here."""
        codes = np.empty((len(numbers), self.bits // 8), np.uint8)
        for part in (self._base, self._tail):
            rows = part.places(numbers)
            if len(rows):
                codes[np.isin(numbers, part.numbers[rows])] = self._layout.codes(part.words[:, rows])
        return codes

    def __len__(self) -> int:
        return self._base.live_count + self._tail.live_count

    @property
    def size_bytes(self) -> int:
        """Memory of codes, document numbers and tables."""
        size = self._base.words.nbytes + self._base.numbers.nbytes + self._tail.words.nbytes + self._tail.numbers.nbytes
        return int(size + (self._tables.size_bytes if self._tables else 0))

    def prepare(self, threads: int = 1) -> MultiIndex:
        """Make the tables and measure what searches cost, if there are enough documents for tables to pay.

        Until then `auto` scans. 10 million codes of 64 bits take a few seconds. Returns the index itself.
        """
        if len(self._base) >= LEAST_ROWS and self._model is None:
            tables = self._prepared(threads)
            with self._preparing:
                if self._model is None:
                    self._model = CostModel.measure(tables, self.bits)
        return self

    def _prepared(self, threads: int) -> Tables:
        with self._preparing:
            if self._tables is None:
                self._tables = Tables.build(self._base.words, self.bits, threads=threads)
            return self._tables

    def added(self, codes: NDArray[np.uint8], numbers: NDArray[np.int64]) -> MultiIndex:
        """Return the index with these documents too; one whose number is there already is replaced.

        Errors as the constructor, and ModelMismatchError for codes of another width.
        """
        check_codes(codes, self.bits)
        codes, numbers = sorted_by_number(codes, numbers)
        base, tail = (part.without(part.places(numbers)) for part in (self._base, self._tail))
        return self._changed(base, tail.joined(Segment(self._layout.words(codes), numbers)))

    def without(self, numbers: NDArray[np.int64]) -> MultiIndex:
        """Return the index without these documents; numbers that are not there are passed over."""
        numbers = np.unique(np.asarray(numbers, np.int64))
        base, tail = (part.without(part.places(numbers)) for part in (self._base, self._tail))
        return self._changed(base, tail)

    def _changed(self, base: Segment, tail: Segment) -> MultiIndex:
        changed = object.__new__(MultiIndex)
        changed.bits, changed._layout = self.bits, self._layout
        crowded = len(tail) > max(_TAIL_ROWS, _TAIL_SHARE * len(base))
        if crowded or len(base) - base.live_count > _DEAD_SHARE * len(base):
            changed._set(base.joined(tail), self._none())
            if self._model is not None:
                changed.prepare()
        else:
            changed._set(base, tail)
            changed._tables, changed._model = self._tables, self._model
        return changed

    def search(
        self,
        query_codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        radius: int | None = None,
        allow: kernels.Mask | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits:
        """Return the nearest documents of each query, and how each was found.

        Args:
            query_codes: uint8 [Q, bits / 8].
            limit: Hits per query, at least 1.
            offset: Hits to leave out at the front, for paging.
            radius: Only documents at a distance of at most so many bits.
            allow: Only these rows: bool [rows] in the order of `numbers`, or what `kernels.pack_allow` makes of it.
            threads: Threads that share one call.
            plan: flat; mih, which scans for a query that would cost more than half a scan; auto: what is faster.

        Raises:
            ModelMismatchError: The queries have another width than the index.
            TexthashError: A limit, offset, radius, mask or plan that cannot be.
        """
        check_codes(query_codes, self.bits, "query codes")
        check_window(limit, offset)
        queries = self._layout.words(query_codes)
        mask, tail_mask = self._masks(allow)
        k = min(offset + limit, max(1, len(self._base)))
        costs = self._costs(plan, len(query_codes), k, radius, mask, threads)
        found = self._nearest(queries, k, radius, mask, threads, costs)
        if len(self._tail):
            found = joined_hits(found, scanned(self._tail, queries, offset + limit, radius, tail_mask, threads))
        window = slice(offset, offset + limit)
        return Hits(
            [distances[window] for distances in found.distances],
            [numbers[window] for numbers in found.numbers],
            found.plans,
            found.candidates,
        )

    def total_within_radius(
        self,
        query_codes: NDArray[np.uint8],
        radius: int,
        allow: kernels.Mask | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> NDArray[np.int64]:
        """Return int64 [Q]: how many documents lie at a distance of at most ``radius``. Arguments as `search`."""
        check_codes(query_codes, self.bits, "query codes")
        queries = self._layout.words(query_codes)
        mask, tail_mask = self._masks(allow)
        costs = self._costs(plan, len(query_codes), 0, radius, mask, threads)
        if costs is None:
            counts = kernels.count_within(self._base.words, queries, radius, mask, threads)
        else:
            counts, _ = self._prepared(threads).count_within(queries, radius, mask, costs, threads)
            lost = np.flatnonzero(counts < 0)
            if len(lost):
                some = np.ascontiguousarray(queries[:, lost])
                counts[lost] = kernels.count_within(self._base.words, some, radius, mask, threads)
        if len(self._tail):
            counts = counts + kernels.count_within(self._tail.words, queries, radius, tail_mask, threads)
        return counts

    def _costs(
        self, plan: Plan, queries: int, k: int, radius: int | None, mask: NDArray[np.uint32] | None, threads: int
    ) -> Costs | None:
        """How to search by the tables; None: scan."""
        if plan not in PLANS:
            raise TexthashError(f"there is no plan {plan!r}", nearest_name(plan, PLANS))
        if plan == "flat" or not queries or (plan == "auto" and self._model is None):
            return None
        call = Call(queries, k, radius, _share(mask), threads)
        if plan == "auto" and self._model is not None:
            return self._model.choose(call)
        return self._model.limits(call) if self._model is not None else Costs.of_scan(self._base.words)

    def _nearest(
        self,
        queries: kernels.Words,
        k: int,
        radius: int | None,
        mask: NDArray[np.uint32] | None,
        threads: int,
        costs: Costs | None,
    ) -> SegmentHits:
        base = self._base
        if costs is None:
            return scanned(base, queries, k, radius, mask, threads)
        near, rows, sizes, work = self._prepared(threads).nearest(queries, k, radius, mask, costs, threads)
        found = SegmentHits(near, [base.numbers[some] for some in rows], ["mih"] * len(sizes), work[:, 1])
        lost = np.flatnonzero(sizes < 0)
        if len(lost):
            again = scanned(base, np.ascontiguousarray(queries[:, lost]), k, radius, mask, threads)
            for place, query in enumerate(lost):
                found.distances[query] = again.distances[place]
                found.numbers[query] = again.numbers[place]
                found.plans[query] = "flat"
            found.candidates[lost] += again.candidates
        return found

    def _masks(self, allow: kernels.Mask | None) -> tuple[NDArray[np.uint32] | None, NDArray[np.bool_] | None]:
        """Rows of the base, packed, and of the tail that may be answered; None: all of them."""
        base, tail = self._base, self._tail
        if allow is None:
            return self._packed, tail.live
        rows = len(base) + len(tail)
        shape = (rows,) if allow.dtype == np.bool_ else (-(-rows // 32),)
        if allow.dtype not in (np.bool_, np.uint32) or allow.shape != shape:
            raise TexthashError(
                f"the mask of allowed rows is a {allow.dtype} array of shape {allow.shape}",
                f"give bool [{rows}], or what pack_allow makes of it",
            )
        if allow.dtype == np.uint32 and not len(tail):
            mask = allow.view(np.uint32)
            return mask if self._packed is None else mask & self._packed, None
        bits = allow if allow.dtype == np.bool_ else np.unpackbits(allow.view(np.uint8), bitorder="little", count=rows)
        rows_allowed = bits.astype(np.bool_, copy=False)
        mask = kernels.pack_allow(rows_allowed[: len(base)])
        rest = rows_allowed[len(base) :]
        return mask if self._packed is None else mask & self._packed, rest if tail.live is None else rest & tail.live


def _share(mask: NDArray[np.uint32] | None) -> float:
    """About which share of rows a mask allows, to a power of 2: from some of its parts, for this stands before each
    search."""
    if mask is None or not len(mask):
        return 1.0
    some = mask[:: max(1, len(mask) // _SHARE_SAMPLE)]
    allowed = int(np.bitwise_count(some).sum(dtype=np.int64)) / (32 * len(some))
    return 2.0 ** round(math.log2(max(allowed, 1 / (64 * len(some)))))


def join_plans(plans: list[str]) -> str:
    """The plan of a query that several indexes answered."""
    return "+".join(sorted({name for plan in plans for name in plan.split("+")}))
