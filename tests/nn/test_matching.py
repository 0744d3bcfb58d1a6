"""Distances between batches of codes against brute force, other solvers, and what must not change them."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from texthash.nn import matching
from texthash.nn.matching import (
    fair_coins,
    hamming_distances,
    hamming_kernel,
    inverse_multiquadric_kernel,
    maximum_mean_discrepancy,
    moment_discrepancy,
    sinkhorn_divergence,
    squared_distances,
)

KERNELS = [hamming_kernel, inverse_multiquadric_kernel]
SAMPLED = [*KERNELS, "sinkhorn"]


def codes(rows: int, bits: int, seed: int, share: float = 0.5) -> Tensor:
    draws = torch.rand(rows, bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (draws < share).double()


def distance(x: Tensor, y: Tensor, measure) -> Tensor:
    return sinkhorn_divergence(x, y) if measure == "sinkhorn" else maximum_mean_discrepancy(x, y, measure)


def test_hamming_distances_and_kernels_on_bits():
    x, y = codes(5, 8, 0), codes(7, 8, 1)
    differ = torch.tensor([[sum(int(a != b) for a, b in zip(r, s, strict=True)) for s in y] for r in x]).double()
    assert torch.equal(hamming_distances(x, y), differ)
    expected = sum(torch.exp(-differ / (8 * h)) for h in (0.05, 0.1, 0.2, 0.5, 1.0))
    torch.testing.assert_close(hamming_kernel(x, y), expected)
    torch.testing.assert_close(inverse_multiquadric_kernel(x, y), 4 / (4 + differ))


def test_distances_keep_their_digits_under_autocast():
    x, y = codes(4, 1024, 0).float(), codes(4, 1024, 1).float()
    exact = hamming_distances(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(hamming_distances(x, y), exact)
        assert torch.equal(squared_distances(x, y), exact)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_the_sum_over_pairs(kernel):
    x, y = codes(6, 8, 0, 0.3), codes(9, 8, 1)

    def mean(a: Tensor, b: Tensor, same: bool) -> float:
        pairs = [
            float(kernel(r[None], s[None])) for i, r in enumerate(a) for j, s in enumerate(b) if not same or i != j
        ]
        return sum(pairs) / len(pairs)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert float(maximum_mean_discrepancy(x, y, kernel)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_zero_in_the_mean_for_equal_distributions_and_not_for_others(kernel):
    def mean(share: float) -> tuple[float, float]:
        draws = [
            float(maximum_mean_discrepancy(codes(16, 8, 2 * s, share), codes(16, 8, 2 * s + 1), kernel))
            for s in range(400)
        ]
        return float(np.mean(draws)), float(np.std(draws) / 20)

    alike, error = mean(0.5)
    assert abs(alike) < 3.5 * error
    unlike, error = mean(0.2)
    assert unlike > 10 * error


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_of_a_batch_with_itself_lacks_only_the_diagonal(kernel):
    x = codes(10, 8, 0)
    gram = kernel(x, x)
    off_diagonal = (gram.sum() - gram.trace()) / 90
    expected = -2 / 10 * (gram.diagonal().mean() - off_diagonal)
    torch.testing.assert_close(maximum_mean_discrepancy(x, x, kernel), expected)


@pytest.mark.parametrize("measure", SAMPLED)
def test_the_order_of_documents_and_of_bits_does_not_matter(measure):
    x, y = codes(12, 8, 0, 0.3), codes(12, 8, 1)
    value = distance(x, y, measure)
    rows, bits = torch.randperm(12), torch.randperm(8)
    torch.testing.assert_close(distance(x[rows], y, measure), value)
    torch.testing.assert_close(distance(x, y[rows], measure), value)
    torch.testing.assert_close(distance(x[:, bits], y[:, bits], measure), value)
    torch.testing.assert_close(distance(1 - x, 1 - y, measure), value)
    torch.testing.assert_close(distance(y, x, measure), value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("measure", SAMPLED)
def test_one_code_for_all_documents_is_far_from_the_prior_and_uniform_codes_are_near(measure):
    prior = codes(256, 16, 0)
    collapsed, spread = codes(1, 16, 1).expand(256, 16), codes(256, 16, 2)
    assert float(distance(collapsed, prior, measure)) > 10 * abs(float(distance(spread, prior, measure)))


@pytest.mark.parametrize("measure", SAMPLED)
def test_descent_on_straight_through_bits_leads_to_the_prior(measure):
    """Bits that are on with probability 0.9 are drawn to 0.5 by the gradient of samples alone."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.full((8,), 2.2).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(200):
        p = torch.sigmoid(logits).expand(64, 8)
        bits = (torch.rand(p.shape, generator=generator) < p).float()
        loss = distance(p + (bits - p).detach(), fair_coins(bits, generator), measure)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float((torch.sigmoid(logits) - 0.5).abs().mean().detach()) < 0.1


