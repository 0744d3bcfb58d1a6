"""Index of codes, searched exactly by a scan or by multi-index hashing, whichever is faster."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError, nearest_name
from texthash.hamming import kernels
from texthash.hamming.asymmetric import sums_of_four
from texthash.hamming.codes import check_codes
from texthash.hamming.multi_index import BitOrder, Costs, Tables, bit_order, substrings_for
from texthash.index.memory.cost_model import Call, CostModel, Plan
from texthash.index.memory.hits import Hits, check_window, sorted_by_number
from texthash.index.memory.segments import Segment, SegmentHits, joined_hits, scan

PLANS: tuple[Plan, ...] = ("auto", "flat", "mih")
# Below this number of documents a scan is always faster.
LEAST_ROWS = 4096
# Added documents are scanned. When they exceed both this number and this share of the others, the tables are rebuilt.
_TAIL_ROWS = 4096
_TAIL_SHARE = 1 / 16
# The index is rebuilt when a larger share of its rows is deleted.
_DEAD_SHARE = 1 / 4
_SAMPLE_ROWS = 16_384
_SHARE_SAMPLE = 2048


class MultiIndex:
    """Codes in memory, searched by a scan (`flat`), by multi-index hashing (`mih`), or by the faster one (`auto`).

    Results are the same for all plans: exact, by (distance, document number). An index is immutable: `added` and
    `without` return another one that shares the tables, so concurrent searches are not disturbed.

    Args:
        codes: Codes, uint8 [N, bits / 8], most significant bit first.
        numbers: Document number of each code, int64 [N], all different, in any order.
        order: Order of the bits in the tables; by default computed from a sample of the codes
            (`texthash.hamming.multi_index.bit_order`).

    Raises:
        TexthashError: The arrays do not fit together, or a number occurs twice.

    Attributes:
        bits: Width of a code in bits.
        order: Order of the bits, int64 [bits].
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
        self._set(Segment(self._layout.words(codes), numbers), self._empty_segment())

    @classmethod
    def of_parts(
        cls, order: NDArray[np.int64], base: Segment, tables: Tables | None, model: CostModel | None
    ) -> MultiIndex:
        """Return the index that has these :attr:`parts`."""
        index = object.__new__(cls)
        index.bits, index._layout = len(order), BitOrder(order)
        index._set(base, index._empty_segment())
        index._tables, index._model = tables, model
        return index

    @property
    def parts(self) -> tuple[Segment, Tables | None, CostModel | None]:
        """Segment, tables and costs of an index that was never changed; without tables before :meth:`prepare`."""
        return self._base, self._tables, self._model

    def _set(self, base: Segment, tail: Segment) -> None:
        self._base, self._tail = base, tail
        self._packed = None if base.live is None else kernels.pack_allow(base.live)
        self._tables: Tables | None = None
        self._model: CostModel | None = None
        self._preparing = threading.Lock()

    def _empty_segment(self) -> Segment:
        return Segment(self._layout.words(np.empty((0, self.bits // 8), np.uint8)), np.empty(0, np.int64))

    @property
    def order(self) -> NDArray[np.int64]:
        return self._layout.order

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document number of each row, int64 [rows], including deleted rows.

        Those of the base are followed by those of the tail, each ascending.
        """
        return np.concatenate([self._base.numbers, self._tail.numbers]) if len(self._tail) else self._base.numbers

    @property
    def ascending(self) -> bool:
        """Whether all rows are by ascending document number."""
        return not len(self._tail)

    def holds(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which documents the index holds, bool [N]."""
        return (self._base.places_of(numbers) >= 0) | (self._tail.places_of(numbers) >= 0)

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return codes of documents, uint8 [N, bits / 8], in the order of ``numbers``, all of which must exist."""
        codes = np.empty((len(numbers), self.bits // 8), np.uint8)
        for segment in self._filled:
            rows = segment.places_of(numbers)
            here = rows >= 0
            if here.all():
                return self._layout.codes(segment.words[:, rows])
            codes[here] = self._layout.codes(segment.words[:, rows[here]])
        return codes

    def distances(
        self, query_codes: NDArray[np.uint8], queries: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the distance of each document to a query, int64 [N]; -1 for a document that does not exist.

        Args:
            query_codes: Query codes, uint8 [Q, bits / 8].
            queries: Query of each document, int64 [N].
            numbers: Document numbers, int64 [N].
        """
        words = self._layout.words(query_codes)
        found = np.full(len(numbers), -1, np.int64)
        for segment in self._filled:
            rows = segment.places_of(numbers)
            here = np.flatnonzero(rows >= 0)
            different = np.bitwise_count(segment.words[:, rows[here]] ^ words[:, queries[here]])
            found[here] = different.sum(axis=0, dtype=np.int64)
        return found

    def scores(
        self, values: NDArray[np.floating], queries: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the asymmetric score of each document for a query, float64 [N]; NaN if the document does not exist.

        Args:
            values: Activations of the queries minus the thresholds, [Q, bits].
            queries: Query of each document, int64 [N].
            numbers: Document numbers, int64 [N].

        Raises:
            ModelMismatchError: The queries have another width.
            TexthashError: A value is not finite.
        """
        sums, found = sums_of_four(values, self.bits), np.full(len(numbers), np.nan)
        for segment in self._filled:
            self._layout.add_scores(segment.words, segment.places_of(numbers), queries, sums, found)
        return found

    @property
    def _filled(self) -> list[Segment]:
        """Base and tail, as far as they have rows: most indexes have no tail."""
        return [segment for segment in (self._base, self._tail) if len(segment)]

    def __len__(self) -> int:
        return self._base.live_count + self._tail.live_count

    @property
    def size_bytes(self) -> int:
        """Memory of codes, document numbers and tables in bytes."""
        size = self._base.words.nbytes + self._base.numbers.nbytes + self._tail.words.nbytes + self._tail.numbers.nbytes
        return int(size + (self._tables.size_bytes if self._tables else 0))

    def prepare(self, threads: int = 1) -> MultiIndex:
        """Build the tables and measure the cost model, if there are enough documents for tables to be worthwhile.

        Until then `auto` scans. Takes a few seconds for 10 million codes of 64 bits. Returns the index itself.
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
        """Return the index with more documents; an existing document of the same number is replaced.

        Raises:
            ModelMismatchError: The codes have another width than the index.
            TexthashError: The arrays do not fit together, or a number occurs twice.
        """
        check_codes(codes, self.bits)
        codes, numbers = sorted_by_number(codes, numbers)
        base, tail = (segment.without(segment.rows_of(numbers)) for segment in (self._base, self._tail))
        return self._changed(base, tail.joined(Segment(self._layout.words(codes), numbers)))

    def without(self, numbers: NDArray[np.int64]) -> MultiIndex:
        """Return the index without some documents; numbers that do not exist are ignored."""
        numbers = np.unique(np.asarray(numbers, np.int64))
        base, tail = (segment.without(segment.rows_of(numbers)) for segment in (self._base, self._tail))
        return self._changed(base, tail)

    def _changed(self, base: Segment, tail: Segment) -> MultiIndex:
        changed = object.__new__(MultiIndex)
        changed.bits, changed._layout = self.bits, self._layout
        crowded = len(tail) > max(_TAIL_ROWS, _TAIL_SHARE * len(base))
        if crowded or len(base) - base.live_count > _DEAD_SHARE * len(base):
            changed._set(base.joined(tail), self._empty_segment())
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
        *,
        radius: int | None = None,
        allow: kernels.Mask | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits:
        """Return the nearest documents of each query, and the plan of each search.

        Args:
            query_codes: Query codes, uint8 [Q, bits / 8].
            limit: Largest number of hits per query, at least 1.
            offset: Number of hits to skip, for paging.
            radius: Largest Hamming distance of a hit in bits; None for no limit.
            allow: Mask of rows that may be hits: bool [rows] in the order of `numbers`, or packed by
                `kernels.pack_allow`; None allows all.
            threads: Number of threads of the call.
            plan: Search strategy: flat; mih, which falls back to a scan for a query that would cost more than half a
                scan; or auto for the faster one.

        Raises:
            ModelMismatchError: The queries have another width than the index.
            TexthashError: Limit, offset, radius or mask is out of range, or the plan does not exist.
        """
        check_codes(query_codes, self.bits, "query codes")
        check_window(limit, offset)
        queries = self._layout.words(query_codes)
        mask, tail_mask = self._masks(allow)
        k = min(offset + limit, max(1, len(self._base)))
        costs = self._costs(plan, len(query_codes), k, radius, mask, threads)
        found = self._nearest(queries, k, radius, mask, threads, costs)
        if len(self._tail):
            found = joined_hits(found, scan(self._tail, queries, offset + limit, radius, tail_mask, threads))
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
        """Return the number of documents within ``radius`` bits of each query, int64 [Q]. Arguments as in `search`."""
        check_codes(query_codes, self.bits, "query codes")
        queries = self._layout.words(query_codes)
        mask, tail_mask = self._masks(allow)
        costs = self._costs(plan, len(query_codes), 0, radius, mask, threads)
        if costs is None:
            counts = kernels.count_within(self._base.words, queries, radius, mask, threads)
        else:
            counts, _ = self._prepared(threads).count_within(queries, radius, mask, costs, threads)
            given_up = np.flatnonzero(counts < 0)
            if len(given_up):
                rest = np.ascontiguousarray(queries[:, given_up])
                counts[given_up] = kernels.count_within(self._base.words, rest, radius, mask, threads)
        if len(self._tail):
            counts = counts + kernels.count_within(self._tail.words, queries, radius, tail_mask, threads)
        return counts

    def _costs(
        self, plan: Plan, queries: int, k: int, radius: int | None, mask: NDArray[np.uint32] | None, threads: int
    ) -> Costs | None:
        """Return the costs and the budget of a search by tables; None for a scan."""
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
            return scan(base, queries, k, radius, mask, threads)
        near, rows, sizes, work = self._prepared(threads).nearest(queries, k, radius, mask, costs, threads)
        hits = SegmentHits(near, [base.numbers[own] for own in rows], ["mih"] * len(sizes), work[:, 1])
        given_up = np.flatnonzero(sizes < 0)
        if len(given_up):
            again = scan(base, np.ascontiguousarray(queries[:, given_up]), k, radius, mask, threads)
            for position, query in enumerate(given_up):
                hits.distances[query] = again.distances[position]
                hits.numbers[query] = again.numbers[position]
                hits.plans[query] = "flat"
            hits.candidates[given_up] += again.candidates
        return hits

    def _masks(self, allow: kernels.Mask | None) -> tuple[NDArray[np.uint32] | None, NDArray[np.bool_] | None]:
        """Return the masks of allowed live rows of the base, packed, and of the tail; None for all rows."""
        base, tail = self._base, self._tail
        if allow is None:
            return self._packed, tail.live
        rows = len(base) + len(tail)
        shape = (rows,) if allow.dtype == np.bool_ else (-(-rows // 32),)
        if allow.dtype not in (np.bool_, np.uint32) or allow.shape != shape:
            raise TexthashError(
                f"the mask of allowed rows is a {allow.dtype} array of shape {allow.shape}",
                f"give bool [{rows}], or the result of pack_allow for it",
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
    """Estimate the share of rows that a mask allows, rounded to a power of 2.

    A sample of the mask suffices, and is fast enough for every search.
    """
    if mask is None or not len(mask):
        return 1.0
    sample = mask[:: max(1, len(mask) // _SHARE_SAMPLE)]
    allowed = int(np.bitwise_count(sample).sum(dtype=np.int64)) / (32 * len(sample))
    return 2.0 ** round(math.log2(max(allowed, 1 / (64 * len(sample)))))
