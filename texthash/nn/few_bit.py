"""Losses for short codes: orthogonal topics, and propagation of relevance from a longer code."""

from __future__ import annotations

import torch
from torch import Tensor


def orthogonality(rows: Tensor) -> Tensor:
    """Return ||T T^T - I_m||_F^2 of m rows in R^d: 0 if they are orthonormal, which takes d >= m (Ye et al., 2020).

    Args:
        rows: T [m, d].

    Returns:
        A scalar.
    """
    return (rows @ rows.T - torch.eye(len(rows), device=rows.device, dtype=rows.dtype)).square().sum()


def relevance_propagation(short: Tensor, long: Tensor) -> Tensor:
    """Return the mean difference between the similarities of codes of m bits and of l > m bits (He et al., 2023).

    1 / (B (B - 1))  sum_{i != j} | z_i . z_j / m  -  l_i . l_j / l |

    Args:
        short: z [B, m] in [-1, 1], B at least 2.
        long: l [B, l] in [-1, 1] of the same documents.

    Returns:
        A scalar in [0, 2]. A loss over several workers passes gathered codes.
    """
    count = len(short)
    apart = (short @ short.T / short.shape[1] - long @ long.T / long.shape[1]).abs()
    return (apart.sum() - apart.diagonal().sum()) / (count * (count - 1))
