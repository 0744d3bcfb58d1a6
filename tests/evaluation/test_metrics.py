"""Each closed form against the plain metric, averaged over every order of the tied documents."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texthash.errors import UsageError
from texthash.evaluation import metrics

BITS = 3
Plain = Callable[[list[int]], float]


@st.composite
def rankings(draw: st.DrawFn, max_documents: int = 6, max_gain: int = 1) -> tuple[list[int], list[int]]:
    """Distances and gains of a small database, at least one document relevant."""
    size = draw(st.integers(1, max_documents))
    distances = draw(st.lists(st.integers(0, BITS), min_size=size, max_size=size))
    gains = draw(st.lists(st.integers(0, max_gain), min_size=size, max_size=size).filter(any))
    return distances, gains


def histograms(distances: list[int], gains: list[int], bits: int = BITS) -> tuple[np.ndarray, np.ndarray]:
    relevant = [d for d, gain in zip(distances, gains, strict=True) if gain]
    return (
        np.bincount(distances, minlength=bits + 1)[None].astype(np.int64),
        np.bincount(np.array(relevant, np.int64), minlength=bits + 1)[None].astype(np.int64),
    )


def graded(distances: list[int], gains: list[int], max_gain: int) -> np.ndarray:
    out = np.zeros((1, BITS + 1, max_gain + 1), np.int64)
    np.add.at(out[0], (distances, gains), 1)
    return out


def over_all_orders(distances: list[int], gains: list[int], plain: Plain) -> tuple[float, float, float]:
    """Mean, maximum and minimum of a plain metric of the ranked gains over all orders of tied documents."""
    values = [
        plain([gains[i] for i in sorted(order, key=lambda i: distances[i])])
        for order in itertools.permutations(range(len(gains)))
    ]
    return float(np.mean(values)), max(values), min(values)


def agree(tied: metrics.Tied, reference: tuple[float, float, float]) -> None:
    got = [float(np.ravel(value)[0]) for value in tied]
    assert got == pytest.approx(list(reference), abs=1e-12)
    assert got[2] - 1e-12 <= got[0] <= got[1] + 1e-12


def plain_ap(ranked: list[int], k: int | None) -> float:
    found, total = 0, 0.0
    for rank, relevant in enumerate(ranked[:k], start=1):
        found += relevant
        total += relevant * found / rank
    return total / (sum(ranked) if k is None else min(sum(ranked), k))


def plain_rr(ranked: list[int], k: int | None) -> float:
    return next((1 / rank for rank, relevant in enumerate(ranked[:k], start=1) if relevant), 0.0)


def plain_ndcg(ranked: list[int], k: int) -> float:
    def dcg(gains: list[int]) -> float:
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))

    return dcg(ranked) / dcg(sorted(ranked, reverse=True))


cuts = st.integers(1, 8)  # beyond the six documents too
optional_cuts = st.none() | cuts


@given(rankings(), cuts)
def test_precision_equals_all_orders(ranking, k):
    reference = over_all_orders(*ranking, lambda ranked: sum(ranked[:k]) / k)
    agree(metrics.precision_at_k(*histograms(*ranking), k), reference)


@given(rankings(), cuts)
def test_recall_equals_all_orders(ranking, k):
    reference = over_all_orders(*ranking, lambda ranked: sum(ranked[:k]) / sum(ranked))
    agree(metrics.recall_at_k(*histograms(*ranking), k), reference)


@given(rankings(), cuts)
def test_hit_equals_all_orders(ranking, k):
    reference = over_all_orders(*ranking, lambda ranked: float(any(ranked[:k])))
    agree(metrics.hit_at_k(*histograms(*ranking), k), reference)


@given(rankings(), optional_cuts)
def test_average_precision_equals_all_orders(ranking, k):
    reference = over_all_orders(*ranking, lambda ranked: plain_ap(ranked, k))
    agree(metrics.average_precision(*histograms(*ranking), k), reference)


@given(rankings(), optional_cuts)
def test_reciprocal_rank_equals_all_orders(ranking, k):
    reference = over_all_orders(*ranking, lambda ranked: plain_rr(ranked, k))
    agree(metrics.reciprocal_rank(*histograms(*ranking), k), reference)


@given(rankings(max_gain=3), cuts)
def test_ndcg_equals_all_orders(ranking, k):
    reference = over_all_orders(*ranking, lambda ranked: plain_ndcg(ranked, k))
    agree(metrics.ndcg_at_k(graded(*ranking, max_gain=3), k), reference)


@settings(max_examples=8, deadline=None)
@given(rankings(max_documents=7))
def test_seven_documents(ranking):
    agree(
        metrics.average_precision(*histograms(*ranking)),
        over_all_orders(*ranking, lambda ranked: plain_ap(ranked, None)),
    )


@given(rankings(max_documents=30), st.integers(0, BITS))
def test_radius_precision_is_the_share_within_the_ball(ranking, radius):
    inside = [gain for d, gain in zip(*ranking, strict=True) if d <= radius]
    got = metrics.radius_precision(*histograms(*ranking), radius)
    assert got.precision[0] == pytest.approx(sum(inside) / len(inside) if inside else 0.0)
    assert got.empty[0] == (not inside)


@given(rankings(max_documents=30))
def test_pr_curve_is_the_ball_at_each_radius(ranking):
    curve = metrics.pr_curve(*histograms(*ranking))
    for radius in range(BITS + 1):
        inside = [gain for d, gain in zip(*ranking, strict=True) if d <= radius]
        assert curve.precision[0, radius] == pytest.approx(sum(inside) / len(inside) if inside else 0.0)
        assert curve.recall[0, radius] == pytest.approx(sum(inside) / sum(ranking[1]))
        assert curve.empty[0, radius] == (not inside)


# -- the properties that any such module must have (beyond brute force) -----------------------------------------------


@pytest.mark.parametrize("k", [1, 7, 100, 1000])
def test_equal_codes_give_the_prevalence(k):
    n, relevant = np.array([[1000, 0]]), np.array([[50, 0]])
    assert metrics.precision_at_k(n, relevant, k).expected[0] == pytest.approx(0.05)
    # E[AP] of a random order is the prevalence plus a term in log(N)/N
    assert metrics.average_precision(n, relevant).expected[0] == pytest.approx(0.05, abs=0.008)


def test_distinct_distances_give_the_plain_metrics():
    generator = np.random.default_rng(0)
    distances = generator.permutation(201)[:150].tolist()
    gains = generator.integers(0, 2, 150).tolist()
    ranked = [gain for _, gain in sorted(zip(distances, gains, strict=True))]
    n, relevant = histograms(distances, gains, bits=200)
    for tied, plain in [
        (metrics.precision_at_k(n, relevant, 20), sum(ranked[:20]) / 20),
        (metrics.average_precision(n, relevant), plain_ap(ranked, None)),
        (metrics.reciprocal_rank(n, relevant), plain_rr(ranked, None)),
        (metrics.recall_at_k(n, relevant, 20), sum(ranked[:20]) / sum(ranked)),
    ]:
        agree(tied, (plain, plain, plain))


def large_case(queries: int = 40, documents: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    n = generator.multinomial(documents, generator.dirichlet(np.ones(17)), size=queries)
    return n, generator.binomial(n, generator.uniform(0, 0.3, size=(queries, 1)))


def test_worst_expected_best_in_order_on_a_large_case():
    n, relevant = large_case()
    graded_histogram = np.stack([n - relevant, relevant], axis=2)
    for tied in (
        metrics.precision_at_k(n, relevant, 100),
        metrics.recall_at_k(n, relevant, 100),
        metrics.hit_at_k(n, relevant, 3),
        metrics.average_precision(n, relevant),
        metrics.average_precision(n, relevant, 100),
        metrics.reciprocal_rank(n, relevant),
        metrics.ndcg_at_k(graded_histogram, 100),
    ):
        known = metrics.answerable(relevant)
        assert (tied.worst[known] <= tied.expected[known] + 1e-9).all()
        assert (tied.expected[known] <= tied.best[known] + 1e-9).all()
        assert (tied.worst[known] >= 0).all()
        assert (tied.best[known] <= 1 + 1e-9).all()


def test_large_buckets_agree_with_random_orders():
    """Beyond the reach of brute force: the mean over sampled orders, within its own error."""
    generator = np.random.default_rng(2)
    distances = generator.integers(0, 2, 4000)
    gains = (generator.random(4000) < np.where(distances == 0, 0.002, 0.3)).astype(int)
    n, relevant = histograms(distances.tolist(), gains.tolist())
    assert relevant[0, 0] >= 2
    samples = []
    for _ in range(400):
        ranked = gains[np.lexsort((generator.random(4000), distances))]
        found = np.flatnonzero(ranked)
        samples.append((float(np.mean(np.arange(1, found.size + 1) / (found + 1))), 1.0 / (found[0] + 1)))
    means, errors = np.mean(samples, axis=0), np.std(samples, axis=0) / math.sqrt(len(samples))
    assert abs(metrics.average_precision(n, relevant).expected[0] - means[0]) < 5 * errors[0]
    assert abs(metrics.reciprocal_rank(n, relevant).expected[0] - means[1]) < 5 * errors[1]


def test_rows_do_not_disturb_each_other():
    n, relevant = large_case()
    for function in (metrics.average_precision, metrics.reciprocal_rank, lambda a, b: metrics.hit_at_k(a, b, 5)):
        together = function(n, relevant).expected
        alone = np.concatenate([function(n[i : i + 1], relevant[i : i + 1]).expected for i in range(len(n))])
        np.testing.assert_allclose(together, alone, atol=1e-12)


def test_queries_without_relevant_documents_are_left_out_and_counted():
    n, relevant = np.array([[4, 0], [2, 2]]), np.array([[0, 0], [2, 0]])
    assert metrics.answerable(relevant).tolist() == [False, True]
    tied = metrics.precision_at_k(n, relevant, 2)
    assert np.isnan(tied.expected[0])
    assert tied.mean() == (1.0, 1.0, 1.0)
    for other in (
        metrics.average_precision(n, relevant),
        metrics.reciprocal_rank(n, relevant),
        metrics.hit_at_k(n, relevant, 1),
        metrics.recall_at_k(n, relevant, 1),
        metrics.ndcg_at_k(np.stack([n - relevant, relevant], axis=2), 2),
    ):
        assert np.isnan([values[0] for values in other]).all()
        assert not np.isnan([values[1] for values in other]).any()
    assert np.isnan(metrics.radius_precision(n, relevant, 0).precision[0])
    assert np.isnan(metrics.precision_at_k(n[:1], relevant[:1], 2).mean()).all()


def test_k_beyond_the_database_keeps_its_denominator():
    n, relevant = np.array([[3, 1]]), np.array([[1, 1]])
    assert metrics.precision_at_k(n, relevant, 100).expected[0] == pytest.approx(2 / 100)
    assert metrics.recall_at_k(n, relevant, 100).expected[0] == 1.0
    assert metrics.hit_at_k(n, relevant, 100).worst[0] == 1.0


def test_curve_holds_each_cut():
    n, relevant = large_case()
    curve = metrics.precision_curve(n, relevant, (1, 10, 100))
    assert curve.expected.shape == (40, 3)
    np.testing.assert_array_equal(curve.best[:, 1], metrics.precision_at_k(n, relevant, 10).best)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: metrics.precision_at_k(np.zeros((1, 3), int), np.zeros((1, 2), int), 1), r"\(1, 2\)"),
        (lambda: metrics.recall_at_k(np.zeros((1, 3), int), np.zeros((1, 3), int), 0), "k=0"),
        (lambda: metrics.ndcg_at_k(np.zeros((1, 3), int), 5), "3 dimensions"),
        (lambda: metrics.radius_precision(np.zeros((1, 3), int), np.zeros((1, 3), int), -1), "radius=-1"),
    ],
)
def test_wrong_use_names_the_value(call, named):
    with pytest.raises(UsageError, match=named):
        call()
