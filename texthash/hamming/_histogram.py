"""Compiled loops for the distances of all pairs, and for histograms of distance as the tie-aware metrics need them."""

from __future__ import annotations

from typing import Any

import numpy as np

from texthash.hamming._scan import group_distance, prefetch_ahead, row_distance
from texthash.hamming._simd import LANES, compiled, store

_BLOCK = 1024
# Consecutive rows use different counters, so that an addition need not wait for the previous one at its distance.
_COUNTERS = 4


@compiled
def fill_distances(words: Any, queries: Any, query: int, start: int, stop: int, out: Any, offset: int) -> None:
    """Write the distances of rows start..stop-1 to the C-contiguous uint16 array ``out``, beginning at an offset."""
    whole = start + (stop - start) // LANES * LANES
    for row in range(start, whole, LANES):
        prefetch_ahead(words, row, words.shape[0])
        store(out, offset + row - start, group_distance(words, queries, query, row))
    flat = out.reshape(-1)
    for row in range(whole, stop):
        flat[offset + row - start] = row_distance(words, queries, query, row)


@compiled
def all_distances(words: Any, queries: Any) -> Any:
    """Return the distances of all pairs, uint16 [Q, N]."""
    rows = words.shape[1]
    out = np.empty((queries.shape[0], rows), np.uint16)
    for query in range(queries.shape[0]):
        fill_distances(words, queries, query, 0, rows, out, query * rows)
    return out


@compiled
def count_grades(
    words: Any,
    queries: Any,
    order: Any,
    query_starts: Any,
    query_labels: Any,
    label_starts: Any,
    label_rows: Any,
    top_grade: int,
    out: Any,
) -> None:
    """Count, for each query of ``order``, the rows by distance and by number of labels shared with the query.

    Args:
        words: Codes searched, uint64 [w, N].
        queries: Query codes, uint64 [Q, w].
        order: Rows of ``queries`` to count, int64. Queries with equal labels should be adjacent, because the grades of
            the rows are computed again only when the labels change.
        query_starts, query_labels: CSR of the labels of queries.
        label_starts, label_rows: CSR of the rows of each label.
        top_grade: Largest grade; more shared labels count as this many.
        out: Counts, int64 [Q, bins of distance, top_grade + 1], initially zero; the rows of ``order`` are filled.
    """
    rows = words.shape[1]
    grades = np.zeros(rows, np.uint16)
    distances = np.empty(_BLOCK, np.uint16)
    width = np.uint64(top_grade + 1)
    bins = out.shape[1] * out.shape[2]
    counters = np.empty((_COUNTERS, bins), np.int64)
    before = -1
    for query in order:
        labels = query_labels[query_starts[query] : query_starts[query + 1]]
        if before < 0 or not np.array_equal(labels, query_labels[query_starts[before] : query_starts[before + 1]]):
            grades[:] = 0
            for label in labels:
                for position in range(label_starts[label], label_starts[label + 1]):
                    row = label_rows[position]
                    grades[row] = min(grades[row] + 1, top_grade)
        before = query
        counters[:] = 0
        for first in range(0, rows, _BLOCK):
            last = min(first + _BLOCK, rows)
            fill_distances(words, queries, query, first, last, distances, 0)
            size = last - first
            even = size // _COUNTERS * _COUNTERS
            for i in range(0, even, _COUNTERS):
                for j in range(_COUNTERS):
                    counters[j, np.uint64(distances[i + j]) * width + np.uint64(grades[first + i + j])] += 1
            for i in range(even, size):
                counters[0, np.uint64(distances[i]) * width + np.uint64(grades[first + i])] += 1
        flat = out[query].reshape(-1)
        for j in range(_COUNTERS):
            flat += counters[j]
