"""Mixture priors against sampling, enumeration of all 2^8 codes, and the priors of one component."""

import itertools

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal

from texthash.nn.mixtures import BernoulliMixture, GaussianMixture
from texthash.nn.priors import bernoulli_kl, gaussian_kl

BITS = 8
CODES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def unequal(prior: torch.nn.Module) -> torch.nn.Module:
    """The prior with all of its parameters drawn at random, in double precision."""
    for parameter in prior.double().parameters():
        torch.nn.init.normal_(parameter)
    return prior.requires_grad_(False)


def test_one_even_component_has_the_divergence_of_fair_bits():
    prior = BernoulliMixture(1, BITS, std=0.0)
    logits = 3 * torch.randn(5, BITS)
    kl = prior.joint_kl(torch.randn(5, 1), prior.divergences(logits))
    torch.testing.assert_close(kl, bernoulli_kl(logits))


def test_one_standard_component_has_the_divergence_of_the_standard_normal():
    prior = GaussianMixture(1, BITS, std=0.0)
    mean, log_variance = torch.randn(5, BITS), torch.randn(5, BITS)
    kl = prior.joint_kl(torch.randn(5, 1), prior.divergences(mean, log_variance))
    torch.testing.assert_close(kl, gaussian_kl(mean, log_variance))


def test_the_gaussian_divergence_is_the_mean_of_log_ratios_of_samples():
    prior = unequal(GaussianMixture(3, 4))
    mean, log_variance, responsibilities = (torch.randn(1, n, dtype=torch.float64) for n in (4, 4, 3))
    q_c, p_c = Categorical(logits=responsibilities[0]), Categorical(logits=prior.weights)
    q_z = Independent(Normal(mean[0], (0.5 * log_variance[0]).exp()), 1)
    p_z = Independent(Normal(prior.mean, (0.5 * prior.log_variance).exp()), 1)
    c, z = q_c.sample((200_000,)), q_z.sample((200_000,))
    log_p = p_c.log_prob(c) + p_z.log_prob(z[:, None])[torch.arange(len(c)), c]
    ratios = q_c.log_prob(c) + q_z.log_prob(z) - log_p
    kl = float(prior.joint_kl(responsibilities, prior.divergences(mean, log_variance)))
    assert kl == pytest.approx(float(ratios.mean()), abs=5 * float(ratios.std()) / len(c) ** 0.5)


def test_the_bernoulli_divergence_is_the_sum_over_all_components_and_codes():
    prior = unequal(BernoulliMixture(3, BITS))
    logits, responsibilities = torch.randn(1, BITS, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    log_q_z = Independent(Bernoulli(logits=logits[0]), 1).log_prob(CODES)[:, None]
    log_p_z = Independent(Bernoulli(logits=prior.logits), 1).log_prob(CODES[:, None])
    log_q_c, log_p_c = torch.log_softmax(responsibilities[0], 0), torch.log_softmax(prior.weights, 0)
    joint = log_q_z + log_q_c
    expected = (joint.exp() * (joint - log_p_z - log_p_c)).sum()
    kl = prior.joint_kl(responsibilities, prior.divergences(logits))
    assert float(kl) == pytest.approx(float(expected), rel=1e-9)


def test_the_best_responsibilities_give_the_least_divergence_and_bound_that_of_the_mixture():
    prior = unequal(BernoulliMixture(4, BITS))
    logits = torch.randn(6, BITS, dtype=torch.float64)
    divergences = prior.divergences(logits)
    log_pi = torch.log_softmax(prior.weights, dim=0)
    best = prior.joint_kl(log_pi - divergences, divergences)
    torch.testing.assert_close(best, -torch.logsumexp(log_pi - divergences, dim=1))
    others = torch.stack([prior.joint_kl(torch.randn(6, 4).double(), divergences) for _ in range(50)])
    assert (others > best).all()
    mixture = MixtureSameFamily(Categorical(logits=prior.weights), Independent(Bernoulli(logits=prior.logits), 1))
    log_q = Independent(Bernoulli(logits=logits), 1).log_prob(CODES[:, None])
    marginal = (log_q.exp() * (log_q - mixture.log_prob(CODES)[:, None])).sum(dim=0)
    assert (marginal < best).all()


def test_two_opposite_components_lie_nearer_than_any_one_prior_of_independent_bits():
    """Documents of two kinds, all bits on with .9 or with .1: the mixture costs each of them log 2."""
    prior = BernoulliMixture(2, BITS).requires_grad_(False)
    logits = torch.logit(torch.tensor([[0.9], [0.1]])).expand(2, BITS)
    prior.logits.copy_(logits)
    sure = torch.tensor([[50.0, -50.0], [-50.0, 50.0]])
    kl = prior.joint_kl(sure, prior.divergences(logits))
    assert kl.tolist() == pytest.approx([0.693147, 0.693147], rel=1e-4)
    single = [bernoulli_kl(logits, gamma).mean() for gamma in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert float(kl.mean()) < min(map(float, single)) / 3


def test_saturated_probabilities_and_priors_stay_finite():
    prior = BernoulliMixture(2, BITS)
    with torch.no_grad():
        prior.logits.fill_(30.0)
    logits = torch.full((1, BITS), -200.0, requires_grad=True)
    kl = prior.joint_kl(torch.zeros(1, 2), prior.divergences(logits))
    kl.sum().backward()
    assert float(kl.detach()) == pytest.approx(30.0 * BITS, rel=1e-4)
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(prior.logits.grad).all()
