"""Wasserstein distances of two batches of codes in primal form: by matching, without a critic.

The squared 2-Wasserstein distance of the empirical distributions of a_1..a_B and z_1..z_B in R^m is the cost of the
cheapest matching, over permutations pi of the batch (Doan & Reddy, 2020). The permutation is computed from detached
costs; it is locally constant for almost all codes, so the gradient through the costs alone is that of the distance.

    assigned          min_pi (1/B) sum_b ||a_b - z_pi(b)||^2              joint distribution, O(B^3)
    sliced            E_theta of the same for theta . a, theta . z        joint distribution, O(B log B) a direction
    component-wise    (1/B) sum_j sum_b (a_(b)j - z_(b)j)^2, each sorted  marginals only: blind to correlated bits

A loss over several workers passes gathered codes and a prior batch that all of them share.
"""

from __future__ import annotations

import torch
from torch import Tensor

from texthash.nn.matching import squared_distances


def assigned_distance(codes: Tensor, prior: Tensor) -> Tensor:
    """Return min_pi (1/B) sum_b ||a_b - z_pi(b)||^2, by the optimal assignment.

    Two batches of one distribution do not reach zero unless they are permutations of each other.

    Args:
        codes: Codes a [B, m]; the assignment takes O(B^3), so B should be at most some hundreds.
        prior: Samples z [B, m] of the prior.

    Returns:
        Scalar.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed in training only

    cost = squared_distances(codes.detach().float(), prior.detach().float())
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    matched = prior[torch.from_numpy(columns).to(prior.device)]
    return (codes[torch.from_numpy(rows).to(codes.device)] - matched).square().sum(dim=1).mean()


def sliced_distance(
    codes: Tensor, prior: Tensor, directions: int = 1000, generator: torch.Generator | None = None
) -> Tensor:
    """Return (m / S) sum_s min_pi (1/B) sum_b (theta_s . a_b - theta_s . z_pi(b))^2, theta_s uniform on the sphere.

    In one dimension the cheapest matching is by rank. The factor m gives it the scale of the others: a shift of the
    whole batch costs the same in all three.

    Args:
        codes: Codes a [B, m].
        prior: Samples z [B, m] of the prior.
        directions: Number S of directions.
        generator: Random generator of theta.

    Returns:
        Scalar.
    """
    theta = torch.randn(codes.shape[1], directions, generator=generator, device=codes.device, dtype=codes.dtype)
    theta = theta / theta.norm(dim=0)
    return componentwise_distance(codes @ theta, prior @ theta) * (codes.shape[1] / directions)


def componentwise_distance(codes: Tensor, prior: Tensor) -> Tensor:
    """Return the sum over j of the squared distance of the j-th components [B] and [B], matched by rank, a scalar."""
    return (codes.sort(dim=0).values - prior.sort(dim=0).values).square().sum(dim=1).mean()
