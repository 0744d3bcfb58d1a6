"""Metrics of ranked lists with real-valued scores, by the tie-aware closed forms of :mod:`texthash.evaluation.metrics`.

Documents of equal score are tied, as those of equal distance are: a list is reduced to the histogram [buckets, grades]
of its runs of equal scores. Neighbouring runs without a relevant document are one bucket, since no metric depends on
how many runs they are, so that a query with R relevant documents has at most 2R + 2 buckets.

A list may leave documents out, as keyword search leaves out those without a word of the query. A relevant document that
is not listed counts in every denominator and is found at no rank: it is put behind :data:`UNLISTED` other documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError
from texthash.evaluation import metrics
from texthash.evaluation.metrics import Counts, Gain, Tied

UNLISTED = 1 << 40
"""Number of documents before those that a list leaves out; it exceeds every cutoff."""
MAX_GRADE = 100
_BLOCK = 256  # queries whose histograms are held at once


class Ranked(NamedTuple):
    """Ranked list of one query, in any order.

    Attributes:
        documents: Numbers of the listed documents, each once, int64 [n].
        scores: Score of each, float [n]; a higher one is better, and equal ones are tied.
    """

    documents: NDArray[np.int64]
    scores: NDArray[np.floating]

    @classmethod
    def nothing(cls) -> Ranked:
        """Return an empty list."""
        return cls(np.empty(0, np.int64), np.empty(0))

    def in_order(self, limit: int | None = None) -> Ranked:
        """Return the first ``limit`` documents by (score descending, number)."""
        order = np.lexsort((self.documents, -self.scores))[:limit]
        return Ranked(self.documents[order], self.scores[order])


Judged = Mapping[int, int]
"""Grades of the judged documents of one query by their numbers; 0 and less is not relevant."""


def bucketed(ranked: Ranked, judged: Judged) -> Counts:
    """Return the number of documents by bucket of equal scores, best first, and grade: int64 [buckets, gmax + 1].

    Args:
        ranked: List of the query; its scores are finite.
        judged: Grades of documents; the relevant ones that are not listed follow :data:`UNLISTED` others.

    Raises:
        UsageError: A score is not a number, or a grade exceeds :data:`MAX_GRADE`.
    """
    grades = np.zeros(len(ranked.documents), np.int64)
    relevant = {number: grade for number, grade in judged.items() if grade > 0}
    most = max(relevant.values(), default=1)
    if most > MAX_GRADE:
        raise UsageError(f"a grade of {most} is above {MAX_GRADE}.", f"give grades of 0 to {MAX_GRADE}.")
    if np.isnan(ranked.scores).any():
        raise UsageError("a score of the ranking is not a number.", "give finite scores.")
    numbers = np.fromiter(relevant, np.int64, len(relevant))
    found = np.flatnonzero(np.isin(ranked.documents, numbers))
    grades[found] = [relevant[number] for number in ranked.documents[found].tolist()]
    levels = np.unique(ranked.scores[found])[::-1]
    rising = np.sort(ranked.scores)
    above = len(rising) - np.searchsorted(rising, levels, "right")
    until = len(rising) - np.searchsorted(rising, levels, "left")
    out = np.zeros((2 * len(levels) + 2, most + 1), np.int64)
    out[0:-2:2, 0] = above - np.concatenate([[0], until[:-1]])  # other documents before each level
    level_of = np.searchsorted(-levels, -ranked.scores[found])
    np.add.at(out, (2 * level_of + 1, grades[found]), 1)
    out[1:-2:2, 0] += until - above - np.bincount(level_of, minlength=len(levels))
    out[-2, 0] = UNLISTED
    listed = set(ranked.documents[found].tolist())
    for number, grade in relevant.items():
        out[-1, grade] += number not in listed
    return out


def stacked(histograms: Sequence[Counts]) -> Counts:
    """Return histograms of several queries as one array, int64 [Q, buckets, grades], filled up with zeros."""
    shape = np.max([[1, 2], *(one.shape for one in histograms)], axis=0)
    out = np.zeros((len(histograms), *shape), np.int64)
    for query, one in enumerate(histograms):
        out[query, : one.shape[0], : one.shape[1]] = one
    return out


class Cuts(NamedTuple):
    """Cutoffs of the metrics of a table, and the gain of nDCG."""

    ndcg: tuple[int, ...] = (10,)
    mrr: tuple[int, ...] = (10,)
    recall: tuple[int, ...] = (10, 100, 1000)
    success: tuple[int, ...] = (10,)
    precision: tuple[int, ...] = (10,)
    gain: Gain = "linear"


def by_query(histograms: Sequence[Counts], cuts: Cuts = Cuts()) -> dict[str, Tied]:
    """Return every metric of each query by name, float64 [Q]; NaN where no document is relevant.

    ``ndcg_at_k``, ``mrr_at_k``, ``recall_at_k``, ``success_at_k`` (1 if a relevant document is among the first k),
    ``p_at_k``, its ceiling ``p_at_k_ceiling``, ``r_precision`` and ``map``. Those of trec_eval are called ndcg_cut_k,
    recip_rank (of the first k), recall_k, success_k, P_k, Rprec and map; trec_eval orders equal scores by document id.

    Args:
        histograms: :func:`bucketed` lists of the queries.
        cuts: Cutoffs and gain.
    """
    blocks = [_block(stacked(histograms[start : start + _BLOCK]), cuts) for start in range(0, len(histograms), _BLOCK)]
    if not blocks:
        blocks = [_block(stacked([]), cuts)]
    return {
        name: Tied(*(np.concatenate(parts) for parts in zip(*(block[name] for block in blocks), strict=True)))
        for name in blocks[0]
    }


def _block(graded: Counts, cuts: Cuts) -> dict[str, Tied]:
    n, relevant = graded.sum(axis=2), graded[:, :, 1:].sum(axis=2)
    found = {f"ndcg_at_{k}": metrics.ndcg_at_k(graded, k, cuts.gain) for k in cuts.ndcg}
    found |= {f"mrr_at_{k}": metrics.reciprocal_rank(n, relevant, k) for k in cuts.mrr}
    found |= {f"recall_at_{k}": metrics.recall_at_k(n, relevant, k) for k in cuts.recall}
    found |= {f"success_at_{k}": metrics.hit_at_k(n, relevant, k) for k in cuts.success}
    found["r_precision"] = metrics.r_precision(n, relevant)
    for k in cuts.precision:
        ceiling = metrics.precision_ceiling(relevant, k)
        found |= {f"p_at_{k}": metrics.precision_at_k(n, relevant, k), f"p_at_{k}_ceiling": Tied(*[ceiling] * 3)}
    # Cut where the documents that are not listed begin, which have no rank. There are fewer relevant ones than that.
    found["map"] = metrics.average_precision(n, relevant, UNLISTED)
    return found
