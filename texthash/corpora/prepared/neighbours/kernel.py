"""The compiled loop of the cosine graph: inner products of sparse rows with a tile of rows, and the k largest of each.

A tile is held as postings: for each word, the tile's rows with that word. Adding them into one number per row of the
tile takes as many multiply-adds as rows share words; words that most rows have are held densely, so that these are
done in vector registers. Every sum is taken in ascending order of words, so a similarity does not depend on tiles,
blocks or threads, and is the same from both sides.

A candidate is one int64, ``bits of the similarity << 32 | 2^31 - 1 - row``: floats that are not negative are ordered as
their bits are, so the largest candidates are the most similar rows, equal ones by ascending row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texthash.io.kernel_cache import compiled

_LAST = 2**31 - 1
# Similarities whose largest is looked at before any of them is.
_RUN = 32

Postings = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.float32]]


@compiled
def collect(
    indptr: NDArray[np.int64],
    words: NDArray[np.int32],
    values: NDArray[np.float32],
    start: int,
    postings: Postings,
    dense_number: NDArray[np.int32],
    dense: NDArray[np.float32],
    first: int,
    k: int,
    keys: NDArray[np.int64],
    filled: NDArray[np.int64],
    bars: NDArray[np.int32],
) -> None:
    """Add the best rows of one tile to the candidates of the rows from ``start`` on, as many as ``keys`` has.

    Args:
        indptr, words, values: All rows, csr, words ascending.
        start: The first row whose neighbours are sought.
        postings: ``indptr`` [V + 1], rows within the tile and values of the tile's words.
        dense_number: The row in ``dense`` of each word, -1 for a word that is not there; int32 [V].
        dense: Values of the tile's most frequent words, [words, tile rows].
        first: Number of the tile's first row; tiles come in ascending order.
        k: How many are sought.
        keys: Candidates, [rows, room], room > k; changed.
        filled: How many each row has; changed.
        bars: Bits of the similarity that a further candidate has to exceed, -1 at first; changed.
    """
    size = dense.shape[1]
    tile_indptr, tile_rows, tile_values = postings
    similarity = np.zeros(size, np.float32)
    bits = similarity.view(np.int32)
    runs = -(-size // _RUN)
    largest = np.empty(runs, np.int64)
    for i in range(len(filled)):
        row = start + i
        for entry in range(indptr[row], indptr[row + 1]):
            word, value = words[entry], values[entry]
            column = dense_number[word]
            if column >= 0:
                whole = dense[column]
                for j in range(size):
                    similarity[j] += value * whole[j]
            else:
                for place in range(tile_indptr[word], tile_indptr[word + 1]):
                    similarity[tile_rows[place]] += value * tile_values[place]
        if first <= row < first + size:
            bits[row - first] = -1  # below all: a document is not its own neighbour
        for run in range(runs):
            most = np.int32(-1)
            for j in range(run * _RUN, min(size, (run + 1) * _RUN)):
                most = max(most, bits[j])
            largest[run] = most
        bar = bars[i]
        if runs >= k:
            # k runs have a largest similarity of at least this one, so the k-th best of all is not below it.
            bar = max(bar, np.int32(np.partition(largest, runs - k)[runs - k] - 1))
        count = filled[i]
        for run in range(runs):
            if largest[run] <= bar:
                continue
            for j in range(run * _RUN, min(size, (run + 1) * _RUN)):
                if bits[j] > bar:
                    if count == keys.shape[1]:
                        keys[i, :k] = np.partition(keys[i], count - k)[count - k :]
                        count = k
                        # Rows come in ascending order, so one that is equal to the k-th best comes too late.
                        bar = np.int32(keys[i, :k].min() >> 32)
                        if bits[j] <= bar:
                            continue
                    keys[i, count] = (np.int64(bits[j]) << 32) | (_LAST - (first + j))
                    count += 1
        filled[i], bars[i] = count, bar
        similarity[:] = 0.0


@compiled
def choose(
    keys: NDArray[np.int64], filled: NDArray[np.int64], rows: NDArray[np.int32], weights: NDArray[np.float32]
) -> None:
    """Write the k best of each row's candidates, best first, into ``rows`` and ``weights`` [rows, k]."""
    bits = weights.view(np.int32)
    for i in range(len(filled)):
        ordered = np.sort(keys[i, : filled[i]])
        for place in range(rows.shape[1]):
            key = ordered[filled[i] - 1 - place]
            rows[i, place] = _LAST - (key & _LAST)
            bits[i, place] = key >> 32


def candidates(rows: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """``keys``, ``filled`` and ``bars`` of so many rows that have no candidates yet."""
    return np.empty((rows, 2 * k + 256), np.int64), np.zeros(rows, np.int64), np.full(rows, -1, np.int32)
