"""Sampling a code so that gradients pass: the reparameterisation and straight-through estimators."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_sample(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """z = mu + exp(log s^2 / 2) eps, eps ~ N(0, I) (Kingma & Welling, 2014). All tensors [B, m]."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + torch.exp(0.5 * log_variance) * noise


def straight_through_bernoulli(
    probabilities: Tensor, generator: torch.Generator | None = None, stochastic: bool = True
) -> Tensor:
    """z = 1[p > u], with dz/dp := 1 (Bengio et al., 2013).

    Args:
        probabilities: p [B, m].
        generator: Source of u.
        stochastic: u ~ U(0, 1) drawn anew for every entry; else u = 1/2.

    Returns:
        z [B, m] with values in {0, 1}.
    """
    if stochastic:
        cut = torch.rand(
            probabilities.shape, generator=generator, device=probabilities.device, dtype=probabilities.dtype
        )
    else:
        cut = torch.full_like(probabilities, 0.5)
    bits = (probabilities > cut).to(probabilities.dtype)
    return probabilities + (bits - probabilities).detach()
