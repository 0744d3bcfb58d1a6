"""Divergences of two batches of codes as samples of two distributions, such as the codes of documents and a prior.

A Wasserstein autoencoder (Tolstikhin et al., 2018) compares the aggregated posterior q(z) = mean_b q(z | x_b) with the
prior, whereas a variational one pulls each q(z | x_b) towards it. All but the moments act on samples, bits in {0, 1}
with optional straight-through gradients; a loss over several workers passes gathered codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Function of x [A, m] and y [B, m] with values k(x_a, y_b), [A, B]."""

WIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0)


def fair_coins(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Sample codes in {0, 1} from the prior Bern(1/2)^m, in the shape [B, m] of ``like``."""
    return torch.randint(0, 2, like.shape, generator=generator, device=like.device).to(like.dtype)


def hamming_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return Hamming distances d_ab = sum_j x_aj (1 - y_bj) + (1 - x_aj) y_bj, [A, B].

    They are linear in each bit, so their straight-through gradient is exact.
    """
    with torch.autocast(x.device.type, enabled=False):  # half precision rounds counts, and differences of their means
        return x @ (1 - y).T + (1 - x) @ y.T


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return ||x_a - y_b||^2, [A, B]: for bits equal to the Hamming distance, with another gradient."""
    with torch.autocast(x.device.type, enabled=False):
        return (x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T).clamp(min=0)


def hamming_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return k = sum_h exp(-d_H(x, y) / (m h)), d_H of :func:`hamming_distances`; [A, B]."""
    distances = hamming_distances(x, y) / x.shape[1]
    return torch.stack([torch.exp(-distances / width) for width in WIDTHS]).sum(dim=0)


def inverse_multiquadric_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return k = C / (C + d_H(x, y)), C = 2 m Var = m / 2 for fair bits (Tolstikhin et al., 2018); [A, B]."""
    scale = x.shape[1] / 2
    return scale / (scale + hamming_distances(x, y))


def maximum_mean_discrepancy(x: Tensor, y: Tensor, kernel: Kernel = hamming_kernel) -> Tensor:
    """Return the unbiased estimate of MMD^2 (Gretton et al., 2012, equation 3), which may be below zero.

    sum_{a != c} k(x_a, x_c) / (A (A - 1))  +  sum_{b != c} k(y_b, y_c) / (B (B - 1))  -  2 / (A B) sum_ab k(x_a, y_b)

    Args:
        x: Samples [A, m]; a batch of one, such as the last of an epoch, has no pairs, and its first term is 0.
        y: Samples [B, m], likewise.
        kernel: Kernel k.

    Returns:
        Scalar.
    """
    return _mean_off_diagonal(kernel(x, x)) + _mean_off_diagonal(kernel(y, y)) - 2 * kernel(x, y).mean()


def sinkhorn_divergence(x: Tensor, y: Tensor, epsilon: float = 0.1, iterations: int = 50) -> Tensor:
    """Return the debiased entropic optimal transport cost, with cost d_H / m (Feydy et al., 2019).

    S = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2,    OT = min_P <P, C> + epsilon KL(P || 1/A x 1/B)

    over plans P [A, B] with uniform marginals. S is zero for batches of the same codes and positive otherwise, also for
    two batches of one distribution, less so for larger batches. OT is a minimum over P, so its gradient is that of
    <P, C> at the optimal P: no iteration is differentiated.

    Args:
        x: Samples [A, m].
        y: Samples [B, m].
        epsilon: Weight of the entropy, in units of the cost, which lies in [0, 1].
        iterations: Number of iterations of Sinkhorn's algorithm, in the log domain.

    Returns:
        Scalar.
    """
    costs = (hamming_distances(x, y), _own_distances(x), _own_distances(y))
    between, within_x, within_y = (_transport(cost / x.shape[1], epsilon, iterations) for cost in costs)
    return between - within_x / 2 - within_y / 2


def moment_discrepancy(probabilities: Tensor) -> Tensor:
    """Return ||mean_b p_b - 1/2||^2 + sum_{i != j} cov_ij^2, the distance of two moments of q(z) from fair coins.

    Bits of a document are independent given p, so off the diagonal the covariance of codes is that of p [B, m].
    """
    mean = probabilities.mean(dim=0)
    centred = probabilities - mean
    covariance = centred.T @ centred / len(probabilities)
    off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
    return (mean - 0.5).square().sum() + off_diagonal


def _mean_off_diagonal(square: Tensor) -> Tensor:
    pairs = len(square) * (len(square) - 1)
    return (square.sum() - square.diagonal().sum()) / max(1, pairs)


def _own_distances(x: Tensor) -> Tensor:
    """Return the Hamming distances within a batch, with a constant zero diagonal."""
    distances = hamming_distances(x, x)
    return distances - torch.diag_embed(distances.diagonal())


def _transport(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return OT of :func:`sinkhorn_divergence` for a cost [A, B]."""
    with torch.no_grad():
        kernel = -cost / epsilon
        rows, columns = -math.log(cost.shape[0]), -math.log(cost.shape[1])
        g = torch.zeros_like(kernel[0])
        for _ in range(iterations):
            f = -torch.logsumexp(kernel + g + columns, dim=1)
            g = -torch.logsumexp(kernel + f[:, None] + rows, dim=0)
        relative = kernel + f[:, None] + g  # log P / (1/A x 1/B)
        plan = torch.exp(relative + rows + columns)
        entropy = epsilon * (plan * relative).sum()
    return (plan * cost).sum() + entropy
