"""Compiled search for the k documents of the highest BM25 score.

Once k documents are found, words whose largest contributions together do not reach the worst of their scores bring no
document by themselves (MaxScore: Turtle & Flood, "Query Evaluation: Strategies and Optimizations", 1995). Only the
postings of the other words are walked through; those of the former are looked up for the documents that can still win.
The search begins with a score that k documents are known to reach, so that this holds from the first document on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from texthash.io.kernel_cache import compiled

_WINDOW = 4096  # documents whose scores are summed together: their sums stay in the cache of a core
_BITS = 64
# Sums of bounds are in another order than those of scores, and rounded differently.
_SLACK = 1.0 + 1e-9
_BELOW = 1.0 - 1e-9
_TINY = np.finfo(np.float64).tiny
# Numba's annotations describe the function that generates code, not the operation that a compiled function calls.
_operation: Any = intrinsic


@_operation
def _lowest(context: Any, value: Any) -> Any:
    """Return the position of the lowest bit of an unsigned integer of 64 bits that is set; one has to be."""

    def generate(_: Any, builder: Any, __: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


def _after(rows: Any, at: int, end: int, row: int) -> int:
    """Return the first posting from ``at`` whose row is not below ``row``, by steps that double."""
    step = 1
    while at + step < end and rows[at + step] < row:
        at += step
        step *= 2
    high = min(at + step, end)
    while at < high:
        middle = (at + high) // 2
        if rows[middle] < row:
            at = middle + 1
        else:
            high = middle
    return at


def _replace_worst(best_score: Any, best_row: Any, k: int, score: float, row: int) -> None:
    """Put a document into the place of the worst of k, the root of the heap."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= k:
            break
        if child + 1 < k and (
            best_score[child + 1] < best_score[child]
            or (best_score[child + 1] == best_score[child] and best_row[child + 1] > best_row[child])
        ):
            child += 1
        if score < best_score[child] or (score == best_score[child] and row > best_row[child]):
            break
        best_score[place], best_row[place] = best_score[child], best_row[child]
        place = child
    best_score[place], best_row[place] = score, row


def _append(best_score: Any, best_row: Any, size: int, score: float, row: int) -> None:
    """Add a document to a heap of ``size`` documents."""
    child = size
    while child > 0:
        parent = (child - 1) // 2
        # Rows come in ascending order: among equal scores the newest is the worst.
        if score > best_score[parent]:
            break
        best_score[child], best_row[child] = best_score[parent], best_row[parent]
        child = parent
    best_score[child], best_row[child] = score, row


_after = compiled(_after)
_replace_worst = compiled(_replace_worst)
_append = compiled(_append)


