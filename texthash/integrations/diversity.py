"""Maximal marginal relevance of codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError
from texthash.integrations.store import Hit


def diverse(codes: NDArray[np.uint8], query: NDArray[np.float64], k: int, weight: float) -> list[int]:
    """Return the places of the k most relevant and diverse codes, by maximal marginal relevance.

    The first is the most relevant one. After it, that code is taken whose ``weight * relevance - (1 - weight) *
    similarity`` is largest, where the similarity is that to the nearest code that is taken already, 1 - 2 * distance /
    bits: the cosine of the codes as vectors of -1 and 1 (Carbonell and Goldstein, SIGIR 1998). Equal ones are taken in
    their order.

    Args:
        codes: Codes, uint8 [N, bits / 8].
        query: Relevance of each to the query, on the scale of the similarity, float [N].
        k: Largest number of codes.
        weight: 1 takes the most relevant, 0 the most different ones.
    """
    if not 0 <= weight <= 1:
        raise UsageError(f"the weight of the relevance is {weight}.", "give a number from 0 to 1.")
    bits = 8 * codes.shape[1]
    left, taken = np.ones(len(codes), np.bool_), list[int]()
    nearest, gain = np.full(len(codes), -np.inf), query
    for _ in range(min(k, len(codes))):
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        left[best] = False
        taken.append(best)
        distances = np.bitwise_count(codes ^ codes[best]).sum(axis=1, dtype=np.int64)
        nearest = np.maximum(nearest, 1 - 2 * distances / bits)
        gain = weight * query - (1 - weight) * nearest
    return taken


def diverse_hits(hits: Sequence[Hit], k: int, weight: float) -> list[Hit]:
    """Return the k most relevant and diverse hits of a search by meaning, as of :func:`diverse`."""
    if not hits:
        return []
    codes = np.stack([hit.stored.code for hit in hits])
    return [hits[place] for place in diverse(codes, np.asarray([2 * hit.score - 1 for hit in hits]), k, weight)]
