"""Layers of sentence vectors: standardised by the training documents, a Gaussian density, a product of experts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from texthash.nn.dense import DenseEncoder, GaussianDecoder, Standardization
from texthash.nn.experts import ProductOfExperts
from texthash.nn.priors import bernoulli_cross_entropy, bernoulli_divergence


def test_vectors_are_standardised_by_those_of_the_training_documents() -> None:
    rows = np.random.default_rng(0).standard_normal((20_000, 3)).astype(np.float32) * [0.01, 1, 50] + [0, 2, 1000]
    rows = np.column_stack([rows, np.full(len(rows), 0.7)]).astype(np.float32)
    layer = Standardization(4)
    layer.fit(rows)
    e = layer(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(e.mean(axis=0, dtype=np.float64), 0, atol=1e-4)
    np.testing.assert_allclose(e[:, :3].std(axis=0, dtype=np.float64), 1, rtol=1e-4)
    assert not e[:, 3].any(), "what is the same in all documents says nothing, whatever a new one has"
    assert set(layer.state_dict()) == {"mean", "scale"}


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "gelu"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_the_encoder_is_the_plain_formula(activation: str, norm: str) -> None:
    torch.manual_seed(0)
    encoder = DenseEncoder(5, 4, 2, activation=activation, norm=norm, dropout=0.5).double().eval()
    encoder.standardization.mean.fill_(0.3)
    encoder.standardization.scale.fill_(2.0)
    x = torch.randn(3, 5, dtype=torch.float64)
    hidden = (x - 0.3) * 2.0
    function = {"leaky_relu": torch.nn.functional.leaky_relu, "gelu": torch.nn.functional.gelu}.get(
        activation, getattr(torch, activation, None)
    )
    for linear in (layer for layer in encoder.layers if isinstance(layer, torch.nn.Linear)):
        hidden = hidden @ linear.weight.T + linear.bias
        if norm == "layer":
            centred = hidden - hidden.mean(dim=1, keepdim=True)
            hidden = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
        elif norm == "batch":  # statistics before any batch: mean 0, variance 1
            hidden = hidden / math.sqrt(1 + 1e-5)
        hidden = function(hidden)
    torch.testing.assert_close(encoder(x), hidden)
    assert encoder.width == 4
    assert DenseEncoder(5, 4, 0).width == 5


def test_the_error_of_a_vector_is_its_density_less_a_constant() -> None:
    torch.manual_seed(0)
    decoder = GaussianDecoder(3, 4, deviation=0.5).double()
    z, e = torch.rand(2, 3, dtype=torch.float64, requires_grad=True), torch.randn(2, 4, dtype=torch.float64)
    density = torch.distributions.Normal(decoder.mean(z), 0.5).log_prob(e).sum(dim=1)
    constant = 4 * math.log(0.5 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(decoder.error(z, e), -density - constant)
    assert gradcheck(lambda codes: decoder.error(codes, e), (z,))


def test_the_divergence_of_two_posteriors_is_the_sum_over_all_codes() -> None:
    torch.manual_seed(1)
    a, b = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    codes = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)

    def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Bernoulli(logits=logits[:, None]).log_prob(codes).sum(dim=2)

    p, q = log_probabilities(a), log_probabilities(b)
    torch.testing.assert_close(bernoulli_divergence(a, b), (p.exp() * (p - q)).sum(dim=1))
    torch.testing.assert_close(bernoulli_cross_entropy(a, b), -(p.exp() * q).sum(dim=1))
    torch.testing.assert_close(bernoulli_cross_entropy(a, a), -(p.exp() * p).sum(dim=1))
    assert gradcheck(bernoulli_divergence, (a, b))
    assert gradcheck(bernoulli_cross_entropy, (a, b))
    assert bernoulli_divergence(a, a).abs().max() == 0
    assert torch.isfinite(bernoulli_divergence(torch.tensor([[80.0, -80.0]]), torch.tensor([[-80.0, 80.0]]))).all()


def test_the_product_of_experts_is_that_of_weighted_posteriors() -> None:
    """q_t^w q_e^(1-w), normalised over both values of each bit."""
    torch.manual_seed(2)
    experts = ProductOfExperts(3).double()
    first, second = (torch.randn(2, 3, dtype=torch.float64) for _ in range(2))
    weight = torch.sigmoid(experts.gate(torch.cat([first, second], dim=1)))
    on = torch.sigmoid(first) ** weight * torch.sigmoid(second) ** (1 - weight)
    off = torch.sigmoid(-first) ** weight * torch.sigmoid(-second) ** (1 - weight)
    torch.testing.assert_close(torch.sigmoid(experts(first, second)), on / (on + off))
    torch.testing.assert_close(experts(first, first), first)