def _top(
    starts: Any,
    ends: Any,
    weights: Any,
    bounds: Any,
    order: Any,
    rows: Any,
    counts: Any,
    factors: Any,
    boosts: Any,
    allowed: Any,
    k: int,
    floor: float,
) -> Any:
    """Return scores float64 and rows int64 of the best documents, in any order.

    ``rows[starts[t]:ends[t]]`` are the documents of word t, ascending, ``counts`` their occurrences, ``bounds`` the
    largest contributions of the words to a score, ``order`` the words by these, ascending, and ``allowed`` a mask of
    rows, or empty where all are allowed. ``boosts``, at most 1, multiply the sums. The words of a document are summed
    in the order of ``weights``, so that equal documents have equal scores. At least k documents reach more than
    ``floor``, or it is 0.
    """
    best_score, best_row = np.empty(k, np.float64), np.empty(k, np.int64)
    size, total, words = 0, len(factors), len(weights)
    sums = np.zeros(_WINDOW, np.float64)
    touched = np.zeros(_WINDOW // _BITS, np.uint64)  # a bit for each document of the window that has a word
    at = starts.copy()
    looked = starts.copy()
    before = np.zeros(words + 1, np.float64)  # sum of the bounds of the words before each, in ``order``
    for place in range(words):
        before[place + 1] = before[place] + bounds[order[place]]
    # Words of the smallest bounds, which bring no document: their number, and a mask.
    skipped, is_skipped = 0, np.zeros(words, np.bool_)
    least = floor  # Documents of this score or less are behind k others.
    while skipped < words and before[skipped + 1] * _SLACK <= least:
        is_skipped[order[skipped]] = True
        skipped += 1
    while skipped < words:
        first = total
        for place in range(skipped, words):
            term = order[place]
            if at[term] < ends[term] and rows[at[term]] < first:
                first = rows[at[term]]
        if first >= total:
            break
        last = min(first + _WINDOW, total)
        for term in range(words):
            if is_skipped[term]:
                continue
            place, end, weight = at[term], ends[term], weights[term]
            while place < end and rows[place] < last:
                row = rows[place]
                inside = row - first
                touched[inside // _BITS] |= np.uint64(1) << np.uint64(inside % _BITS)
                count = float(counts[place])
                sums[inside] += weight * count / (count + factors[row])
                place += 1
            at[term] = place
        for block in range(len(touched)):
            left = touched[block]
            touched[block] = np.uint64(0)
            while left:
                inside = block * _BITS + _lowest(left)
                left &= left - np.uint64(1)
                score, row = sums[inside], first + inside
                sums[inside] = 0.0
                # The root is the worst of the best; a later row of the same score is behind it.
                if (score + before[skipped]) * _SLACK * boosts[row] <= least or score == 0.0:
                    continue
                if len(allowed) and not allowed[row]:
                    continue
                if skipped:
                    # The words of the largest bounds first: most documents have lost before all are looked up.
                    place = skipped
                    while place > 0 and (score + before[place]) * _SLACK * boosts[row] > least:
                        place -= 1
                        term = order[place]
                        where = _after(rows, looked[term], ends[term], row)
                        looked[term] = where
                        if where < ends[term] and rows[where] == row:
                            count = float(counts[where])
                            score += weights[term] * count / (count + factors[row])
                    if (score + before[place]) * _SLACK * boosts[row] <= least:
                        continue
                    score = 0.0
                    for term in range(words):
                        where = _after(rows, looked[term], ends[term], row)
                        looked[term] = where
                        if where < ends[term] and rows[where] == row:
                            count = float(counts[where])
                            score += weights[term] * count / (count + factors[row])
                score *= boosts[row]
                if size < k:
                    _append(best_score, best_row, size, score, row)
                    size += 1
                elif score > best_score[0]:
                    _replace_worst(best_score, best_row, k, score, row)
                if size == k:
                    least = max(least, best_score[0])
        while skipped < words and before[skipped + 1] * _SLACK <= least:
            is_skipped[order[skipped]] = True
            skipped += 1
    return best_score[:size], best_row[:size]


top = compiled(_top)


def _largest(word: int, starts: Any, rows: Any, counts: Any, factors: Any) -> float:
    """Return the largest impact of a word in any document."""
    largest = 0.0
    for place in range(starts[word], starts[word + 1]):
        count = float(counts[place])
        largest = max(largest, count / max(count + factors[rows[place]], _TINY))
    return largest


def _reached_by(word: int, k: int, starts: Any, rows: Any, counts: Any, factors: Any, boosts: Any, live: Any) -> float:
    """Return what k documents reach at least by a word alone, boosts included; 0 if fewer contain it."""
    if starts[word + 1] - starts[word] < k:
        return 0.0
    found = np.empty(starts[word + 1] - starts[word], np.float64)
    size = 0
    for place in range(starts[word], starts[word + 1]):
        row = rows[place]
        if not len(live) or live[row]:
            count = float(counts[place])
            found[size] = count / max(count + factors[row], _TINY) * boosts[row]
            size += 1
    return np.partition(found[:size], size - k)[size - k] if size >= k else 0.0


_largest = compiled(_largest)
_reached_by = compiled(_reached_by)


def _top_of_each(
    firsts: Any,
    terms: Any,
    weights: Any,
    starts: Any,
    rows: Any,
    counts: Any,
    factors: Any,
    boosts: Any,
    live: Any,
    most: Any,
    reached: Any,
    best_scores: Any,
    best_rows: Any,
    sizes: Any,
) -> None:
    """Find the best documents of several queries, by (score descending, row).

    ``terms[firsts[q]:firsts[q + 1]]`` are the words of query q, with their ``weights``. ``starts`` to ``boosts`` are
    the postings of all words; ``live`` is a mask of rows, or empty. ``most`` and ``reached`` hold a figure of each
    word, or not a number where it is not known yet. Output: ``best_scores`` float64 [Q, k], ``best_rows`` int64 [Q, k],
    ``sizes`` int64 [Q].
    """
    k = best_scores.shape[1]
    for query in range(len(firsts) - 1):
        first, last = firsts[query], firsts[query + 1]
        words = last - first
        begins, ends, bounds = np.empty(words, np.int64), np.empty(words, np.int64), np.empty(words, np.float64)
        floor = 0.0
        for place in range(words):
            word, weight = terms[first + place], weights[first + place]
            begins[place], ends[place] = starts[word], starts[word + 1]
            if np.isnan(most[word]):
                most[word] = _largest(word, starts, rows, counts, factors)
            if np.isnan(reached[word]):
                reached[word] = _reached_by(word, k, starts, rows, counts, factors, boosts, live)
            bounds[place] = weight * most[word]
            floor = max(floor, weight * reached[word])
        order = np.argsort(bounds)
        scores, found = top(
            begins, ends, weights[first:last], bounds, order, rows, counts, factors, boosts, live, k, _BELOW * floor
        )
        size = len(scores)
        for end in range(size - 1, 0, -1):  # The root is the worst of those that are left.
            worst_score, worst_row = scores[0], found[0]
            _replace_worst(scores[:end], found[:end], end, scores[end], found[end])
            scores[end], found[end] = worst_score, worst_row
        best_scores[query, :size], best_rows[query, :size] = scores, found
        sizes[query] = size


top_of_each = compiled(_top_of_each)
