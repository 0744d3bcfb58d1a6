"""Hamming search and counting over word-major codes: exact, ordered by (distance, row), free of the GIL.

All functions take ``words`` uint64 [w, N] and ``query_words`` uint64 [w, Q] as `texthash.hamming.codes.to_words` makes
them. ``allow`` restricts a search to rows: bool [N], or, for a mask that is used more than once, its form from
`pack_allow`, which is eight times smaller to read. The first call of a function in a new installation compiles it
(seconds; `warm` does it beforehand); after that it is loaded from disk.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming import codes as code_forms
from texthash.hamming import counting, scanning
from texthash.hamming.lanes import LANES

Words = NDArray[np.uint64]
Mask = NDArray[np.bool_] | NDArray[np.uint32]
LabelSets = tuple[NDArray[Any], NDArray[Any]]
T = TypeVar("T")

# A block has to stay in the first-level cache (32 KiB on most machines) while the queries pass over it.
_BLOCK_ROWS = 1024
_BLOCK_WORDS = 4096
# Work (rows times queries times words) below which a further thread costs more than it saves.
_WORK_PER_THREAD = 1 << 18
_QUERIES_AT_ONCE = 256
_CANDIDATE_BYTES = 1 << 26
_FAR = np.iinfo(np.uint16).max


def pack_allow(allow: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return a bool mask [N] as uint32 [ceil(N / 32)]: bit i of element j is row 32 j + i."""
    packed = np.packbits(allow, bitorder="little")
    padded = np.zeros(-(-len(packed) // 4) * 4, np.uint8)
    padded[: len(packed)] = packed
    return padded.view("<u4")


def distances(queries: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the Hamming distances uint16 [Q, N] between packed codes.

    Raises:
        ModelMismatchError: The two differ in width.
    """
    code_forms.check_codes(queries, code_forms.check_codes(codes), "query codes")
    out: NDArray[np.uint16] = counting.all_distances(
        _frozen(code_forms.to_words(codes)), _by_query(code_forms.to_words(queries))
    )
    return out


def top_k(
    words: Words, query_words: Words, k: int, allow: Mask | None = None, threads: int = 1
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Return the k nearest rows of each query, ordered by (distance, row).

    Args:
        k: At least 1; cut to the number of (allowed) rows.
        threads: Row ranges searched side by side.

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
    words, queries, mask, bound = _arguments(words, query_words, allow, radius)
    k = max(1, min(k, words.shape[1]))
    block = _block(words)
    room = 2 * k + 256
    step = max(1, min(_QUERIES_AT_ONCE, _CANDIDATE_BYTES // (10 * room)))
    parts = [(np.empty((0, 0), np.uint16), np.empty((0, 0), np.int64), np.empty(0, np.int64))]
    for first in range(0, len(queries), step):
        some = queries[first : first + step]
        found = _over_rows(
            lambda start, stop, some=some: scanning.nearest(words, some, mask, start, stop, block, k, bound, room),
            words,
            len(some),
            threads,
        )
        parts.append(_merged(found, k))
    width = max(part[1].shape[1] for part in parts)
    near = np.full((len(queries), width), _FAR, np.uint16)
    rows = np.full((len(queries), width), -1, np.int64)
    sizes = np.concatenate([part[2] for part in parts])
    at = 0
    for part_near, part_rows, part_sizes in parts:
        here = slice(at, at + len(part_sizes))
        near[here, : part_near.shape[1]] = part_near
        rows[here, : part_rows.shape[1]] = part_rows
        at = here.stop
    return near, rows, sizes


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
    words, queries, mask, bound = _arguments(words, query_words, allow, radius)
    block = _block(words)
    counts = _over_rows(
        lambda start, stop: scanning.count_within(words, queries, mask, start, stop, block, bound),
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


def warm(bits: int = 64) -> None:
    """Compile or load every kernel, for codes of ``bits`` bits, so that the first request does not wait for it."""
    codes = np.zeros((2, code_forms.check_bits(bits) // 8), np.uint8)
    words = code_forms.to_words(codes)
    labels = np.arange(3), np.zeros(2, np.int32)
    distances(codes, codes)
    within_radius(words, words, bits, np.ones(2, np.bool_))
    label_histogram(words, words, labels, labels, bits)


def _counts(
    words: Words,
    query_words: Words,
    query_labels: LabelSets,
    by_label: LabelSets,
    top_grade: int,
    bits: int | None,
    threads: int,
) -> NDArray[np.int64]:
    words, queries, _, bound = _arguments(words, query_words, None, None)
    indptr, indices = (np.ascontiguousarray(a, t) for a, t in zip(query_labels, (np.int64, np.int32), strict=True))
    if len(indptr) != len(queries) + 1:
        raise TexthashError(
            f"{len(indptr) - 1} label sets stand beside {len(queries)} queries", "give one label set per query"
        )
    out = np.zeros((len(queries), bound, top_grade + 1), np.int64)
    # Queries with the same labels stand together, for the kernel then marks the relevant rows once.
    keys = [indices[indptr[query] : indptr[query + 1]].tobytes() for query in range(len(queries))]
    order = np.array(sorted(range(len(queries)), key=keys.__getitem__), np.int64)
    threads = max(1, min(threads, len(queries), words.size * len(queries) // _WORK_PER_THREAD))
    starts, label_rows = by_label
    jobs = [
        functools.partial(
            counting.count_grades,
            words,
            queries,
            _frozen(part),
            _frozen(indptr),
            _frozen(indices),
            _frozen(starts),
            _frozen(label_rows),
            top_grade,
            out,
        )
        for part in np.array_split(order, threads)
    ]
    _side_by_side(jobs)
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


def _arguments(
    words: Words, query_words: Words, allow: Mask | None, radius: int | None
) -> tuple[Words, Words, NDArray[np.uint32], int]:
    """Check the arguments of a search and give them the forms that the compiled loops take."""
    for name, array in (("words", words), ("query words", query_words)):
        if array.dtype != np.uint64 or array.ndim != 2:
            raise TexthashError(
                f"{name} are a {array.dtype} array of shape {array.shape}, not uint64 [words, codes]",
                "make them with texthash.hamming.codes.to_words",
            )
    if len(words) != len(query_words):
        raise ModelMismatchError(
            f"query codes have {len(query_words)} words of 64 bits, the codes searched {len(words)}",
            "encode queries with the model that made the index",
        )
    longest = 64 * len(words)
    if radius is not None and radius < 0:
        raise TexthashError(f"the radius is {radius}", "give a number of bits, 0 or more")
    bound = 1 + (longest if radius is None else min(radius, longest))
    return _frozen(words), _by_query(query_words), _mask(allow, words.shape[1]), bound


def _mask(allow: Mask | None, rows: int) -> NDArray[np.uint32]:
    if allow is None:
        return _frozen(np.empty(0, np.uint32))
    if allow.dtype == np.bool_ and allow.shape == (rows,):
        return _frozen(pack_allow(allow))
    if allow.dtype == np.uint32 and allow.shape == (-(-rows // LANES),):
        return _frozen(allow)
    raise TexthashError(
        f"the mask of allowed rows is a {allow.dtype} array of shape {allow.shape}",
        f"give bool [{rows}], or what pack_allow makes of it",
    )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only contiguous view: arrays that are read-only (shared memory, files) and those that are not are
    two types to Numba, and each would be compiled for."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _by_query(query_words: Words) -> Words:
    return _frozen(query_words.T)


def _block(words: Words) -> int:
    return min(_BLOCK_ROWS, max(LANES, _BLOCK_WORDS // len(words) // LANES * LANES))


def _over_rows(search: Callable[[int, int], T], words: Words, queries: int, threads: int) -> list[T]:
    """Return ``search(start, stop)`` of contiguous ranges of rows, in their order, at most one per thread."""
    rows = words.shape[1]
    parts = max(1, min(threads, words.size * queries // _WORK_PER_THREAD))
    size = -(-rows // parts)
    size = max(LANES, -(-size // LANES) * LANES)
    starts = range(0, max(rows, 1), size)
    return _side_by_side([functools.partial(search, start, min(start + size, rows)) for start in starts])


def _merged(
    found: list[tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]], k: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]:
    """Merge what was found in row ranges, in the order of the ranges, and cut it to k."""
    for near, rows, sizes in found:
        empty = np.arange(near.shape[1]) >= sizes[:, None]
        near[empty] = _FAR
        rows[empty] = -1
    sizes = np.minimum(k, np.sum([part[2] for part in found], axis=0))
    width = int(sizes.max(initial=0))
    if len(found) == 1:
        return found[0][0][:, :width], found[0][1][:, :width], sizes
    near = np.concatenate([part[0][:, :k] for part in found], axis=1)
    rows = np.concatenate([part[1][:, :k] for part in found], axis=1)
    # Within a distance, ranges and the rows in them already stand in order of row: a stable sort keeps that.
    order = np.argsort(near, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(rows, order, axis=1), sizes


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="hamming")


# A forked child has the pool, but none of its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


def _side_by_side(jobs: list[Callable[[], T]]) -> list[T]:
    if len(jobs) == 1:
        return [jobs[0]()]
    return [future.result() for future in [_pool().submit(job) for job in jobs]]
