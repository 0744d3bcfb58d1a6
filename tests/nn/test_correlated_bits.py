"""Correlated bits against enumeration of all 2^8 codes: Boltzmann machines, bounds of the divergence, covariances."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from texthash.nn.correlated_bits import bit_mixture_kl, low_rank_gaussian_sample
from texthash.nn.priors import bernoulli_kl

BITS, RANK = 8, 2
CODES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)


@pytest.fixture
def posterior() -> tuple[Tensor, Tensor, Tensor]:
    """Mean [1, 8], std [1, 8] and factors [1, 8, 2] of r for one document."""
    generator = torch.Generator().manual_seed(3)
    mean, std = (torch.randn(1, BITS, generator=generator, dtype=torch.float64) for _ in range(2))
    factors = torch.randn(1, BITS, RANK, generator=generator, dtype=torch.float64)
    return 0.5 * mean, 0.3 * std.abs(), factors


def sample(posterior: tuple[Tensor, Tensor, Tensor], samples: int, seed: int = 0) -> Tensor:
    return low_rank_gaussian_sample(*posterior, samples, torch.Generator().manual_seed(seed))


def log_probability(logits: Tensor) -> Tensor:
    """log prod_j Bern(s_j; sigma(r_j)) of all codes s, [M, 256], from r [M, 8]."""
    return logits @ CODES.T - torch.nn.functional.softplus(logits).sum(dim=1, keepdim=True)


def exact_kl(logits: Tensor) -> float:
    """KL(1/M sum_a prod_j Bern(sigma(r_j^a)) || uniform) from r [M, 8], over all codes."""
    log_q = torch.logsumexp(log_probability(logits), dim=0) - math.log(len(logits))
    return float((log_q.exp() * (log_q + BITS * math.log(2))).sum())


def test_samples_have_the_mean_and_covariance_they_were_asked_for(posterior):
    mean, std, factors = posterior
    r = sample(posterior, 200_000)[0]
    torch.testing.assert_close(r.mean(dim=0), mean[0], rtol=0, atol=0.02)
    expected = torch.diag(std[0].square()) + factors[0] @ factors[0].T
    torch.testing.assert_close(torch.cov(r.T), expected, rtol=0, atol=0.05)


def test_weighted_by_one_plus_exp_r_the_samples_are_a_boltzmann_machine(posterior):
    """Its normaliser, its distribution and its entropy, against the sums over all codes."""
    mean, std, factors = posterior[0] - 1, posterior[1] / 2, posterior[2] / 2
    covariance = torch.diag(std[0].square()) + factors[0] @ factors[0].T
    energy = 0.5 * ((CODES @ covariance) * CODES).sum(dim=1) + CODES @ mean[0]
    log_b = torch.log_softmax(energy, dim=0)
    r = sample((mean, std, factors), 200_000)[0]
    log_weight = torch.nn.functional.softplus(r).sum(dim=1)
    normaliser = torch.logsumexp(log_weight, dim=0) - math.log(len(r))
    assert float(normaliser) == pytest.approx(float(torch.logsumexp(energy, dim=0)), abs=0.02)
    found = (torch.softmax(log_weight, dim=0) @ log_probability(r).exp()).log()
    torch.testing.assert_close(found.exp(), log_b.exp(), rtol=0, atol=0.003)
    entropy = [-float((log_p.exp() * log_p).sum()) for log_p in (found, log_b)]
    assert entropy[0] == pytest.approx(entropy[1], abs=0.02)


def test_bits_are_correlated_where_u_couples_them_and_only_there(posterior):
    mean, std, factors = posterior
    coupled = factors.clone()
    coupled[:, BITS // 2 :] = 0
    for u, correlated in ((coupled, BITS // 2), (torch.zeros_like(factors), 0)):
        r = sample((mean, std, u), 100_000)[0]
        s = torch.bernoulli(torch.sigmoid(r), generator=torch.Generator().manual_seed(1))
        covariance = torch.cov(s.T).fill_diagonal_(0).abs()
        apart = covariance.clone()
        apart[:correlated, :correlated] = 0
        assert float(apart.max()) < 0.006, "no more than sampling leaves: 5 deviations are .004"
        if correlated:
            assert float(covariance[:correlated, :correlated].max()) > 0.03


def test_of_one_component_the_estimate_is_the_conditional_divergence_in_the_mean():
    logits = torch.randn(1, 1, BITS, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    kl = bit_mixture_kl(logits.expand(200_000, 1, BITS), torch.Generator().manual_seed(0))
    exact = bernoulli_kl(logits[0])
    assert float(kl.detach().mean()) == pytest.approx(float(exact.detach()), abs=0.02)
    found, expected = (torch.autograd.grad(value.mean(), logits, retain_graph=True)[0] for value in (kl, exact))
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_the_estimate_has_the_divergence_of_the_mixture_as_its_mean(posterior):
    r = sample(posterior, 4)
    kl = bit_mixture_kl(r.expand(200_000, 4, BITS), torch.Generator().manual_seed(0))
    assert float(kl.mean()) == pytest.approx(exact_kl(r[0]), abs=0.02)
    assert float(kl.min()) < 0, "a single estimate may be"


def test_the_bound_falls_with_the_components_towards_the_divergence_itself(posterior):
    limit = exact_kl(sample(posterior, 20_000, seed=9)[0])
    bounds = []
    for samples in (1, 4, 16, 64):
        documents = tuple(value.expand(4_000, *value.shape[1:]) for value in posterior)
        r = low_rank_gaussian_sample(*documents, samples, torch.Generator().manual_seed(0))
        bounds.append(sum(map(exact_kl, r)) / len(r) if samples <= 4 else sum(map(exact_kl, r[:500])) / 500)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > limit + 0.3
    assert limit - 0.02 < bounds[-1] < limit + 0.1


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[[-1e4, 1e4], [50.0, -50.0]]], requires_grad=True)
    kl = bit_mixture_kl(logits)
    kl.sum().backward()
    assert torch.isfinite(kl).all()
    assert torch.isfinite(logits.grad).all()
