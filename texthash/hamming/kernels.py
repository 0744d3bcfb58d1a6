"""Hamming search and counting over word-major codes: exact, ordered by (distance, row), free of the GIL.

All functions take ``words`` uint64 [w, N] and ``query_words`` uint64 [w, Q] as `texthash.hamming.codes.to_words` makes
them. ``allow`` restricts a search to rows: bool [N], or, for a mask that is used more than once, its form from
`pack_allow`, which is eight times smaller to read. The first call of a function in a new installation compiles it
(seconds; `warmup` does it beforehand); after that it is loaded from disk.
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
    merged,
    over_rows,
    pack_allow,
    side_by_side,
    useful_threads,
)
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
# From so many queries a thread on, threads take queries of their own rather than rows: each then reads all the codes,
# which so many queries share, but finds a query's bound once instead of once a thread, and nothing is merged.
_QUERIES_OF_A_THREAD = 32
_CANDIDATE_BYTES = 1 << 26


def distances(queries: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the Hamming distances uint16 [Q, N] between packed codes.

    Raises:
        ModelMismatchError: The two differ in width.
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
        k: At least 1; cut to the number of (allowed) rows.
        threads: At most so many share the rows, or the queries where these are many.

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
    """As `top_k`, only rows at a distance of at most ``radius``, of which a query can have fewer than another.

    Returns:
        (distances uint16 [Q, m], rows int64 [Q, m], sizes int64 [Q]); query q has its first ``sizes[q]`` columns, the
        rest of its row is 65535 and -1; m is the greatest size.
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
        parts = list(chain(*side_by_side([functools.partial(search, some, 1) for some in shares])))
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
    """Return what was found of so many queries at once as memory allows, rows on ``threads``."""
    room = 2 * k + 256
    step = max(1, min(_QUERIES_AT_ONCE, _CANDIDATE_BYTES // (10 * room)))
    parts = []
    for first in range(0, max(1, len(queries)), step):
        some = queries[first : first + step]
        search = functools.partial(_scan.nearest, words, some, mask, block_rows(words, len(some)), k, bound, room)
        parts.append(merged(over_rows(search, words, len(some), threads), k))
    return parts


def within_radius(
    words: Words, query_words: Words, radius: int, allow: Mask | None = None, threads: int = 1
) -> list[tuple[NDArray[np.uint16], NDArray[np.int64]]]:
    """Return, for each query, (distances, rows) of all rows at a distance of at most ``radius``, ordered likewise."""
    counts = count_within(words, query_words, radius, allow, threads)
    most = int(counts.max(initial=0))
    near, rows, sizes = nearest(words, query_words, max(1, most), radius, allow, threads)
    return [(near[query, :size], rows[query, :size]) for query, size in enumerate(sizes)]


def count_within(
    words: Words, query_words: Words, radius: int, allow: Mask | None = None, threads: int = 1
) -> NDArray[np.int64]:
    """Return int64 [Q]: how many (allowed) rows lie at a distance of at most ``radius``."""
    words, queries, mask, bound = arguments(words, query_words, allow, radius)
    block = block_rows(words, len(queries))
    counts = over_rows(
        functools.partial(_scan.count_within, words, queries, mask, block, bound),
        words,
        len(queries),
        threads,
    )
    total: NDArray[np.int64] = np.sum(counts, axis=0)
    return total


def histogram(words: Words, query_words: Words, bits: int | None = None, threads: int = 1) -> NDArray[np.int64]:
    """Return int64 [Q, bits + 1]: how many rows lie at each distance. ``bits`` is 64 w when None."""
    nothing = np.zeros(1, np.int64), np.empty(0, np.int32)
    no_labels = np.zeros(query_words.shape[1] + 1, np.int64), nothing[1]
    return _counts(words, query_words, no_labels, nothing, 0, bits, threads)[:, :, 0]


def label_histogram(
    words: Words,
    query_words: Words,
    labels: LabelSets,
    query_labels: LabelSets,
    bits: int | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count rows by distance: all of them, and the relevant ones, which share at least one label with the query.

    Args:
        labels: CSR ``(indptr [N + 1], indices)`` of the label ids of the rows.
        query_labels: The same of the queries ``(indptr [Q + 1], indices)``.
        bits: Bits of a code, 64 w when None.
        threads: Queries counted side by side.

    Returns:
        (n int64 [Q, bits + 1], n_relevant int64 [Q, bits + 1]).
    """
    by_label = _rows_by_label(labels, query_labels, words.shape[1])
    counts = _counts(words, query_words, query_labels, by_label, 1, bits, threads)
    return counts.sum(axis=2), np.ascontiguousarray(counts[:, :, 1])


def graded_histogram(
    words: Words,
    query_words: Words,
    labels: LabelSets,
    query_labels: LabelSets,
    bits: int | None = None,
    threads: int = 1,
) -> NDArray[np.int64]:
    """Count rows by distance and by the number of labels they share with the query (the graded relevance of NDCG).

    Arguments as `label_histogram`.

    Returns:
        int64 [Q, bits + 1, g + 1], g the most labels that a query has.
    """
    grades = int(np.diff(query_labels[0]).max(initial=0))
    by_label = _rows_by_label(labels, query_labels, words.shape[1])
    return _counts(words, query_words, query_labels, by_label, grades, bits, threads)


def warmup(bits: int = 64) -> None:
    """Compile or load every kernel, for codes of ``bits`` bits, so that the first request does not wait for it."""
    codes = np.zeros((2, code_forms.check_bits(bits) // 8), np.uint8)
    words = code_forms.to_words(codes)
    labels = np.arange(3), np.zeros(2, np.int32)
    distances(codes, codes)
    within_radius(words, words, bits, np.ones(2, np.bool_))
    label_histogram(words, words, labels, labels, bits)
    ordered = BitOrder(np.arange(bits)).words(codes)
    Tables.build(ordered, bits).nearest(ordered, 1)


def _counts(
    words: Words,
    query_words: Words,
    query_labels: LabelSets,
    by_label: LabelSets,
    top_grade: int,
    bits: int | None,
    threads: int,
) -> NDArray[np.int64]:
    words, queries, _, bound = arguments(words, query_words, None, None)
    indptr, indices = (np.ascontiguousarray(a, t) for a, t in zip(query_labels, (np.int64, np.int32), strict=True))
    if len(indptr) != len(queries) + 1:
        raise TexthashError(
            f"{len(indptr) - 1} label sets stand beside {len(queries)} queries", "give one label set per query"
        )
    out = np.zeros((len(queries), bound, top_grade + 1), np.int64)
    # Queries with the same labels stand together, for the kernel then marks the relevant rows once.
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
    side_by_side(jobs)
    return out if bits is None else np.ascontiguousarray(out[:, : bits + 1])


def _rows_by_label(labels: LabelSets, query_labels: LabelSets, rows: int) -> LabelSets:
    """Turn the CSR of labels by row into that of rows by label."""
    indptr, indices = (np.asarray(array) for array in labels)
    if len(indptr) != rows + 1:
        raise TexthashError(f"{len(indptr) - 1} label sets stand beside {rows} codes", "give one label set per code")
    names = 1 + max(int(indices.max(initial=-1)), int(np.asarray(query_labels[1]).max(initial=-1)))
    order = np.argsort(indices, kind="stable")
    by_label = np.repeat(np.arange(rows, dtype=np.int32), np.diff(indptr))[order]
    starts = np.zeros(names + 1, np.int64)
    np.cumsum(np.bincount(indices, minlength=names), out=starts[1:])
    return starts, by_label
