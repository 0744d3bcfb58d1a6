"""Correlated bits: the posterior of CorrSH (Zheng et al., 2020), modelled on a Boltzmann machine.

A Boltzmann machine b(s) ~ exp(s^T S s / 2 + mu^T s) over s in {0, 1}^m with S = D + U U^T is a Gaussian mixture of
independent bits,

    exp(s^T S s / 2 + mu^T s) = E_r exp(r^T s) = E_r [ prod_j (1 + e^{r_j}) Bern(s_j; sigma(r_j)) ],    r ~ N(mu, S)

The posterior keeps the mixture and drops the weight prod_j (1 + e^{r_j}) of r, of which no sample can be drawn:

    q(s) = E_r prod_j Bern(s_j; sigma(r_j)),    r ~ N(mu, D + U U^T)

so its bits are correlated where, and only where, U couples them. Its entropy has no closed form, but a bound.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from texthash.nn.estimators import straight_through_bernoulli


def low_rank_gaussian_sample(
    mean: Tensor, std: Tensor, factors: Tensor, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Sample from N(mu, diag(d^2) + U U^T): r = mu + d eps + U eps', eps ~ N(0, I_m), eps' ~ N(0, I_k).

    Args:
        mean: mu [B, m].
        std: d [B, m].
        factors: U [B, m, k].
        samples: Number M of samples for each document.
        generator: Random generator of eps and eps'.

    Returns:
        Tensor [B, M, m].
    """
    batch, width, rank = factors.shape
    own = torch.randn((batch, samples, width), generator=generator, device=mean.device, dtype=mean.dtype)
    shared = torch.randn((batch, samples, rank), generator=generator, device=mean.device, dtype=mean.dtype)
    return mean[:, None] + std[:, None] * own + shared @ factors.transpose(1, 2)


def bit_mixture_kl(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Estimate, from one sample, the KL of a mixture of M factorised bit vectors from uniform codes.

    q_M(s) = 1/M sum_a prod_j Bern(s_j; sigma(r_j^a)),    KL(q_M || Bern(1/2)^m) = E_s log q_M(s) + m log 2

    with s drawn from a component chosen at random. Over components that are themselves samples of p(r) the expected
    value bounds the KL of q(s) = E_r q(s | r) from above, falls with M and tends to it; at M = 1 it is the conditional
    one, E_r KL(q(s | r) || Bern(1/2)^m). The estimate for one document may be below 0.

    Args:
        logits: r [B, M, m].
        generator: Random generator of the component and of s.

    Returns:
        Tensor [B]; gradients pass through all components and, straight, through s.
    """
    batch, components, bits = logits.shape
    chosen = torch.randint(components, (batch,), generator=generator, device=logits.device)
    chosen_logits = logits[torch.arange(batch, device=logits.device), chosen]
    s = straight_through_bernoulli(torch.sigmoid(chosen_logits), generator)
    log_q = (logits * s[:, None] - F.softplus(logits)).sum(dim=2)
    return torch.logsumexp(log_q, dim=1) - math.log(components) + bits * math.log(2)
