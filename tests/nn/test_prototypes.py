"""Hierarchical prototypes and the contrast, against Monte Carlo and a loop."""

import math

import pytest
import torch

from texthash.nn.prototypes import HierarchicalPrototypes, info_nce


def prototypes():
    torch.manual_seed(0)
    found = HierarchicalPrototypes(3, 2, 4).double()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.normal_(std=0.5)
    return found


def test_divergence_is_the_mean_log_ratio():
    """E log q(z) q(c) q(f | c) / p(z | c, f) pi_c rho_cf, over samples of q."""
    prior = prototypes()
    mean, log_variance = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    with torch.no_grad():
        log_coarse, log_fine = prior.assign(mean + 0.3)
        closed = float(prior.kl(mean, log_variance, log_coarse, log_fine))
        draws, generator = 200_000, torch.Generator().manual_seed(1)
        noise = torch.randn(draws, 4, generator=generator, dtype=torch.float64)
        q = torch.distributions.Normal(mean, (log_variance / 2).exp())
        z = mean + (log_variance / 2).exp() * noise
        c = torch.multinomial(log_coarse.exp()[0], draws, replacement=True, generator=generator)
        f = torch.multinomial(log_fine.exp()[0][c], 1, generator=generator)[:, 0]
        p = torch.distributions.Normal(prior.fine[c, f], (prior.log_variance / 2).exp())
        ratio = q.log_prob(z).sum(1) - p.log_prob(z).sum(1) + log_coarse[0, c] + log_fine[0, c, f]
        ratio = ratio - torch.log_softmax(prior.coarse_logits, 0)[c] - torch.log_softmax(prior.fine_logits, 1)[c, f]
    assert closed == pytest.approx(float(ratio.mean()), abs=5 * float(ratio.std()) / math.sqrt(draws))


def test_codes_at_a_prototype_belong_to_it():
    prior = HierarchicalPrototypes(4, 3, 16, std=3.0, fine_std=1.5)
    with torch.no_grad():
        log_coarse, log_fine = prior.assign(prior.fine.flatten(0, 1))
    assert log_coarse.argmax(dim=1).tolist() == [c for c in range(4) for _ in range(3)]
    own = log_fine[torch.arange(12), log_coarse.argmax(dim=1)]
    assert own.argmax(dim=1).tolist() == [0, 1, 2] * 4
    torch.testing.assert_close(log_fine.exp().sum(dim=2), torch.ones(12, 4))


def test_contrast_is_the_formula_of_its_docstring():
    codes = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 1, 0, 2, 1, 0, 3])
    expected = []
    for b in range(7):
        weight = [math.exp(float(torch.cosine_similarity(codes[b], codes[a], dim=0)) / 0.2) for a in range(7)]
        positive = sum(weight[a] for a in range(7) if a != b and label[a] == label[b])
        if positive:
            expected.append(-math.log(positive / sum(weight[a] for a in range(7) if a != b)))
    found = float(info_nce(codes, label[:, None] == label, 0.2))
    assert len(expected) == 5
    assert found == pytest.approx(sum(expected) / 5, rel=1e-5)


def test_contrast_without_positives_is_zero_with_a_gradient():
    codes = torch.randn(4, 3).requires_grad_()
    value = info_nce(codes, torch.eye(4, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert codes.grad.abs().sum() == 0
