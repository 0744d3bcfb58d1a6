"""Estimators and divergences against closed forms, sampling and enumeration."""

import itertools
import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from texthash.nn.estimators import gaussian_sample, straight_through_bernoulli
from texthash.nn.priors import bernoulli_kl, categorical_kl, gaussian_kl
from texthash.nn.schedules import exponential_decay, linear_ramp


def test_gaussian_kl_is_the_textbook_divergence():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    posterior = Normal(mean.double(), (0.5 * log_variance.double()).exp())
    reference = kl_divergence(posterior, Normal(torch.zeros(5, 7).double(), 1.0)).sum(dim=1)
    assert gaussian_kl(mean.double(), log_variance.double()) == pytest.approx(reference, rel=1e-9)


@pytest.mark.parametrize("prior", [0.5, 0.2])
def test_bernoulli_kl_is_the_textbook_divergence(prior):
    logits = torch.randn(5, 7, dtype=torch.float64)
    reference = kl_divergence(Bernoulli(logits=logits), Bernoulli(torch.full((5, 7), prior, dtype=torch.float64))).sum(
        dim=1
    )
    assert bernoulli_kl(logits, prior) == pytest.approx(reference, rel=1e-9)


def test_bernoulli_kl_is_zero_only_at_one_half_and_finite_when_saturated():
    assert float(bernoulli_kl(torch.zeros(1, 8))) == pytest.approx(0.0, abs=1e-6)
    saturated = torch.full((1, 8), 200.0, requires_grad=True)
    divergence = bernoulli_kl(saturated)
    divergence.sum().backward()
    assert float(divergence) == pytest.approx(8 * math.log(2))
    assert torch.isfinite(saturated.grad).all()


def test_categorical_kl_is_the_sum_over_all_codes():
    logits = torch.randn(1, 8, 2, dtype=torch.float64)
    log_pi = torch.log_softmax(logits[0], dim=-1)
    codes = torch.tensor(list(itertools.product([0, 1], repeat=8)))
    log_q = torch.stack([log_pi[torch.arange(8), code].sum() for code in codes])
    expected = (log_q.exp() * (log_q + 8 * math.log(2))).sum()
    assert float(categorical_kl(logits)) == pytest.approx(float(expected), rel=1e-9)


def test_categorical_kl_is_the_textbook_divergence_and_of_pairs_that_of_bits():
    logits = torch.randn(5, 7, 3, dtype=torch.float64)
    reference = kl_divergence(Categorical(logits=logits), Categorical(logits=torch.zeros_like(logits))).sum(dim=1)
    assert categorical_kl(logits) == pytest.approx(reference, rel=1e-9)
    pairs = torch.randn(5, 7, 2, dtype=torch.float64)
    torch.testing.assert_close(categorical_kl(pairs), bernoulli_kl(pairs[..., 1] - pairs[..., 0]))


def test_gaussian_sample_has_the_moments_it_was_asked_for():
    mean, log_variance = torch.full((20_000, 2), 1.5), torch.full((20_000, 2), math.log(4.0))
    z = gaussian_sample(mean, log_variance, torch.Generator().manual_seed(0))
    assert z.mean(dim=0).tolist() == pytest.approx([1.5, 1.5], abs=0.06)
    assert z.std(dim=0).tolist() == pytest.approx([2.0, 2.0], abs=0.06)


def test_straight_through_bits_are_binary_and_pass_the_gradient_unchanged():
    p = torch.tensor([[0.1, 0.5001, 0.9]], requires_grad=True)
    z = straight_through_bernoulli(p, stochastic=False)
    assert z.tolist() == [[0.0, 1.0, 1.0]]
    weights = torch.tensor([[2.0, -3.0, 5.0]])
    (z * weights).sum().backward()
    assert p.grad.tolist() == weights.tolist()


def test_stochastic_bits_are_on_as_often_as_they_should():
    p = torch.full((20_000, 1), 0.3)
    z = straight_through_bernoulli(p, torch.Generator().manual_seed(0))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert float(z.mean()) == pytest.approx(0.3, abs=0.02)


def test_linear_ramp():
    assert [linear_ramp(f, 0.0, 2.0, over=0.5) for f in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.0, 2.0, 2.0]
    assert linear_ramp(0.0, 0.0, 1.0, over=0.0) == 1.0


def test_exponential_decay():
    assert [exponential_decay(f, 1.0, 0.01, over=0.5) for f in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [1.0, 0.1, 0.01, 0.01]
    )
    assert exponential_decay(0.0, 1.0, 0.1, over=0.0) == 0.1
