"""The paired test: exact where all signs can be drawn, right about chance, and careful with what cannot be paired."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test as scipys

from texthash.errors import UsageError
from texthash.evaluation.significance import hierarchical_interval, holm, paired, permutation_test
from texthash.reporting.pareto import non_dominated


@given(st.lists(st.integers(-3, 3), min_size=3, max_size=9))
def test_p_is_near_the_share_of_all_signs_that_reach_the_difference(values):
    differences = np.array(values, np.float64) / 10
    signs = np.array(list(product((-1, 1), repeat=len(values))))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean()
    (p,) = permutation_test(differences[:, None], rounds=4999)
    assert p == pytest.approx(exact, abs=0.04)


def test_it_agrees_with_scipy():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(300), rng.random(300) + 0.03
    expected = scipys(
        (ours, theirs), lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples", vectorized=True, rng=1
    )
    found = paired(ours, theirs)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert found.difference == pytest.approx(expected.statistic)


def test_chance_is_found_significant_as_often_as_the_level_says():
    rng = np.random.default_rng(3)
    p = permutation_test(rng.standard_normal((60, 1000)), rounds=999)
    assert 0.03 < (p < 0.05).mean() < 0.07


def test_a_difference_on_every_query_is_as_sure_as_the_draws_allow():
    found = paired(np.full(50, 0.4), np.full(50, 0.1))
    assert (found.difference, found.p) == (pytest.approx(0.3), 1e-4)


def test_queries_without_a_figure_are_left_out_and_others_cannot_be_paired():
    found = paired(np.array([np.nan, 0.5, 0.5, 0.2]), np.array([0.1, 0.5, np.nan, 0.4]))
    assert (found.queries, found.difference, found.p) == (2, pytest.approx(-0.1), pytest.approx(1.0, abs=0.01))
    with pytest.raises(UsageError, match="4 and of 3 queries"):
        paired(np.zeros(4), np.zeros(3))
    with pytest.raises(UsageError, match="no query"):
        paired(np.array([np.nan]), np.array([0.1]))


def test_holm_on_the_example_of_a_textbook():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])


def test_the_front_holds_what_nothing_surpasses():
    points = [[0.5, -4], [0.5, -2], [0.6, -8], [0.4, -2], [0.5, -2]]
    assert non_dominated(points).tolist() == [False, True, True, False, True]


def test_the_interval_of_a_mean_over_seeds_and_queries_covers_both():
    rng = np.random.default_rng(5)
    queries, seeds = rng.normal(0.5, 0.2, 400), rng.normal(0.0, 0.05, 6)
    scores = queries[None] + seeds[:, None]
    low, high = hierarchical_interval(scores)
    expected = 1.96 * np.sqrt(queries.var() / 400 + seeds.var() / 6)
    assert (low + high) / 2 == pytest.approx(scores.mean(), abs=0.005)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.12)
    of_one = hierarchical_interval(scores[:1])
    assert of_one[1] - of_one[0] < 0.7 * (high - low), "one seed says nothing of other seeds"


def test_the_difference_of_two_systems_is_paired_by_query():
    rng = np.random.default_rng(6)
    queries = rng.normal(0.5, 0.2, 400)
    ours, theirs = queries + 0.03 + rng.normal(0, 0.01, (5, 400)), queries[None]
    low, high = hierarchical_interval(ours, theirs)
    assert low > 0.025
    assert high < 0.035
    with pytest.raises(UsageError, match="the same queries"):
        hierarchical_interval(ours, theirs[:, :-1])
    with pytest.raises(UsageError, match="the same queries"):
        hierarchical_interval(np.array([[np.nan, 0.1]]))
