"""Tie-aware retrieval metrics, in closed form over distance histograms.

Codes of B bits have only B+1 distances, so a ranking is a sequence of *buckets* of equally distant documents, and the
order inside a bucket is arbitrary. Every metric that depends on that order is returned as its expected value over all
orders of the tied documents, together with its best and worst case; the order of the database has no influence.

Shapes and names, for Q queries:

* ``n`` int64 [Q, bits+1]: database documents at each distance; ``n_relevant`` likewise, only the relevant ones.
* ``graded`` int64 [Q, bits+1, gmax+1]: documents at each distance with each gain 0..gmax (gain = shared labels).

Conventions of every function:

* A query without a relevant document is not answerable: its row is NaN, and :meth:`Tied.mean` and :func:`mean` skip it.
  :func:`answerable` returns which queries count.
* k may exceed the N documents of the database: then all N are retrieved, and the denominator of P@k is still k.

Sources: McSherry and Najork, ECIR 2008; He, Cakir, Bargal and Sclaroff, "Hashing as Tie-Aware Learning to Rank", CVPR
2018. The tests compare each closed form with the mean over all permutations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from texthash.errors import UsageError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Gain = Literal["linear", "exponential"]
"""Gain of a grade g in DCG: g itself, as trec_eval and so the published figures of BEIR have it, or 2^g - 1 (Burges et
al., "Learning to rank using gradient descent", ICML 2005)."""

_CHUNK = 256  # ranks summed at once by reciprocal_rank
_NEGLIGIBLE = 1e-18  # probability at which that sum stops; far below float64's resolution of the result


class Tied(NamedTuple):
    """Metric per query (float64 [Q]) over the orders of tied documents: its mean, its best and its worst case."""

    expected: Floats
    best: Floats
    worst: Floats

    def mean(self) -> tuple[float, float, float]:
        """Return macro averages (expected, best, worst) over the answerable queries; NaN if there are none."""
        return mean(self.expected), mean(self.best), mean(self.worst)


class RadiusPrecision(NamedTuple):
    """Precision within a Hamming ball, float64 [Q], and whether the ball was empty, bool [Q]."""

    precision: Floats
    empty: NDArray[np.bool_]


class PrecisionRecall(NamedTuple):
    """Precision and recall of the balls of radius 0..bits, float64 [Q, bits+1], and whether each was empty, bool."""

    precision: Floats
    recall: Floats
    empty: NDArray[np.bool_]


def mean(values: Floats) -> float:
    """Return the mean over the answerable queries (rows that are not NaN); NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def answerable(n_relevant: Counts) -> NDArray[np.bool_]:
    """Return which queries have at least one relevant document in the database, bool [Q]."""
    return n_relevant.sum(axis=1) > 0


def precision_at_k(n: Counts, n_relevant: Counts, k: int) -> Tied:
    """Return P@k: relevant documents among the first k, over k, even where fewer than k are relevant or exist.

    E[P@k] = (1/k) sum_b n+_b s_b / n_b, with s_b the number of the first k ranks that bucket b fills.
    """
    _check(n, n_relevant, k)
    expected, best, worst = _hits(n, n_relevant, k)
    return _tied(n_relevant, expected / k, best / k, worst / k)


def precision_curve(n: Counts, n_relevant: Counts, ks: Sequence[int]) -> Tied:
    """Return :func:`precision_at_k` at each of ``ks``: arrays [Q, len(ks)]."""
    return _curve([precision_at_k(n, n_relevant, k) for k in ks])


def recall_curve(n: Counts, n_relevant: Counts, ks: Sequence[int]) -> Tied:
    """Return :func:`recall_at_k` at each of ``ks``: arrays [Q, len(ks)]."""
    return _curve([recall_at_k(n, n_relevant, k) for k in ks])


def recall_at_k(n: Counts, n_relevant: Counts, k: int) -> Tied:
    """Return recall@k: relevant documents among the first k, over all relevant documents of the database."""
    _check(n, n_relevant, k)
    total = np.maximum(n_relevant.sum(axis=1), 1)
    expected, best, worst = _hits(n, n_relevant, k)
    return _tied(n_relevant, expected / total, best / total, worst / total)


