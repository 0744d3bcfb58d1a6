"""Compiled search for the k documents of the highest BM25 score."""

from __future__ import annotations

from typing import Any

import numpy as np

from texthash.io.kernel_cache import compiled

_WINDOW = 4096  # documents whose scores are summed together: their sums stay in the cache of a core


def _top(
    starts: Any, ends: Any, weights: Any, rows: Any, counts: Any, factors: Any, boosts: Any, allowed: Any, k: int
) -> Any:
    """Return scores float64 and rows int64 of the best documents, by (score descending, row), and their number.

    ``rows[starts[t]:ends[t]]`` are the documents of word t, ascending, ``counts`` their occurrences, and ``allowed`` a
    mask of rows, or empty where all are allowed; ``boosts`` multiply the sums. The words of a document are summed in
    the order of ``weights``, so that equal documents have equal scores.
    """
    best_score, best_row = np.empty(k, np.float64), np.empty(k, np.int64)
    size, total = 0, len(factors)
    sums = np.zeros(_WINDOW, np.float64)
    at = starts.copy()
    while True:
        first = total
        for term in range(len(weights)):
            if at[term] < ends[term] and rows[at[term]] < first:
                first = rows[at[term]]
        if first >= total:
            break
        last = min(first + _WINDOW, total)
        for term in range(len(weights)):
            place, end, weight = at[term], ends[term], weights[term]
            while place < end and rows[place] < last:
                row = rows[place]
                count = float(counts[place])
                sums[row - first] += weight * count / (count + factors[row])
                place += 1
            at[term] = place
        for row in range(first, last):
            score = sums[row - first]
            if score == 0.0:
                continue
            sums[row - first] = 0.0
            score *= boosts[row]
            # The root is the worst of the best; a later row of the same score is behind it.
            if (size == k and score <= best_score[0]) or (len(allowed) and not allowed[row]):
                continue
            if size < k:
                child = size
                size += 1
                while child > 0:
                    parent = (child - 1) // 2
                    # Rows come in ascending order: among equal scores the newest is the worst.
                    if score > best_score[parent]:
                        break
                    best_score[child], best_row[child] = best_score[parent], best_row[parent]
                    child = parent
                best_score[child], best_row[child] = score, row
                continue
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
    return best_score[:size], best_row[:size]


top = compiled(_top)
