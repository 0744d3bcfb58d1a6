"""Segments of an index, which are searched one by one, and the merging of their hits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.hamming import kernels
from texthash.hamming.codes import empty_words


class SegmentHits(NamedTuple):
    """Search results of one segment: for each query, distances, document numbers, plan and number of codes compared."""

    distances: list[NDArray[np.uint16]]
    numbers: list[NDArray[np.int64]]
    plans: list[str]
    candidates: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows of an index that are searched together.

    Attributes:
        words: Codes as words, uint64 [w, N], with bits in the order of the index.
        numbers: Document numbers, int64 [N], ascending.
        live: Mask of rows that are not deleted, bool [N]; None means all of them.
    """

    words: kernels.Words
    numbers: NDArray[np.int64]
    live: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def live_count(self) -> int:
        """Number of rows that are not deleted."""
        return len(self) if self.live is None else int(self.live.sum())

    def rows_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the live rows of those document numbers that exist in the segment."""
        rows = self.places_of(numbers)
        return rows[rows >= 0]

    def places_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the live row of each document number, int64 [N]; -1 for one that the segment does not hold."""
        if not len(self):
            return np.full(len(numbers), -1, np.int64)
        rows = np.minimum(np.searchsorted(self.numbers, numbers), len(self) - 1)
        held = self.numbers[rows] == numbers
        return np.where(held if self.live is None else held & self.live[rows], rows, -1)

    def without(self, rows: NDArray[np.int64]) -> Segment:
        """Return the segment with some rows deleted."""
        if not len(rows):
            return self
        live = np.ones(len(self), np.bool_) if self.live is None else self.live.copy()
        live[rows] = False
        return replace(self, live=live)

    def joined(self, other: Segment) -> Segment:
        """Return a segment of the live rows of both, by document number."""
        kept = [
            (part.words, part.numbers) if part.live is None else (part.words[:, part.live], part.numbers[part.live])
            for part in (self, other)
        ]
        words, numbers = (np.concatenate(arrays, axis=-1) for arrays in zip(*kept, strict=True))
        order = np.argsort(numbers, kind="stable")
        return Segment(np.take(words, order, axis=1, out=empty_words(*words.shape), mode="clip"), numbers[order])


def scan(
    segment: Segment,
    queries: kernels.Words,
    k: int,
    radius: int | None,
    mask: kernels.Mask | None,
    threads: int,
) -> SegmentHits:
    """Return the nearest documents of each query by a scan of a segment."""
    near, rows, sizes = kernels.nearest(segment.words, queries, k, radius, mask, threads)
    return SegmentHits(
        [near[query, :size] for query, size in enumerate(sizes)],
        [segment.numbers[rows[query, :size]] for query, size in enumerate(sizes)],
        ["flat"] * len(sizes),
        np.full(len(sizes), len(segment), np.int64),
    )


def joined_hits(base: SegmentHits, tail: SegmentHits) -> SegmentHits:
    """Merge the hits of base and tail by (distance, number).

    The small tail is always scanned, so the reported plan is that of the base.
    """
    distances, numbers = [], []
    for query in range(len(base.plans)):
        near = np.concatenate([base.distances[query], tail.distances[query]])
        which = np.concatenate([base.numbers[query], tail.numbers[query]])
        order = np.lexsort((which, near))
        distances.append(near[order])
        numbers.append(which[order])
    return SegmentHits(distances, numbers, base.plans, base.candidates + tail.candidates)