def hit_at_k(n: Counts, n_relevant: Counts, k: int) -> Tied:
    """Return hit@k ("top-k accuracy"): 1 if a relevant document is among the first k; under ties, its probability.

    P(no hit) = prod_b C(n_b - n+_b, s_b) / C(n_b, s_b), with s_b the number of the first k ranks that bucket b fills.
    """
    _check(n, n_relevant, k)
    slots = _slots(n, k)
    log_miss = np.where((n_relevant > 0) & (slots > n - n_relevant), -np.inf, 0.0)
    partial = (n_relevant > 0) & (slots > 0) & (slots <= n - n_relevant)
    size, relevant, taken = (array[partial].astype(np.float64) for array in (n, n_relevant, slots))
    log_miss[partial] = (
        gammaln(size - relevant + 1)
        - gammaln(size - relevant - taken + 1)
        - gammaln(size + 1)
        + gammaln(size - taken + 1)
    )
    _, best, worst = _hits(n, n_relevant, k)
    return _tied(n_relevant, 1.0 - np.exp(log_miss.sum(axis=1)), np.minimum(best, 1.0), np.minimum(worst, 1.0))


def precision_ceiling(n_relevant: Counts, k: int) -> Floats:
    """Return the largest possible P@k of each query with R relevant documents, min(R, k) / k, float64 [Q]."""
    _check_k(k)
    total = n_relevant.sum(axis=1)
    return _unanswered(total == 0, np.minimum(total, k) / k)


def r_precision(n: Counts, n_relevant: Counts) -> Tied:
    """Return R-precision: P@R, which is recall@R too, with R the number of relevant documents of each query."""
    _check(n, n_relevant, None)
    total = n_relevant.sum(axis=1)
    expected, best, worst = _hits(n, n_relevant, total[:, None])
    denominator = np.maximum(total, 1)
    return _tied(n_relevant, expected / denominator, best / denominator, worst / denominator)


def average_precision(n: Counts, n_relevant: Counts, k: int | None = None) -> Tied:
    """Return AP: mean over the R relevant documents of the precision at their rank; AP@k stops at k, over min(R, k).

    E[AP] = (1/R) sum_b (n+_b/n_b) sum_{t=N_b+1}^{N_b+n_b} [R_b + 1 + (t-N_b-1)(n+_b-1)/(n_b-1)] / t, where N_b and R_b
    count all and relevant documents in nearer buckets; the inner sums are differences of harmonic numbers.
    """
    _check(n, n_relevant, k)
    nearer, nearer_relevant = _before(n), _before(n_relevant)
    last = np.int64(k if k is not None else n.sum(axis=1).max(initial=0))
    taken = np.clip(last - nearer, 0, n)

    harmonic = _harmonic(nearer + taken) - _harmonic(nearer)
    slope = (n_relevant - 1) / np.maximum(n - 1, 1)
    inner = (nearer_relevant + 1) * harmonic + slope * (taken - (nearer + 1) * harmonic)
    expected = (n_relevant / np.maximum(n, 1) * inner).sum(axis=1)

    def contiguous(start: Counts) -> Floats:
        """Return the sum of precisions when the relevant documents of each bucket directly follow rank ``start``."""
        count = np.clip(last - start, 0, n_relevant)
        between = _harmonic(start + count) - _harmonic(start)
        return (count + (nearer_relevant - start) * between).sum(axis=1)

    total = n_relevant.sum(axis=1)
    denominator = np.maximum(total if k is None else np.minimum(total, k), 1)
    best, worst = contiguous(nearer), contiguous(nearer + n - n_relevant)
    return _tied(n_relevant, expected / denominator, best / denominator, worst / denominator)


