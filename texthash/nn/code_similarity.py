"""Inner products of the codes of two sides of a pair, such as questions and answers, brought to given values.

Codes are [B, m], in [-1, 1] or real; row i of both sides is a pair.
"""

from __future__ import annotations

import torch
from torch import Tensor


def matched_products(one: Tensor, other: Tensor, ignored: Tensor) -> Tensor:
    """Return || H_1 H_2^T - m I ||_F (Lan et al., 2020).

    It is 0 where the codes of a pair are equal signs, and those of different pairs differ in half of the bits.

    Args:
        one: H_1 [B, m].
        other: H_2 [B, m].
        ignored: Mask of the entries that are left out, such as other answers of a question, bool [B, B].

    Returns:
        Scalar; it grows with the square root of B.
    """
    target = one.shape[1] * torch.eye(len(one), device=one.device, dtype=one.dtype)
    return torch.linalg.vector_norm(torch.where(ignored, 0.0, one @ other.T - target))


def joint_similarity(one: Tensor, other: Tensor, share: float, second_order: float) -> Tensor:
    """Return the similarity of pairs to which codes are fitted (Gu et al., CoSHC, 2022, equations 1 to 3).

    S~ = beta V_1 V_1^T + (1 - beta) V_2 V_2^T,   S = (1 - eta) S~ + eta S~ S~^T / B,   S_ii = 1

    Args:
        one: V_1 [B, W]; rows are brought to length 1.
        other: V_2 [B, W], likewise.
        share: beta.
        second_order: eta.

    Returns:
        Tensor [B, B].
    """
    first, second = (torch.nn.functional.normalize(side, dim=1) for side in (one, other))
    similarity = share * first @ first.T + (1 - share) * second @ second.T
    similarity = (1 - second_order) * similarity + second_order * similarity @ similarity.T / len(one)
    return similarity.fill_diagonal_(1.0)


def similarity_error(one: Tensor, other: Tensor, target: Tensor) -> Tensor:
    """Return the mean over all entries of (T - B_1 B_2^T / m)^2.

    Args:
        one: B_1 [B, m].
        other: B_2 [B, m].
        target: T [B, B].
    """
    return (target - one @ other.T / one.shape[1]).square().mean()
