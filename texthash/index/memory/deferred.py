"""Index of codes that answers its first few queries at once, and lays its codes out for fast search only after them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from texthash.hamming import plain_scan
from texthash.hamming.asymmetric import asymmetric
from texthash.hamming.codes import check_codes
from texthash.index.memory.hits import Hits, check_window, sorted_by_number

if TYPE_CHECKING:
    from texthash.hamming.kernels import Mask
    from texthash.index.memory.cost_model import Plan
    from texthash.index.memory.multi_index import MultiIndex

# Queries answered by the plain scan. Loading the kernels and ordering the bits costs as much as dozens of them.
_PLAIN_QUERIES = 16


class DeferredIndex:
    """A :class:`texthash.index.memory.multi_index.MultiIndex` that is made when it pays or is needed.

    A program that searches once, such as a command, needs neither the compiled kernels nor an order of bits. The
    answers are the same: exact, by (distance, document number).

    Args:
        codes: uint8 [N, bits / 8], most significant bit first.
        numbers: int64 [N], the document number of each code, all different, in any order.

    Raises:
        TexthashError: The arrays do not fit together, or a number occurs twice.

    Attributes:
        bits: Bits of a code.
        numbers: int64 [N], ascending: the document number of each row.
    """

    def __init__(self, codes: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
        self.bits = check_codes(codes)
        codes, self.numbers = sorted_by_number(codes, numbers)
        self._codes: NDArray[np.uint8] | None = codes
        self._index: MultiIndex | None = None
        self._room = _PLAIN_QUERIES
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def size_bytes(self) -> int:
        """Memory of codes, document numbers and tables."""
        codes = self._codes
        return self.index.size_bytes if codes is None else int(codes.nbytes + self.numbers.nbytes)

    @property
    def index(self) -> MultiIndex:
        """The index laid out for fast search, made at the first use."""
        with self._lock:
            if self._index is None:
                from texthash.index.memory.multi_index import MultiIndex  # and with it the compiled kernels

                assert self._codes is not None
                self._index = MultiIndex(self._codes, self.numbers)
                self._codes = None
            return self._index

    def prepare(self, threads: int = 1) -> MultiIndex:
        """Make the index and its tables, as :meth:`texthash.index.memory.multi_index.MultiIndex.prepare`."""
        return self.index.prepare(threads)

    @property
    def ascending(self) -> bool:
        """True: the rows are by ascending document number."""
        return True

    def holds(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which documents the index holds, bool [N]."""
        return np.searchsorted(self.numbers, numbers, "right") > np.searchsorted(self.numbers, numbers, "left")

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of documents, uint8 [N, bits / 8], in the order of their numbers, all of which are here."""
        codes = self._codes
        return self.index.codes(numbers) if codes is None else codes[np.searchsorted(self.numbers, numbers)]

    def distances(
        self, query_codes: NDArray[np.uint8], queries: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the distance of each document to a query, int64 [N]. Arguments as of `MultiIndex.distances`."""
        if self._codes is None:
            return self.index.distances(query_codes, queries, numbers)
        held = self.holds(numbers)
        return plain_scan.distances_where(held, self.codes(numbers[held]), query_codes[queries[held]])

    def scores(
        self, values: NDArray[np.floating], queries: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the asymmetric score of each document for a query. Arguments and errors as of `MultiIndex.scores`."""
        if self._codes is None:
            return self.index.scores(values, queries, numbers)
        found = np.empty(len(numbers))
        for query in np.unique(queries).tolist():
            own = queries == query
            found[own] = asymmetric(values[query], self.codes(numbers[own]))
        return found

    def added(self, codes: NDArray[np.uint8], numbers: NDArray[np.int64]) -> MultiIndex:
        """Return the index with these documents too. Arguments and errors as of `MultiIndex.added`."""
        return self.index.added(codes, numbers)

    def without(self, numbers: NDArray[np.int64]) -> MultiIndex:
        """Return the index without these documents. Arguments as of `MultiIndex.without`."""
        return self.index.without(numbers)

    def search(
        self,
        query_codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        *,
        radius: int | None = None,
        allow: Mask | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits:
        """Return the nearest documents of each query. Arguments and errors as of `MultiIndex.search`."""
        codes = self._take(len(query_codes)) if allow is None and plan in ("auto", "flat") else None
        if codes is None or (radius is not None and radius < 0):  # which is an error there
            return self.index.search(query_codes, limit, offset, radius=radius, allow=allow, threads=threads, plan=plan)
        check_codes(query_codes, self.bits, "query codes")
        check_window(limit, offset)
        found = [plain_scan.nearest(codes, query, offset + limit, radius) for query in query_codes]
        return Hits(
            [distances[offset:] for distances, _ in found],
            [self.numbers[rows[offset:]] for _, rows in found],
            ["flat"] * len(found),
            np.full(len(found), len(codes), np.int64),
        )

    def total_within_radius(
        self,
        query_codes: NDArray[np.uint8],
        radius: int,
        allow: Mask | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> NDArray[np.int64]:
        """Number of documents within a radius, int64 [Q]. Arguments as of `MultiIndex.total_within_radius`."""
        return self.index.total_within_radius(query_codes, radius, allow, threads, plan)

    def _take(self, queries: int) -> NDArray[np.uint8] | None:
        """Return the codes for a plain scan of so many queries; None where the index is to be searched."""
        with self._lock:
            if not 0 < queries <= self._room:
                return None
            self._room -= queries
            return self._codes
