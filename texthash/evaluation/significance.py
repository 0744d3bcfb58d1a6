"""Paired tests over queries: is one ranking better than another on the queries that both were asked?

The test is the permutation test of paired differences (Fisher's randomisation test; Smucker, Allan and Carterette,
"A comparison of statistical significance tests for information retrieval evaluation", CIKM 2007). With no difference
between two systems, which of them a query's two figures belong to is arbitrary, so the sign of each difference d_q is:

    T = |mean_q s_q d_q|,  s_q = +1 or -1 with equal chance;   p = (1 + #{T >= |mean_q d_q|}) / (1 + R)

over R draws of all signs. It says what holds for other queries of this kind, not for other seeds of a training.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError

ROUNDS = 9_999
LEVEL = 0.05
_BLOCK = 1_000  # draws of all signs held at once
_SLACK = 1e-12  # of sums that differ by rounding alone


class Paired(NamedTuple):
    """How one system compares with another.

    Attributes:
        difference: Mean over the queries that both have a figure for.
        low, high: 95% confidence interval of it, by the normal approximation.
        p: Of the permutation test, two-sided.
        queries: How many there were.
    """

    difference: float
    low: float
    high: float
    p: float
    queries: int


def permutation_test(differences: NDArray[np.float64], rounds: int = ROUNDS, seed: int = 0) -> NDArray[np.float64]:
    """Two-sided p-values of paired differences, float64 [M]; all M tests take the same draws of signs.

    Args:
        differences: [Q, M], one column a comparison, finite.
        rounds: R, the number of draws; the smallest p is 1 / (1 + R).
        seed: Of the draws.
    """
    queries, tests = differences.shape
    if not queries:
        raise UsageError(
            "there is no query to compare by.", "compare two evaluations that were asked the same queries."
        )
    observed = np.abs(differences.sum(axis=0))
    bound = observed - _SLACK * np.abs(differences).sum(axis=0)
    rng = np.random.default_rng(seed)
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
    """Compare figures of the same queries, float64 [Q] each; queries without a figure (NaN) are left out.

    Raises:
        UsageError: of different queries.
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


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values adjusted for M tests at once (Holm, 1979): the chance of any false finding stays below the level."""
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) - np.arange(len(p)))
    out = np.empty_like(scaled)
    out[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return out
