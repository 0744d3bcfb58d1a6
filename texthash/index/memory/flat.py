"""Flat index: all codes in memory, searched by a scan. It is exact, and the reference for every other index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from texthash.arguments import check_whole
from texthash.errors import TexthashError
from texthash.hamming.codes import check_codes, to_words

if TYPE_CHECKING:
    from texthash.hamming import kernels


@dataclass(frozen=True)
class Hits:
    """Search results of several queries, each by (distance, document number).

    Attributes:
        distances: Distances in bits, one uint16 array per query.
        numbers: Document numbers, one int64 array per query.
        plans: Search strategy of each query: flat, mih, or both joined by + if several indexes were searched.
        candidates: Number of codes compared for each query, int64 [Q].
    """

    distances: list[NDArray[np.uint16]]
    numbers: list[NDArray[np.int64]]
    plans: list[str] = field(default_factory=list)
    candidates: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, query: int) -> Hits:
        """Return the hits of one query."""
        row = slice(query, query + 1)
        return Hits(self.distances[row], self.numbers[row], self.plans[row], self.candidates[row])


def join_plans(plans: Iterable[str]) -> str:
    """Return the combined plan of a query that was answered by several indexes."""
    return "+".join(sorted({name for plan in plans for name in plan.split("+")}))


def check_window(limit: int, offset: int) -> None:
    """Check that limit and offset of a search are in range.

    Raises:
        UsageError: ``limit`` or ``offset`` is no whole number, ``limit`` is below 1, or ``offset`` is negative.
    """
    check_whole("limit", limit, least=1)
    check_whole("offset", offset, least=0)


def sorted_by_number(
    codes: NDArray[np.uint8], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return codes and their document numbers by ascending number, which is the order of equal distances.

    Raises:
        TexthashError: The arrays do not fit together, or a number occurs twice.
    """
    numbers = np.asarray(numbers, np.int64)
    if numbers.shape != (len(codes),):
        raise TexthashError(
            f"document numbers of shape {numbers.shape} came with {len(codes)} codes", "give one number per code"
        )
    if np.any(numbers[1:] <= numbers[:-1]):
        order = np.argsort(numbers, kind="stable")
        codes, numbers = codes[order], numbers[order]
        twice = numbers[1:][numbers[1:] == numbers[:-1]]
        if len(twice):
            raise TexthashError(
                f"document number {twice[0]} occurs more than once", "give each document one number and one code"
            )
    return codes, numbers


class FlatIndex:
    """Codes in memory, searched by a scan.

    Equal distances are ordered by document number: rows are sorted by it once, and the kernels keep the order of rows.

    Args:
        codes: Codes, uint8 [N, bits / 8], most significant bit first.
        numbers: Document number of each code, int64 [N], all different, in any order.

    Raises:
        TexthashError: The arrays do not fit together, or a number occurs twice.

    Attributes:
        bits: Width of a code in bits.
        numbers: Document number of each row of the index, int64 [N], ascending.
    """

    def __init__(self, codes: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
        self.bits = check_codes(codes)
        codes, self.numbers = sorted_by_number(codes, numbers)
        self._words = to_words(codes)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def size_bytes(self) -> int:
        """Memory of the codes and the document numbers in bytes."""
        return int(self._words.nbytes + self.numbers.nbytes)

    def search(
        self,
        query_codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        *,
        radius: int | None = None,
        allow: kernels.Mask | None = None,
        threads: int = 1,
    ) -> Hits:
        """Return the nearest documents of each query.

        Args:
            query_codes: Query codes, uint8 [Q, bits / 8].
            limit: Largest number of hits per query, at least 1.
            offset: Number of hits to skip, for paging.
            radius: Largest Hamming distance of a hit in bits; None for no limit.
            allow: Mask of rows that may be hits: bool [N] in the order of `numbers`, or packed by
                `kernels.pack_allow`; None allows all.
            threads: Number of threads of the call.

        Raises:
            ModelMismatchError: The queries have another width than the index.
            TexthashError: Limit, offset, radius or mask is out of range.
        """
        check_codes(query_codes, self.bits, "query codes")
        from texthash.hamming import kernels  # compiled: who wants only the records of this module need not load it

        check_window(limit, offset)
        distances, rows, sizes = kernels.nearest(
            self._words, to_words(query_codes), offset + limit, radius, allow, threads
        )
        return Hits(
            [distances[query, offset:size] for query, size in enumerate(sizes)],
            [self.numbers[rows[query, offset:size]] for query, size in enumerate(sizes)],
            ["flat"] * len(sizes),
            np.full(len(sizes), len(self), np.int64),
        )

    def total_within_radius(
        self, query_codes: NDArray[np.uint8], radius: int, allow: kernels.Mask | None = None, threads: int = 1
    ) -> NDArray[np.int64]:
        """Return the number of documents within ``radius`` bits of each query, int64 [Q]. Arguments as in `search`."""
        check_codes(query_codes, self.bits, "query codes")
        from texthash.hamming import kernels

        return kernels.count_within(self._words, to_words(query_codes), radius, allow, threads)
