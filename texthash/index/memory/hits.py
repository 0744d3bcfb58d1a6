"""Search results of an index of codes, and the checks that its kinds share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from texthash.arguments import check_whole
from texthash.errors import TexthashError


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
