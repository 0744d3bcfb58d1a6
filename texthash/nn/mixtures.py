"""Mixture priors, in which the topic of a document, component c, generates its code z.

    p(c, z) = pi_c p(z | c),    q(c, z | x) = q(c | x) q(z | x)
    KL(q(c, z | x) || p(c, z)) = sum_k q_k [ log(q_k / pi_k) + KL(q(z | x) || p(z | k)) ]

with q_k = q(k | x), the responsibilities (Dong et al., 2019). For a given q(z | x) the responsibilities
q_k ~ pi_k exp(-KL(q(z | x) || p(z | k))) minimise it, to - log sum_k pi_k exp(-KL(q(z | x) || p(z | k))).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MixturePrior(nn.Module):
    """Base class of mixtures of K components, each with independent dimensions.

    Args:
        components: Number K of components.

    Attributes:
        weights: Logits of pi, [K]; equal at the start.
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(components))

    def joint_kl(self, responsibilities: Tensor, divergences: Tensor) -> Tensor:
        """Return the KL of the joint posterior of component and code from this prior.

        Args:
            responsibilities: Logits of q(c | x), [B, K].
            divergences: KL(q(z | x) || p(z | k)) from each component, [B, K].

        Returns:
            Tensor [B].
        """
        log_q = torch.log_softmax(responsibilities, dim=1)
        log_pi = torch.log_softmax(self.weights, dim=0)
        return (log_q.exp() * (log_q - log_pi + divergences)).sum(dim=1)


class GaussianMixture(MixturePrior):
    """Mixture of p(z | k) = N(mu_k, diag s_k^2), with learned mu_k and log s_k^2 that start at N(0, std^2) and 0.

    Args:
        components: Number K of components.
        width: Dimension m of z.
        std: Standard deviation of the initial mu_k, above 0 because equal components would stay equal.
    """

    def __init__(self, components: int, width: int, std: float = 1.0) -> None:
        super().__init__(components)
        self.mean = nn.Parameter(std * torch.randn(components, width))
        self.log_variance = nn.Parameter(torch.zeros(components, width))

    def divergences(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(N(mu, diag s^2) || p(z | k)) = 1/2 sum_j [ log s_kj^2 / s_j^2 + (s_j^2 + (mu_j - mu_kj)^2) / s_kj^2 - 1 ].

        Args:
            mean: mu [B, m].
            log_variance: log s^2 [B, m].

        Returns:
            Tensor [B, K].
        """
        difference = log_variance[:, None] - self.log_variance
        distance = (mean[:, None] - self.mean).square() * torch.exp(-self.log_variance)
        return 0.5 * (difference.exp() + distance - 1 - difference).sum(dim=2)


class BernoulliMixture(MixturePrior):
    """Mixture of p(z | k) = prod_j Bern(z_j; gamma_kj), with learned gamma = sigma(logits), logits from N(0, std^2).

    Args:
        components: Number K of components.
        bits: Length m of z.
        std: Standard deviation of the initial logits, above 0 because equal components would stay equal.
    """

    def __init__(self, components: int, bits: int, std: float = 1.0) -> None:
        super().__init__(components)
        self.logits = nn.Parameter(std * torch.randn(components, bits))

    def divergences(self, logits: Tensor) -> Tensor:
        """KL(Bern(p) || p(z | k)) = sum_j [ p_j log(p_j / gamma_kj) + (1 - p_j) log((1 - p_j) / (1 - gamma_kj)) ].

        Computed from logits, so that saturated probabilities stay finite.

        Args:
            logits: Logits of p, [B, m].

        Returns:
            Tensor [B, K].
        """
        p = torch.sigmoid(logits)
        negative_entropy = (p * F.logsigmoid(logits) + (1 - p) * F.logsigmoid(-logits)).sum(dim=1, keepdim=True)
        return negative_entropy - p @ F.logsigmoid(self.logits).T - (1 - p) @ F.logsigmoid(-self.logits).T
