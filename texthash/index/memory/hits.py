"""Search results of an index of codes, and the checks that its kinds share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from texthash.arguments import check_whole
from texthash.errors import TexthashError

_NUMBER_BITS = 47  # Numbers count documents. The 16 bits above them have the distance.


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


def merge(parts: Sequence[Hits], limit: int, offset: int = 0) -> tuple[Hits, list[NDArray[np.int64]]]:
    """Merge the hits of the shards for the same queries, exactly, by (distance, number).

    Args:
        parts: Hits of each shard, at least ``offset + limit`` per query if the shard has that many.
        limit: Largest number of hits per query.
        offset: Number of hits to skip.

    Returns:
        Merged hits, and for each query the position in ``parts`` of each hit's shard, int64.
    """
    return hits_at(parts, [nearest_places(parts, query, limit, offset) for query in range(len(parts[0]))])


def nearest_places(parts: Sequence[Hits], query: int, limit: int, offset: int = 0) -> NDArray[np.int64]:
    """Return the places of the nearest hits of a query among those of all shards, one shard after the other, int64."""
    if len(parts) == 1:
        return np.arange(len(parts[0].numbers[query]))[offset : offset + limit]
    # One key of distance and number: the sort takes the hits of each shard as a run, and merges these.
    keys = [part.distances[query].astype(np.int64) << _NUMBER_BITS | part.numbers[query] for part in parts]
    return np.argsort(np.concatenate(keys), kind="stable")[offset : offset + limit]


def hits_at(parts: Sequence[Hits], places: Sequence[NDArray[np.int64]]) -> tuple[Hits, list[NDArray[np.int64]]]:
    """Return the hits of each query at some places, as :func:`nearest_places` counts them, and the shard of each."""
    distances, numbers, shards = [], [], []
    for query, own in enumerate(places):
        distances.append(np.concatenate([part.distances[query] for part in parts])[own])
        numbers.append(np.concatenate([part.numbers[query] for part in parts])[own])
        ends = np.cumsum([len(part.numbers[query]) for part in parts])
        shards.append(np.searchsorted(ends, own, side="right"))
    planned = [part for part in parts if part.plans]
    plans = [join_plans([part.plans[query] for part in planned]) for query in range(len(distances) if planned else 0)]
    candidates = np.stack([part.candidates for part in planned]).sum(axis=0) if planned else np.empty(0, np.int64)
    return Hits(distances, numbers, plans, candidates), shards


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
