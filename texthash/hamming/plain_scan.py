"""Exact search of packed codes in NumPy alone, for a program that asks few queries and ends.

Loading the compiled kernels of :mod:`texthash.hamming.kernels` takes longer than such a program's search.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.hamming.codes import check_codes

_BLOCK_ROWS = 1 << 16
_UNITS = (np.uint64, np.uint32, np.uint16, np.uint8)


def nearest(
    codes: NDArray[np.uint8], query: NDArray[np.uint8], k: int, radius: int | None = None
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Return the k nearest codes of one query, ordered by (distance, row).

    Args:
        codes: uint8 [N, bits / 8].
        query: uint8 [bits / 8].
        k: At least 1.
        radius: Greatest distance of a hit, in bits, 0 or more; None: any distance.

    Returns:
        (distances uint16 [m], rows int64 [m]), m at most k.

    Raises:
        ModelMismatchError: The query has another width than the codes.
    """
    check_codes(query[np.newaxis], check_codes(codes), "query codes")
    near = _distances(codes, query)
    reached = np.cumsum(np.bincount(near))
    bound = int(np.searchsorted(reached, k))  # distance of the k-th neighbour
    rows = np.flatnonzero(near <= (bound if radius is None else min(bound, radius)))
    rows = rows[np.argsort(near[rows], kind="stable")[:k]]
    return near[rows], rows


def distances_where(held: NDArray[np.bool_], codes: NDArray[np.uint8], query: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the Hamming distances of queries to documents, some of which have no code.

    Args:
        held: Which documents have a code, bool [N].
        codes: Codes of these in their order, uint8 [H, bits / 8].
        query: Code of the query, uint8 [bits / 8], or of one for each document that has a code, uint8 [H, bits / 8].

    Returns:
        int64 [N], -1 for a document without a code.

    >>> distances_where(np.array([True, False]), np.array([[3]], np.uint8), np.array([1], np.uint8)).tolist()
    [1, -1]
    """
    found = np.full(len(held), -1, np.int64)
    found[held] = _distances(codes, query)
    return found


def _distances(codes: NDArray[np.uint8], query: NDArray[np.uint8]) -> NDArray[np.uint16]:
    unit = next(unit for unit in _UNITS if codes.shape[1] % np.dtype(unit).itemsize == 0)
    words: NDArray[Any] = np.ascontiguousarray(codes).view(unit)
    wanted: NDArray[Any] = np.ascontiguousarray(query).view(unit)
    near = np.empty(len(codes), np.uint16)
    for first in range(0, len(codes), _BLOCK_ROWS):  # bounds the memory of the intermediate results
        block = slice(first, first + _BLOCK_ROWS)
        other = wanted if wanted.ndim == 1 else wanted[block]
        np.bitwise_count(words[block] ^ other).sum(axis=1, dtype=np.uint16, out=near[block])
    return near
