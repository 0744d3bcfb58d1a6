"""Exact nearest neighbours of vectors by cosine, by products of blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.neighbours.search import BLOCK_ROWS, Neighbours


@dataclass(frozen=True)
class DenseSearch:
    """Rows of unit length, float32 [N, D], ready to be searched. A block of b rows takes 4 b N bytes.

    Rows are multiplied in the same groups of 256 whatever block is asked for, since the last digit of a product
    depends on the number of rows, and the order of equal neighbours would follow from it.
    """

    unit: NDArray[np.float32]

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> DenseSearch:
        """Prepare vectors [N, D]; one without length has similarity 0 to all."""
        rows = np.array(vectors, np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return cls((rows / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False))

    @property
    def documents(self) -> int:
        return len(self.unit)

    def nearest(self, start: int, stop: int, k: int) -> Neighbours:
        rows, weights = np.empty((stop - start, k), np.int32), np.empty((stop - start, k), np.float32)
        for group in range(start // BLOCK_ROWS * BLOCK_ROWS, stop, BLOCK_ROWS):
            similarity = self.unit[group : group + BLOCK_ROWS] @ self.unit.T
            similarity[np.arange(len(similarity)), np.arange(group, group + len(similarity))] = -np.inf
            first, last = max(start, group), min(stop, group + len(similarity))
            for row in range(first, last):
                near, values = _largest(similarity[row - group], k)
                rows[row - start], weights[row - start] = near, values
        return rows, weights


def _largest(similarity: NDArray[np.float32], k: int) -> Neighbours:
    """Return positions and values of the k largest, best first, equal ones by position."""
    least = np.partition(similarity, -k)[-k]
    candidates = np.flatnonzero(similarity >= least).astype(np.int32)
    values = similarity[candidates]
    order = np.argsort(-values, kind="stable")[:k]
    return candidates[order], values[order]
