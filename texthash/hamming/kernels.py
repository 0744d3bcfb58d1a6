"""Exact Hamming search and counting over word-major codes, ordered by (distance, row), without holding the GIL.

All functions take ``words`` uint64 [w, N] and ``query_words`` uint64 [w, Q] from `texthash.hamming.codes.to_words`.
``allow`` restricts a search to some rows: bool [N], or, for a mask that is used more than once, the result of
`pack_allow`, which takes an eighth of the memory. The first call of a function in a new installation compiles it, which
takes seconds (`warmup` does so in advance); later calls load it from disk.
"""

from __future__ import annotations

import functools
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError
from texthash.hamming import _histogram, _scan
from texthash.hamming import codes as code_forms
from texthash.hamming._scan import NO_DISTANCE
from texthash.hamming._threads import (
    Found,
    Mask,
    Words,
    arguments,
    as_readonly,
    block_rows,
    by_query,
    map_row_ranges,
    merge_ranges,
    pack_allow,
    run_parallel,
    useful_threads,
)
from texthash.hamming.asymmetric import sums_of_four
from texthash.hamming.multi_index import BitOrder, Tables

__all__ = [
    "LabelSets",
    "Mask",
    "Words",
    "count_within",
    "distances",
    "graded_histogram",
    "histogram",
    "label_histogram",
    "nearest",
    "pack_allow",
    "top_k",
    "warmup",
    "within_radius",
]

LabelSets = tuple[NDArray[Any], NDArray[Any]]

_QUERIES_AT_ONCE = 256
# With at least this many queries per thread, threads divide the queries instead of the rows. Each then reads all codes,
# but a query's bound is found once instead of once per thread, and nothing has to be merge_ranges.
_QUERIES_OF_A_THREAD = 32
_CANDIDATE_BYTES = 1 << 26


