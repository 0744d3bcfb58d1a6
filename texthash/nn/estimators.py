"""Differentiable sampling of codes: reparameterised, relaxed, straight-through and unbiased gradient estimators.

                              values      gradient of E f(z)
gaussian_sample               real        unbiased
straight_through_bernoulli    {0, 1}      biased, save for an f that is linear in each bit by itself
straight_through_sign         {-1, +1}    of a function with steps: a direction, not a gradient
binary_concrete               (0, 1)      unbiased for the relaxed z, which is not a bit
gumbel_softmax                one-hot     for an f that is linear in each entry by itself: as if E z were the mean of
                                          the soft samples, softmax(a) in the limit tau -> 0 (variance grows as 1/tau)
arm                           {0, 1}      unbiased for any f, at two evaluations of f
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gaussian_sample(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Sample z = mu + exp(log s^2 / 2) eps, eps ~ N(0, I) (Kingma & Welling, 2014). All tensors [B, m]."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + torch.exp(0.5 * log_variance) * noise


def straight_through_bernoulli(
    probabilities: Tensor, generator: torch.Generator | None = None, stochastic: bool = True
) -> Tensor:
    """Sample z = 1[p > u], with dz/dp := 1 (Bengio et al., 2013).

    Args:
        probabilities: p [B, m].
        generator: Random generator of u.
        stochastic: Draw u ~ U(0, 1) for every entry; else u = 1/2.

    Returns:
        z [B, m] with values in {0, 1}.
    """
    if stochastic:
        threshold = _uniform(probabilities, generator)
    else:
        threshold = torch.full_like(probabilities, 0.5)
    bits = (probabilities > threshold).to(probabilities.dtype)
    return probabilities + (bits - probabilities).detach()


def straight_through_sign(activations: Tensor, saturation: float | None = None) -> Tensor:
    """Return b = sign(a), sign(0) := -1 as in binarizers, with db/da := 1[|a| <= c] (Hubara et al., 2016).

    Args:
        activations: a of any shape.
        saturation: Bound c beyond which no gradient passes; None for no bound.

    Returns:
        b with values in {-1, +1}.
    """
    signs = torch.where(activations > 0, 1.0, -1.0).to(activations.dtype)
    carrier = activations if saturation is None else activations.clamp(-saturation, saturation)
    return carrier + (signs - carrier).detach()


def binary_concrete(logits: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw a relaxed Bernoulli sample z = sigma((a + log u - log(1 - u)) / tau), u ~ U(0, 1) (Maddison et al., 2017).

    P(z > 1/2) = sigma(a) at every temperature; z becomes binary as tau -> 0.

    Args:
        logits: a of any shape.
        temperature: tau > 0.
        generator: Source of u.
    """
    return torch.sigmoid((logits + _logistic(logits, generator)) / temperature)


def gumbel_softmax(
    logits: Tensor, temperature: float, generator: torch.Generator | None = None, hard: bool = True
) -> Tensor:
    """Sample a K-way categorical variable (Jang et al., 2017; Maddison et al., 2017).

    y = softmax((a + g) / tau), g_k = - log(- log u_k), u_k ~ U(0, 1); the hard sample is onehot(argmax y), which is
    distributed as softmax(a), with the gradient of y.

    Args:
        logits: a [..., K].
        temperature: tau > 0.
        generator: Source of u.
        hard: Return one-hot values; else y itself.

    Returns:
        [..., K], each row a point of the simplex.
    """
    noise = -torch.log(-torch.log(_uniform(logits, generator)))
    soft = torch.softmax((logits + noise) / temperature, dim=-1)
    if not hard:
        return soft
    vertex = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return soft + (vertex - soft).detach()


def arm(logits: Tensor, function: Callable[[Tensor], Tensor], generator: torch.Generator | None = None) -> Tensor:
    """Return f(z), z ~ Bern(sigma(a)), with an unbiased gradient for any f: augment, REINFORCE, merge.

    Source: Yin & Zhou, 2019.

    d E f / da_j  =  E_u [ (f(1[u > sigma(-a)]) - f(1[u < sigma(a)])) (u_j - 1/2) ],   u ~ U(0, 1)^m

    Args:
        logits: a [B, m].
        function: f, from bits [B, m] in {0, 1} to a value [B] of each document, row by row.
        generator: Source of u.

    Returns:
        Mean of f over the two samples, [B]. Its gradient is the one above for the logits, and that of the mean for the
        parameters of f.
    """
    probabilities = torch.sigmoid(logits)
    u = _uniform(probabilities, generator)
    mirrored = function((u > 1 - probabilities).to(logits.dtype).detach())
    direct = function((u < probabilities).to(logits.dtype).detach())
    slope = (mirrored - direct).detach()[:, None] * (u - 0.5)
    surrogate = (slope * logits).sum(dim=1)
    return (mirrored + direct) / 2 + surrogate - surrogate.detach()


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw from U(0, 1) with the shape and device of ``like``, both ends excluded, in single precision or better."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    draws = torch.rand(like.shape, generator=generator, device=like.device, dtype=dtype)
    return draws.clamp(torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps)


def _logistic(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw standard logistic noise log u - log(1 - u), the difference of two Gumbel variables."""
    u = _uniform(like, generator)
    return torch.log(u) - torch.log1p(-u)
