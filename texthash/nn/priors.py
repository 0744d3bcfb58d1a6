"""Kullback-Leibler divergences KL(q || p) of a posterior from its prior, one value per document, summed over its bits.

Gaussian of VDSH (Kingma & Welling, 2014), Bernoulli of NASH (Shen et al., 2018), categorical of Doc2hash (Zhang & Zhu,
2019); mixtures are in :mod:`texthash.nn.mixtures`, correlated bits in :mod:`texthash.nn.correlated_bits`, and
priors of the aggregated posterior in :mod:`texthash.nn.matching`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mu, diag s^2) || N(0, I)) = -1/2 sum_j (1 + log s_j^2 - mu_j^2 - s_j^2). Tensors [B, m] -> [B]."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)


def bernoulli_kl(logits: Tensor, prior: float = 0.5) -> Tensor:
    """Return KL(Bern(p) || Bern(gamma)) summed over bits, p = sigma(logits).

    sum_j p_j log(p_j / gamma) + (1 - p_j) log((1 - p_j) / (1 - gamma)), computed from the logits so that saturated
    probabilities stay finite. Tensor [B, m] -> [B].
    """
    p = torch.sigmoid(logits)
    negative_entropy = p * torch.nn.functional.logsigmoid(logits) + (1 - p) * torch.nn.functional.logsigmoid(-logits)
    return (negative_entropy - p * math.log(prior) - (1 - p) * math.log(1 - prior)).sum(dim=1)


def bernoulli_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """Return KL(Bern(sigma(a)) || Bern(sigma(b))) summed over bits, which pulls two posteriors of a code together.

    sum_j p_j (log sigma(a_j) - log sigma(b_j)) + (1 - p_j) (log sigma(-a_j) - log sigma(-b_j)),  p = sigma(a)

    Args:
        logits: a [B, m].
        other: b [B, m].

    Returns:
        Tensor [B].
    """
    p = torch.sigmoid(logits)
    on = torch.nn.functional.logsigmoid(logits) - torch.nn.functional.logsigmoid(other)
    off = torch.nn.functional.logsigmoid(-logits) - torch.nn.functional.logsigmoid(-other)
    return (p * on + (1 - p) * off).sum(dim=1)


def bernoulli_cross_entropy(logits: Tensor, other: Tensor) -> Tensor:
    """Return H(Bern(sigma(a)), Bern(sigma(b))) = - sum_j p_j log sigma(b_j) + (1 - p_j) log sigma(-b_j), p = sigma(a).

    It is the entropy of the first plus :func:`bernoulli_divergence` of the two, and least where both are certain of the
    same code.

    Args:
        logits: a [B, m].
        other: b [B, m].

    Returns:
        Tensor [B].
    """
    return (torch.nn.functional.softplus(other) - torch.sigmoid(logits) * other).sum(dim=1)


def categorical_kl(logits: Tensor) -> Tensor:
    """Return KL(Cat(pi_j) || uniform) summed over m latents of K values each, pi_j = softmax(logits_j).

    sum_j sum_k pi_jk log(K pi_jk). The softmax is over the values of one latent, never over all latents: only then is
    this a divergence, nonnegative and zero only for uniform latents. Tensor [B, m, K] -> [B].
    """
    log_pi = torch.log_softmax(logits, dim=-1)
    return (log_pi.exp() * (log_pi + math.log(logits.shape[-1]))).sum(dim=(1, 2))