def distances(queries: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the Hamming distances between packed codes, uint16 [Q, N].

    Args:
        queries: Query codes, uint8 [Q, bits / 8].
        codes: Codes, uint8 [N, bits / 8].

    Raises:
        ModelMismatchError: Queries and codes differ in width.
    """
    code_forms.check_codes(queries, code_forms.check_codes(codes), "query codes")
    out: NDArray[np.uint16] = _histogram.all_distances(
        as_readonly(code_forms.to_words(codes)), by_query(code_forms.to_words(queries))
    )
    return out


def top_k(
    words: Words, query_words: Words, k: int, allow: Mask | None = None, threads: int = 1
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Return the k nearest rows of each query, ordered by (distance, row).

    Args:
        words: Codes searched, uint64 [w, N].
        query_words: Query codes, uint64 [w, Q].
        k: Number of rows per query, at least 1.
        allow: Mask of rows that may be returned; None allows all.
        threads: Largest number of threads, which divide the rows, or the queries if there are many.

    Returns:
        (distances uint16 [Q, k'], rows int64 [Q, k']) with k' = min(k, allowed rows).
    """
    near, rows, _ = nearest(words, query_words, k, allow=allow, threads=threads)
    return near, rows


def nearest(
    words: Words,
    query_words: Words,
    k: int,
    radius: int | None = None,
    allow: Mask | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]:
    """Return the k nearest rows of each query within ``radius``, ordered by (distance, row).

    Other arguments as in `top_k`. Queries may have different numbers of hits.

    Returns:
        (distances uint16 [Q, m], rows int64 [Q, m], sizes int64 [Q]); query q fills its first ``sizes[q]`` columns, the
        others hold 65535 and -1; m is the largest size.

    Raises:
        ModelMismatchError: The queries have another width than the codes.
        TexthashError: ``k`` is below 1, the radius is negative, or an array has the wrong type or shape.
    """
    if k < 1:
        raise TexthashError(f"k is {k}", "ask for at least one nearest code")
    words, queries, mask, bound = arguments(words, query_words, allow, radius)
    k = max(1, min(k, words.shape[1]))
    search = functools.partial(_nearest, words, mask, k, bound)
    threads = useful_threads(threads, words.size * len(queries))
    share = -(-len(queries) // threads)
    if share < _QUERIES_OF_A_THREAD:
        parts = search(queries, threads)
    else:
        shares = [queries[first : first + share] for first in range(0, len(queries), share)]
        parts = list(chain(*run_parallel([functools.partial(search, own, 1) for own in shares])))
    if len(parts) == 1:
        return parts[0]
    width = max(part[1].shape[1] for part in parts)
    near = np.full((len(queries), width), NO_DISTANCE, np.uint16)
    rows = np.full((len(queries), width), -1, np.int64)
    sizes = np.concatenate([part[2] for part in parts])
    at = 0
    for part_near, part_rows, part_sizes in parts:
        here = slice(at, at + len(part_sizes))
        near[here, : part_near.shape[1]] = part_near
        rows[here, : part_rows.shape[1]] = part_rows
        at = here.stop
    return near, rows, sizes


def _nearest(words: Words, mask: Mask, k: int, bound: int, queries: Words, threads: int) -> list[Found]:
    """Return the results of batches of queries, whose size is limited by memory. Threads divide the rows."""
    room = 2 * k + 256
    step = max(1, min(_QUERIES_AT_ONCE, _CANDIDATE_BYTES // (10 * room)))
    parts = []
    for first in range(0, max(1, len(queries)), step):
        batch = queries[first : first + step]
        search = functools.partial(_scan.nearest, words, batch, mask, block_rows(words, len(batch)), k, bound, room)
        parts.append(merge_ranges(map_row_ranges(search, words, len(batch), threads), k))
    return parts


def within_radius(
    words: Words, query_words: Words, radius: int, allow: Mask | None = None, threads: int = 1
) -> list[tuple[NDArray[np.uint16], NDArray[np.int64]]]:
    """Return all rows within ``radius`` of each query as (distances, rows), ordered by (distance, row)."""
    counts = count_within(words, query_words, radius, allow, threads)
    most = int(counts.max(initial=0))
    near, rows, sizes = nearest(words, query_words, max(1, most), radius, allow, threads)
    return [(near[query, :size], rows[query, :size]) for query, size in enumerate(sizes)]


def count_within(
    words: Words, query_words: Words, radius: int, allow: Mask | None = None, threads: int = 1
) -> NDArray[np.int64]:
    """Return the number of allowed rows within ``radius`` of each query, int64 [Q]."""
    words, queries, mask, bound = arguments(words, query_words, allow, radius)
    block = block_rows(words, len(queries))
    counts = map_row_ranges(
        functools.partial(_scan.count_within, words, queries, mask, block, bound),
        words,
        len(queries),
        threads,
    )
    total: NDArray[np.int64] = np.sum(counts, axis=0)
    return total


def histogram(words: Words, query_words: Words, bits: int | None = None, threads: int = 1) -> NDArray[np.int64]:
    """Return the number of rows at each distance from each query, int64 [Q, bits + 1]. ``bits`` is 64 w if None."""
    nothing = np.zeros(1, np.int64), np.empty(0, np.int32)
    no_labels = np.zeros(query_words.shape[1] + 1, np.int64), nothing[1]
    return _counts(words, query_words, no_labels, nothing, top_grade=0, bits=bits, threads=threads)[:, :, 0]


def label_histogram(
    words: Words,
    query_words: Words,
    labels: LabelSets,
    query_labels: LabelSets,
    bits: int | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count all rows, and the relevant rows, by distance. A relevant row shares at least one label with the query.

    Args:
        words: Codes, uint64 [w, N].
        query_words: Query codes, uint64 [w, Q].
        labels: Label ids of the rows as CSR ``(indptr [N + 1], indices)``.
        query_labels: Label ids of the queries as CSR ``(indptr [Q + 1], indices)``.
        bits: Width of a code, 64 w if None.
        threads: Largest number of threads, which divide the queries.

    Returns:
        (n int64 [Q, bits + 1], n_relevant int64 [Q, bits + 1]).

    Raises:
        TexthashError: The number of label sets differs from that of rows or queries.
    """
    by_label = _rows_by_label(labels, query_labels, words.shape[1])
    counts = _counts(words, query_words, query_labels, by_label, top_grade=1, bits=bits, threads=threads)
    return counts.sum(axis=2), np.ascontiguousarray(counts[:, :, 1])


def graded_histogram(
    words: Words,
    query_words: Words,
    labels: LabelSets,
    query_labels: LabelSets,
    bits: int | None = None,
    threads: int = 1,
) -> NDArray[np.int64]:
    """Count rows by distance and by number of labels shared with the query (the graded relevance of NDCG).

    Arguments and errors as in `label_histogram`.

    Returns:
        Counts, int64 [Q, bits + 1, g + 1], with g the largest number of labels of a query.
    """
    grades = int(np.diff(query_labels[0]).max(initial=0))
    by_label = _rows_by_label(labels, query_labels, words.shape[1])
    return _counts(words, query_words, query_labels, by_label, top_grade=grades, bits=bits, threads=threads)


def warmup(bits: int = 64) -> None:
    """Compile or load every kernel for codes of ``bits`` bits, so that the first request does not wait."""
    codes = np.zeros((2, code_forms.check_bits(bits) // 8), np.uint8)
    words = code_forms.to_words(codes)
    labels = np.arange(3), np.zeros(2, np.int32)
    distances(codes, codes)
    within_radius(words, words, bits, np.ones(2, np.bool_))
    label_histogram(words, words, labels, labels, bits)
    order, rows = BitOrder(np.arange(bits)), np.arange(2)
    ordered = order.words(codes)
    order.add_scores(ordered, rows, rows, sums_of_four(np.zeros((2, bits)), bits), np.zeros(2))
    Tables.build(ordered, bits).nearest(ordered, 1)


def _counts(
    words: Words,
    query_words: Words,
    query_labels: LabelSets,
    by_label: LabelSets,
    *,
    top_grade: int,
    bits: int | None,
    threads: int,
) -> NDArray[np.int64]:
    words, queries, _, bound = arguments(words, query_words, None, None)
    indptr, indices = (np.ascontiguousarray(a, t) for a, t in zip(query_labels, (np.int64, np.int32), strict=True))
    if len(indptr) != len(queries) + 1:
        raise TexthashError(
            f"{len(indptr) - 1} label sets came with {len(queries)} queries", "give one label set per query"
        )
    out = np.zeros((len(queries), bound, top_grade + 1), np.int64)
    # Queries with the same labels are adjacent, so that the kernel marks the relevant rows once for all of them.
    keys = [indices[indptr[query] : indptr[query + 1]].tobytes() for query in range(len(queries))]
    order = np.array(sorted(range(len(queries)), key=keys.__getitem__), np.int64)
    starts, label_rows = by_label
    jobs = [
        functools.partial(
            _histogram.count_grades,
            words,
            queries,
            as_readonly(part),
            as_readonly(indptr),
            as_readonly(indices),
            as_readonly(starts),
            as_readonly(label_rows),
            top_grade,
            out,
        )
        for part in np.array_split(order, useful_threads(threads, words.size * len(queries)))
    ]
    run_parallel(jobs)
    return out if bits is None else np.ascontiguousarray(out[:, : bits + 1])


def _rows_by_label(labels: LabelSets, query_labels: LabelSets, rows: int) -> LabelSets:
    """Convert the CSR of labels by row into the CSR of rows by label."""
    indptr, indices = (np.asarray(array) for array in labels)
    if len(indptr) != rows + 1:
        raise TexthashError(f"{len(indptr) - 1} label sets came with {rows} codes", "give one label set per code")
    names = 1 + max(int(indices.max(initial=-1)), int(np.asarray(query_labels[1]).max(initial=-1)))
    order = np.argsort(indices, kind="stable")
    by_label = np.repeat(np.arange(rows, dtype=np.int32), np.diff(indptr))[order]
    starts = np.zeros(names + 1, np.int64)
    np.cumsum(np.bincount(indices, minlength=names), out=starts[1:])
    return starts, by_label