def reciprocal_rank(n: Counts, n_relevant: Counts, k: int | None = None) -> Tied:
    """Return 1 / rank of the first relevant document; 0 where that rank exceeds ``k``. Its mean over queries is MRR.

    In the first bucket with a relevant document, E = sum_j P(first at j) / (N_b + j), with
    P(first at j) = C(n-j, n+ -1) / C(n, n+), computed as a running product of the probabilities of a miss.
    """
    _check(n, n_relevant, k)
    if n.shape[0] == 0:
        return Tied(np.zeros(0), np.zeros(0), np.zeros(0))
    first = np.argmax(n_relevant > 0, axis=1)[:, None]
    nearer, size, relevant = (np.take_along_axis(a, first, axis=1)[:, 0] for a in (_before(n), n, n_relevant))
    last = np.int64(k if k is not None else n.sum(axis=1).max())

    def at(rank: Counts) -> Floats:
        return np.where(rank <= last, 1.0 / rank, 0.0)

    expected = np.zeros(len(n))
    single = relevant == 1  # every rank of the bucket is equally likely: harmonic numbers again
    end = np.clip(last - nearer, 0, size)
    expected[single] = ((_harmonic(nearer + end) - _harmonic(nearer)) / np.maximum(size, 1))[single]
    several = np.flatnonzero(relevant > 1)
    expected[several] = _first_of_several(nearer[several], size[several], relevant[several], last)
    return _tied(n_relevant, expected, at(nearer + 1), at(nearer + size - relevant + 1))


def ndcg_at_k(graded: Counts, k: int, gain: Gain = "linear") -> Tied:
    """Return NDCG@k: DCG = sum_t gain_t / log2(t + 1), ranks t <= k, over the DCG of the ideal order.

    E[DCG@k] = sum_b (mean gain of bucket b) sum of the discounts of the ranks that bucket b covers.

    Args:
        graded: int64 [Q, bits+1, gmax+1]; grade 0 means not relevant.
        k: Cutoff rank.
        gain: Gain of a grade.
    """
    if graded.ndim != 3:
        raise UsageError(f"a graded histogram has 3 dimensions, this one {graded.ndim}.", "pass [Q, bits+1, gmax+1].")
    _check_k(k)
    longest = int(min(k, graded.sum(axis=(1, 2)).max(initial=0)))
    discounts = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, longest + 2)))])
    grades = np.arange(graded.shape[2], dtype=np.float64)
    gains = grades if gain == "linear" else np.exp2(grades) - 1

    def dcg(counts: Counts, of_run: Floats) -> Floats:
        """Return the DCG [Q] of consecutive runs of documents [Q, runs], each of equal gain [Q or 1, runs]."""
        start = _before(counts)
        covered = discounts[np.minimum(start + counts, longest)] - discounts[np.minimum(start, longest)]
        return (of_run * covered).sum(axis=1)

    queries, buckets, levels = graded.shape
    size = graded.sum(axis=2)
    descending = graded[:, :, ::-1].reshape(queries, buckets * levels)
    ascending = graded.reshape(queries, buckets * levels)
    ideal = dcg(graded.sum(axis=1)[:, ::-1], gains[None, ::-1])
    denominator = np.where(ideal > 0, ideal, 1.0)
    expected = dcg(size, graded @ gains / np.maximum(size, 1))
    best = dcg(descending, np.tile(gains[::-1], buckets)[None])
    worst = dcg(ascending, np.tile(gains, buckets)[None])
    return _tied(graded[:, :, 1:].sum(axis=2), expected / denominator, best / denominator, worst / denominator)


def radius_precision(n: Counts, n_relevant: Counts, radius: int = 2) -> RadiusPrecision:
    """Return the precision within ``radius`` bits (hash lookup), on which ties have no effect.

    An empty ball counts as 0, the stricter of the two conventions in use; report the rate of empty balls with it.
    """
    _check(n, n_relevant, None)
    if radius < 0:
        raise UsageError(f"radius={radius} is negative.", "give a radius of 0 bits or more.")
    inside, found = n[:, : radius + 1].sum(axis=1), n_relevant[:, : radius + 1].sum(axis=1)
    return RadiusPrecision(_unanswered(~answerable(n_relevant), found / np.maximum(inside, 1)), inside == 0)


