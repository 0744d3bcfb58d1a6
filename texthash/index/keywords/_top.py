"""Compiled search for the k documents of the highest BM25 score.

The postings of a window of documents are summed word by word, so that the sums stay in the fastest cache, and the
documents that a word reached first are listed, so that nothing else of the window is looked at.

Once k documents are found, words whose largest contributions together do not reach the worst of their scores bring no
document by themselves (MaxScore: Turtle & Flood, "Query Evaluation: Strategies and Optimizations", 1995): it is enough
to look them up for the documents that can still win. A look-up takes as long as many postings of a walk, so words are
skipped only where they have far more postings than those that are left. The search begins with a score that k documents
are known to reach, so that this holds from the first document on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from texthash.io.kernel_cache import compiled

_WINDOW = 16384  # documents whose scores are summed together
_PAYS = 32  # postings to skip for each one that is walked through, from which on look-ups pay
# Sums of bounds are in another order than those of scores, and rounded differently.
_SLACK = 1.0 + 1e-9


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
        if score > best_score[parent] or (score == best_score[parent] and row < best_row[parent]):
            break
        best_score[child], best_row[child] = best_score[parent], best_row[parent]
        child = parent
    best_score[child], best_row[child] = score, row


def _skippable(skipped: int, before: Any, spared: Any, least: float) -> int:
    """Return how many words bring no document above ``least``, all of them or as many as it pays to skip."""
    words, most = len(before) - 1, skipped
    while most < words and before[most + 1] * _SLACK <= least:
        most += 1
    return most if most == words or spared[most] > _PAYS * (spared[words] - spared[most]) else skipped


def _factor(at: int, postings: Any) -> float:
    """Return the factor of the length of the document of a posting."""
    return postings.short + postings.per_word * float(postings.lengths[postings.rows[at]])


def _contribution(at: int, weight: float, postings: Any) -> float:
    """Return what the posting of a word adds to the score of its document."""
    count = float(postings.counts[at])
    return weight * count / (count + _factor(at, postings))


def _boost(row: int, postings: Any) -> float:
    """Return the factor of the score of a document."""
    return float(postings.boosts[row]) if len(postings.boosts) else 1.0


_after = compiled(_after)
_replace_worst = compiled(_replace_worst)
_append = compiled(_append)
_skippable = compiled(_skippable)
_factor = compiled(_factor)
_contribution = compiled(_contribution)
_boost = compiled(_boost)


def _add(
    at: int, end: int, weight: float, postings: Any, first: int, last: int, sums: Any, reached: Any, size: int
) -> Any:
    """Add a word to the scores of a window, and the documents that no word has reached before to ``reached``.

    Returns:
        The first posting behind the window, and the number of documents reached.
    """
    while at < end and postings.rows[at] < last:
        place, own = postings.rows[at] - first, _contribution(at, weight, postings)
        # No branch, which would often be guessed wrong: the next document overwrites one that is not counted.
        reached[size] = place
        size += int((sums[place] == 0.0) & (own > 0.0))
        sums[place] += own
        at += 1
    return at, size


_add = compiled(_add)


def _whole_score(
    score: float,
    row: int,
    skipped: int,
    least: float,
    before: Any,
    order: Any,
    at: Any,
    starts: Any,
    ends: Any,
    weights: Any,
    postings: Any,
) -> float:
    """Return the score of a document with the words that were skipped, without the boost; 0 if it cannot win."""
    place, rows, boost = skipped, postings.rows, _boost(row, postings)
    # The words of the largest bounds first: most documents have lost before all are looked up.
    while place > 0 and (score + before[place]) * _SLACK * boost > least:
        place -= 1
        term = order[place]
        where = _after(rows, at[term], ends[term], row)
        if where < ends[term] and rows[where] == row:
            score += _contribution(where, weights[term], postings)
    if (score + before[place]) * _SLACK * boost <= least:
        return 0.0
    score = 0.0  # Summed again in the order of the words, for equal documents to have equal scores.
    for term in range(len(weights)):
        where = _after(rows, starts[term], ends[term], row)
        if where < ends[term] and rows[where] == row:
            score += _contribution(where, weights[term], postings)
    return score


_whole_score = compiled(_whole_score)


def _top(
    starts: Any, ends: Any, weights: Any, bounds: Any, order: Any, postings: Any, allowed: Any, k: int, floor: float
) -> Any:
    """Return scores float64 and rows int64 of the best documents, in any order; arguments as of ``plain_top``.

    The words of a document are summed in the order of ``weights``, so that equal documents have equal scores.
    """
    best_score, best_row = np.empty(k, np.float64), np.empty(k, np.int64)
    size, total, words, rows = 0, len(postings.lengths), len(weights), postings.rows
    sums, reached = np.zeros(_WINDOW, np.float64), np.empty(_WINDOW + 1, np.int32)
    at = starts.copy()
    before = np.zeros(words + 1, np.float64)  # sum of the bounds of the words before each, in ``order``
    spared = np.zeros(words + 1, np.int64)  # number of their postings
    for place in range(words):
        before[place + 1] = before[place] + bounds[order[place]]
        spared[place + 1] = spared[place] + ends[order[place]] - starts[order[place]]
    is_walked = np.ones(words, np.bool_)
    least = floor  # Documents below this score are behind k others.
    skipped = 0  # words of the smallest bounds, which bring no document
    while True:
        more = _skippable(skipped, before, spared, least)
        for place in range(skipped, more):
            is_walked[order[place]] = False
        skipped, first = more, total
        for term in range(words):
            if is_walked[term] and at[term] < ends[term]:
                first = min(first, rows[at[term]])
        if first == total:
            break
        last, listed = min(first + _WINDOW, total), 0
        for term in range(words):
            if is_walked[term]:
                at[term], listed = _add(
                    at[term], ends[term], weights[term], postings, first, last, sums, reached, listed
                )
            else:
                at[term] = _after(rows, at[term], ends[term], first)
        for place in range(listed):
            score, row = sums[reached[place]], first + reached[place]
            sums[reached[place]] = 0.0
            if (score + before[skipped]) * _SLACK * _boost(row, postings) <= least:
                continue
            if len(allowed) and not allowed[row]:
                continue
            if skipped:
                score = _whole_score(score, row, skipped, least, before, order, at, starts, ends, weights, postings)
                if score == 0.0:
                    continue
            score *= _boost(row, postings)
            if size < k:
                _append(best_score, best_row, size, score, row)
                size += 1
            elif score > best_score[0] or (score == best_score[0] and row < best_row[0]):
                _replace_worst(best_score, best_row, k, score, row)
            if size == k:
                least = max(least, best_score[0])
    return best_score[:size], best_row[:size]


top = compiled(_top)
