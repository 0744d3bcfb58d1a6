"""Similarities by labels, and ridge regression: plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from texthash.nn.label_similarity import weighted_percentage
from texthash.nn.ridge import ridge


def test_it_is_the_mean_of_jaccard_and_cosine() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.random((n, 6)) * (rng.random((n, 6)) < 0.4) for n in (5, 7))
    second[0] = 0
    found = weighted_percentage(torch.from_numpy(first), torch.from_numpy(second), share=0.5)
    for i, one in enumerate(first):
        for j, two in enumerate(second):
            sets = set(np.flatnonzero(one)), set(np.flatnonzero(two))
            jaccard = len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1]))
            lengths = np.linalg.norm(one) * np.linalg.norm(two)
            cosine = one @ two / lengths if lengths else 0.0
            assert found[i, j].item() == pytest.approx((jaccard + 0.5 * cosine) / 1.5)


def test_equal_sets_of_other_weights_are_not_the_same() -> None:
    one, two = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.1, 0.9]])
    assert weighted_percentage(one, two).item() == pytest.approx((1 + 0.18 / 0.82) / 2)
    assert weighted_percentage(one, one).item() == pytest.approx(1)
    assert weighted_percentage(torch.zeros(1, 2), one).item() == 0


def test_ridge_solves_the_normal_equations() -> None:
    rng = np.random.default_rng(1)
    rows = rng.random((40, 9)) * (rng.random((40, 9)) < 0.5)
    targets = rng.standard_normal((40, 3))
    weights, offset = ridge(csr_matrix(rows.astype(np.float32)), targets, 0.3)
    x, y = rows - rows.mean(axis=0), targets - targets.mean(axis=0)
    expected = np.linalg.solve(x.T @ x + 0.3 * np.eye(9), x.T @ y)
    np.testing.assert_allclose(weights, expected, atol=1e-3)
    np.testing.assert_allclose(offset, targets.mean(axis=0) - rows.mean(axis=0) @ expected, atol=1e-3)