def pr_curve(n: Counts, n_relevant: Counts) -> PrecisionRecall:
    """Return precision and recall of the documents within each Hamming radius; an empty ball has precision 0.

    Average over axis 0 with ``np.nanmean`` for the macro curve.
    """
    _check(n, n_relevant, None)
    inside, found = np.cumsum(n, axis=1), np.cumsum(n_relevant, axis=1)
    unknown = ~answerable(n_relevant)
    precision = _unanswered(unknown, found / np.maximum(inside, 1))
    recall = _unanswered(unknown, found / np.maximum(found[:, -1:], 1))
    return PrecisionRecall(precision, recall, inside == 0)


def _curve(points: Sequence[Tied]) -> Tied:
    return Tied(*(np.stack(values, axis=1) for values in zip(*points, strict=True)))


def _before(counts: Counts) -> Counts:
    """Return the number in nearer buckets: exclusive cumulative sum along axis 1."""
    return np.cumsum(counts, axis=1) - counts


def _slots(n: Counts, k: int | Counts) -> Counts:
    """Return the number of the first k ranks, a number or [Q, 1], that each bucket fills, int64 [Q, bits+1]."""
    return np.clip(k - _before(n), 0, n)


def _hits(n: Counts, n_relevant: Counts, k: int | Counts) -> tuple[Floats, Floats, Floats]:
    """Return the number of relevant documents among the first k: expected, best, worst, float64 [Q]."""
    slots = _slots(n, k)
    expected = (n_relevant * (slots / np.maximum(n, 1))).sum(axis=1)
    best = np.minimum(slots, n_relevant).sum(axis=1)
    worst = np.maximum(slots - (n - n_relevant), 0).sum(axis=1)
    return expected, best.astype(np.float64), worst.astype(np.float64)


def _harmonic(count: Counts) -> Floats:
    """Return the harmonic number H(count) minus Euler's constant: only differences are used."""
    return digamma(count + 1.0)


def _first_of_several(nearer: Counts, size: Counts, relevant: Counts, last: np.int64) -> Floats:
    """Return E[1/rank of the first relevant document], float64 [Q], for one bucket per query with two or more."""
    total = np.zeros(len(size))
    survival = np.ones(len(size))  # probability that no relevant document has been seen
    active, start = np.arange(len(size)), 0
    while active.size:
        drawn = start + np.arange(_CHUNK)[None]
        left = np.maximum(size[active, None] - drawn, 1)
        chance = np.minimum(relevant[active, None] / left, 1.0)
        misses = np.cumprod(1.0 - chance, axis=1)
        alive = survival[active, None] * np.concatenate([np.ones((len(active), 1)), misses[:, :-1]], axis=1)
        rank = nearer[active, None] + drawn + 1
        total[active] += np.where(rank <= last, alive * chance / rank, 0.0).sum(axis=1)
        survival[active] *= misses[:, -1]
        start += _CHUNK
        active = active[(survival[active] > _NEGLIGIBLE) & (nearer[active] + start < last)]
    return total


def _tied(n_relevant: Counts, expected: Floats, best: Floats, worst: Floats) -> Tied:
    unknown = ~answerable(n_relevant)
    return Tied(*(_unanswered(unknown, value) for value in (expected, best, worst)))


def _unanswered(unknown: NDArray[np.bool_], values: Floats) -> Floats:
    """Set the rows of queries without a relevant document to NaN."""
    values[unknown] = np.nan
    return values


def _check(n: Counts, n_relevant: Counts, k: int | None) -> None:
    if n.ndim != 2 or n.shape != n_relevant.shape:
        raise UsageError(
            f"histograms have shapes {n.shape} and {n_relevant.shape}.", "both have to be [queries, bits+1]."
        )
    if k is not None:
        _check_k(k)


def _check_k(k: int) -> None:
    if k < 1:
        raise UsageError(f"k={k} retrieves nothing.", "give a k of 1 or more.")
