"""The flat index: all codes in memory, each search a scan of them. Exact, and the yardstick of every other index."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError
from texthash.hamming import kernels
from texthash.hamming.codes import check_codes, to_words


@dataclass(frozen=True)
class Hits:
    """What a search found: for each query, its hits by (distance, document number), as many as exist.

    Attributes:
        distances: uint16 arrays, in bits.
        numbers: int64 arrays, document numbers.
        plans: How each query was answered: flat, mih, or both joined by + where several indexes took part.
        candidates: int64 [Q], codes met on the way to the answer of each query.
    """

    distances: list[NDArray[np.uint16]]
    numbers: list[NDArray[np.int64]]
    plans: list[str] = field(default_factory=list)
    candidates: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, query: int) -> Hits:
        """The hits of one query."""
        row = slice(query, query + 1)
        return Hits(self.distances[row], self.numbers[row], self.plans[row], self.candidates[row])


def check_window(limit: int, offset: int) -> None:
    """Raise TexthashError for a limit or an offset of hits that cannot be."""
    if limit < 1:
        raise TexthashError(f"the limit is {limit}", "ask for at least one hit")
    if offset < 0:
        raise TexthashError(f"the offset is {offset}", "give 0 or more")


def sorted_by_number(
    codes: NDArray[np.uint8], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return codes and their document numbers in the order of the numbers, in which equal distances are answered.

    Raises:
        TexthashError: The arrays do not fit together, or a number occurs twice.
    """
    numbers = np.asarray(numbers, np.int64)
    if numbers.shape != (len(codes),):
        raise TexthashError(
            f"document numbers of shape {numbers.shape} stand beside {len(codes)} codes", "give one number per code"
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
        codes: uint8 [N, bits / 8], most significant bit first.
        numbers: int64 [N], the document number of each code, all different, in any order.

    Raises:
        TexthashError: The arrays do not fit together, or a number occurs twice.

    Attributes:
        bits: Bits of a code.
        numbers: int64 [N], ascending: the document number of each row of the index.
    """

    def __init__(self, codes: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
        self.bits = check_codes(codes)
        codes, self.numbers = sorted_by_number(codes, numbers)
        self._words = to_words(codes)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def size_bytes(self) -> int:
        """Memory of the codes and the document numbers."""
        return int(self._words.nbytes + self.numbers.nbytes)

    def search(
        self,
        query_codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        radius: int | None = None,
        allow: kernels.Mask | None = None,
        threads: int = 1,
    ) -> Hits:
        """Return the nearest documents of each query.

        Args:
            query_codes: uint8 [Q, bits / 8].
            limit: Hits per query, at least 1.
            offset: Hits to leave out at the front, for paging.
            radius: Only documents at a distance of at most so many bits.
            allow: Only these rows: bool [N] in the order of `numbers`, or what `kernels.pack_allow` makes of it.
            threads: Threads that share one call.

        Raises:
            ModelMismatchError: The queries have another width than the index.
            TexthashError: A limit, offset, radius or mask that cannot be.
        """
        check_codes(query_codes, self.bits, "query codes")
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
        """Return int64 [Q]: how many documents lie at a distance of at most ``radius``. Arguments as `search`."""
        check_codes(query_codes, self.bits, "query codes")
        return kernels.count_within(self._words, to_words(query_codes), radius, allow, threads)