def test_sinkhorn_is_zero_for_equal_batches_and_above_zero_else():
    x = codes(20, 8, 0)
    assert float(sinkhorn_divergence(x, x)) == pytest.approx(0.0, abs=1e-12)
    assert float(sinkhorn_divergence(x, x[torch.randperm(20)])) == pytest.approx(0.0, abs=1e-6)
    for seed in range(1, 20):
        assert float(sinkhorn_divergence(x, codes(20, 8, seed))) > 0


def entropic_transport(x: Tensor, y: Tensor, epsilon: float) -> float:
    """min_P <P, C> + epsilon KL(P || a x b), by plain scaling of the matrix, to convergence."""
    cost = hamming_distances(x, y).numpy() / x.shape[1]
    kernel = np.exp(-cost / epsilon)
    a, b = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    v = np.ones(len(y))
    for _ in range(20_000):
        u = a / (kernel @ v)
        v = b / (kernel.T @ u)
    plan = u[:, None] * kernel * v
    np.testing.assert_allclose(plan.sum(axis=1), a, atol=1e-12)
    return float((plan * cost).sum() + epsilon * (plan * np.log(plan / np.outer(a, b))).sum())


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_sinkhorn_is_the_debiased_entropic_transport(epsilon):
    x, y = codes(10, 8, 0, 0.3), codes(14, 8, 1)
    expected = (
        entropic_transport(x, y, epsilon)
        - entropic_transport(x, x, epsilon) / 2
        - entropic_transport(y, y, epsilon) / 2
    )
    assert float(sinkhorn_divergence(x, y, epsilon)) == pytest.approx(expected, rel=1e-3)


def test_sinkhorn_tends_to_the_cheapest_assignment_without_entropy():
    x, y = codes(12, 8, 0, 0.3), codes(12, 8, 1)
    cost = hamming_distances(x, y) / 8
    cheapest = float(cost[linear_sum_assignment(cost.numpy())].mean())
    assert float(sinkhorn_divergence(x, y, 1e-3, 5_000)) == pytest.approx(cheapest, abs=2e-3 * math.log(12))


def test_sinkhorn_has_the_gradient_of_its_value():
    """At a converged plan, against finite differences."""
    x, y = torch.rand(6, 4, dtype=torch.float64).requires_grad_(), codes(6, 4, 1)
    assert torch.autograd.gradcheck(lambda z: sinkhorn_divergence(z, y, 0.3, 300), x)


def test_moments_of_the_aggregated_posterior_are_all_that_counts():
    """Certain codes that are spread and uncertain codes that are all alike have the same aggregated posterior."""
    certain = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert float(moment_discrepancy(certain)) == 0
    assert float(moment_discrepancy(torch.full_like(certain, 0.5))) == 0
    collapsed = torch.ones(4, 2, dtype=torch.float64)
    assert float(moment_discrepancy(collapsed)) == pytest.approx(0.5)
    copies = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert float(moment_discrepancy(copies)) == pytest.approx(2 * 0.25**2)


def test_moments_of_probabilities_are_those_of_sampled_codes():
    p = torch.rand(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 2
    repeated = p.repeat(4_000, 1)
    z = (torch.rand(repeated.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) < repeated).numpy()
    covariance = np.cov(z.T, bias=True)
    np.fill_diagonal(covariance, 0)
    expected = ((z.mean(axis=0) - 0.5) ** 2).sum() + (covariance**2).sum()
    assert float(matching.moment_discrepancy(p)) == pytest.approx(expected, rel=0.02)


def test_fair_coins_are_fair():
    z = fair_coins(torch.empty(20_000, 4), torch.Generator().manual_seed(0))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert z.mean(dim=0).tolist() == pytest.approx([0.5] * 4, abs=0.02)


@pytest.mark.parametrize("measure", SAMPLED)
def test_a_batch_of_one_is_no_division_by_zero(measure):
    x = codes(1, 8, 0).requires_grad_()
    value = distance(x, codes(1, 8, 1), measure)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
