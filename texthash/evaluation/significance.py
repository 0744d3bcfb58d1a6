"""Paired significance tests of two rankings over the queries that both answered.

The test is the permutation test of paired differences (Fisher's randomisation test; Smucker, Allan and Carterette,
"A comparison of statistical significance tests for information retrieval evaluation", CIKM 2007). With no difference
between two systems, which of them a query's two figures belong to is arbitrary, so the sign of each difference d_q is:

    T = |mean_q s_q d_q|,  s_q = +1 or -1 with equal chance;   p = (1 + #{T >= |mean_q d_q|}) / (1 + R)

over R draws of all signs. The conclusion extends to other queries of this kind, not to other seeds of the training;
:func:`hierarchical_interval` resamples both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError

ROUNDS = 9_999
_BOOTSTRAPS = 2_000  # rounds of an interval
LEVEL = 0.05
_BLOCK = 1_000  # draws of all signs held at once
_SLACK = 1e-12  # relative tolerance, for sums that differ by rounding alone


class Paired(NamedTuple):
    """Result of a paired comparison of two systems.

    Attributes:
        difference: Mean difference over the queries that both have a value for.
        low, high: 95% confidence interval of the difference, by the normal approximation.
        p: Two-sided p-value of the permutation test.
        queries: Number of queries compared.
    """

    difference: float
    low: float
    high: float
    p: float
    queries: int


def permutation_test(differences: NDArray[np.float64], rounds: int = ROUNDS) -> NDArray[np.float64]:
    """Return two-sided p-values of paired differences, float64 [M]; all M tests share the same draws of signs.

    Args:
        differences: Differences [Q, M], one column per comparison, finite.
        rounds: R, the number of draws; the smallest p is 1 / (1 + R).

    Raises:
        UsageError: There are no queries.
    """
    queries, tests = differences.shape
    if not queries:
        raise UsageError("there is no query to compare by.", "compare two evaluations of the same queries.")
    observed = np.abs(differences.sum(axis=0))
    bound = observed - _SLACK * np.abs(differences).sum(axis=0)
    rng = np.random.default_rng(0)
    reached = np.zeros(tests, np.int64)
    values = differences.astype(np.float64)
    for start in range(0, rounds, _BLOCK):
        count = min(_BLOCK, rounds - start)
        bits = np.unpackbits(rng.integers(0, 256, (count, -(-queries // 8)), np.uint8), axis=1, count=queries)
        # sum s d = 2 sum_{s=+1} d - sum d
        drawn = 2 * (bits.astype(np.float64) @ values) - values.sum(axis=0)
        reached += (np.abs(drawn) >= bound).sum(axis=0)
    return (1 + reached) / (1 + rounds)


def paired(ours: NDArray[np.float64], theirs: NDArray[np.float64], rounds: int = ROUNDS) -> Paired:
    """Compare per-query scores of the same queries, float64 [Q] each; queries without a value (NaN) are left out.

    Raises:
        UsageError: The numbers of queries differ, or no query is left.
    """
    if len(ours) != len(theirs):
        raise UsageError(
            f"figures of {len(ours)} and of {len(theirs)} queries cannot be paired.",
            "compare evaluations of one corpus, edition and split.",
        )
    known = ~(np.isnan(ours) | np.isnan(theirs))
    found = (ours - theirs)[known]
    p = float(permutation_test(found[:, None], rounds)[0])
    mean = float(found.mean())
    reach = 1.96 * float(found.std(ddof=1)) / np.sqrt(len(found)) if len(found) > 1 else float("nan")
    return Paired(mean, mean - reach, mean + reach, p, len(found))


def hierarchical_interval(ours: NDArray[np.float64], theirs: NDArray[np.float64] | None = None) -> tuple[float, float]:
    """Return the 95% bootstrap interval of a mean over seeds and queries, or of the difference of two such means.

    A round draws seeds with replacement, for each system on its own, and then queries, the same for both systems
    (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). From few seeds it is too
    narrow: with one, it says nothing of other seeds.

    Args:
        ours: Scores, float64 [seeds, queries], without NaN.
        theirs: Scores of another system of the same queries, float64 [its seeds, queries]; None for none.

    Raises:
        UsageError: The numbers of queries differ, or a score is missing.
    """
    systems = [ours] if theirs is None else [ours, theirs]
    if len({scores.shape[1] for scores in systems}) != 1 or any(np.isnan(scores).any() for scores in systems):
        raise UsageError(
            "the systems have no scores of the same queries.", "leave out queries that one of them has no score of."
        )
    rng = np.random.default_rng(0)
    queries = ours.shape[1]
    means = np.empty(_BOOTSTRAPS)
    for number in range(_BOOTSTRAPS):
        drawn = [scores[rng.integers(0, len(scores), len(scores))].mean(axis=0) for scores in systems]
        difference = drawn[0] if theirs is None else drawn[0] - drawn[1]
        means[number] = difference[rng.integers(0, queries, queries)].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted for M simultaneous tests (Holm, 1979), which bounds the family-wise error rate."""
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) - np.arange(len(p)))
    out = np.empty_like(scaled)
    out[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return out
