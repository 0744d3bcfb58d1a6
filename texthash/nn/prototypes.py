"""Prototypes on two levels, as a prior of codes and as pseudo-labels of a contrastive loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class HierarchicalPrototypes(nn.Module):
    """Mixture of mixtures: coarse prototypes u_c, fine ones v_cf = u_c + delta_cf around each.

    c ~ Cat(pi),  f | c ~ Cat(rho_c),  z | c, f ~ N(v_cf, s^2 I)
    q(c | z) = softmax_c(- ||z - u_c||^2 / (2 t^2)),   q(f | c, z) = softmax_f(- ||z - v_cf||^2 / (2 s^2))

    t^2 = s^2 + mean ||delta||^2 / m: the variance of z around a coarse prototype in each direction, with the fine ones.

    Args:
        coarse: Number K of coarse prototypes.
        fine: Number F of fine prototypes of each coarse one.
        bits: Width m of the code.
        std: Standard deviation of the initial u.
        fine_std: Standard deviation of the initial delta.
    """

    def __init__(self, coarse: int, fine: int, bits: int, std: float = 1.0, fine_std: float = 0.3) -> None:
        super().__init__()
        self.coarse = nn.Parameter(torch.empty(coarse, bits).normal_(std=std))
        self.offsets = nn.Parameter(torch.empty(coarse, fine, bits).normal_(std=fine_std))
        self.coarse_logits = nn.Parameter(torch.zeros(coarse))
        self.fine_logits = nn.Parameter(torch.zeros(coarse, fine))
        self.log_variance = nn.Parameter(torch.zeros(()))

    @property
    def fine(self) -> Tensor:
        """Fine prototypes v, [K, F, m]."""
        return self.coarse[:, None, :] + self.offsets

    def assign(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q(c | z) [B, K] and log q(f | c, z) [B, K, F] of codes z [B, m]."""
        variance = self.log_variance.exp()
        spread = variance + self.offsets.square().mean()
        to_coarse = (z[:, None, :] - self.coarse).square().sum(dim=2)
        to_fine = (z[:, None, None, :] - self.fine).square().sum(dim=3)
        log_coarse = torch.log_softmax(-to_coarse / (2 * spread), dim=1)
        return log_coarse, torch.log_softmax(-to_fine / (2 * variance), dim=2)

    def kl(self, mean: Tensor, log_variance: Tensor, log_coarse: Tensor, log_fine: Tensor) -> Tensor:
        """Return KL(q(z, c, f | x) || p(z, c, f)) with q(z | x) = N(mu, diag sigma^2) and the assignments of one z.

        sum_cf q(c) q(f | c) KL(N(mu, sigma^2) || N(v_cf, s^2))  +  KL(q(c) || pi)  +  sum_c q(c) KL(q(f | c) || rho_c)

        Args:
            mean: mu [B, m].
            log_variance: log sigma^2 [B, m].
            log_coarse: log q(c) [B, K].
            log_fine: log q(f | c) [B, K, F].

        Returns:
            Tensor [B].
        """
        q_coarse, q_fine = log_coarse.exp(), log_fine.exp()
        distance = (mean[:, None, None, :] - self.fine).square().sum(dim=3)
        m, s2 = mean.shape[1], self.log_variance.exp()
        normal = 0.5 * (
            (distance + log_variance.exp().sum(dim=1)[:, None, None]) / s2
            + m * self.log_variance
            - log_variance.sum(dim=1)[:, None, None]
            - m
        )
        fine = (q_fine * (normal + log_fine - torch.log_softmax(self.fine_logits, dim=1))).sum(dim=2)
        return (q_coarse * (fine + log_coarse - torch.log_softmax(self.coarse_logits, dim=0))).sum(dim=1)


def info_nce(codes: Tensor, positives: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the InfoNCE loss of codes with given positives.

    Sources: van den Oord et al., 2018; Khosla et al., 2020, with the sum inside.

    L_b = - log  sum_{p in P(b)} exp(cos(z_b, z_p) / tau)  /  sum_{a != b} exp(cos(z_b, z_a) / tau)

    Args:
        codes: z [B, m].
        positives: Mask of the positive pairs, bool [B, B]; the diagonal is ignored.
        temperature: Temperature tau.

    Returns:
        Scalar: the mean over the codes that have a positive; 0 if none has.
    """
    normed = torch.nn.functional.normalize(codes.float(), dim=1)
    self_pair = torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    scores = (normed @ normed.T / temperature).masked_fill(self_pair, -math.inf)
    positives = positives & ~self_pair
    anchors = positives.any(dim=1)
    above = torch.logsumexp(scores[anchors].masked_fill(~positives[anchors], -math.inf), dim=1)
    return (torch.logsumexp(scores[anchors], dim=1) - above).sum() / anchors.sum().clamp(min=1)
