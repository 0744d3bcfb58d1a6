"""Losses of triples: codes as far apart as a given order of two neighbours asks for."""

from __future__ import annotations

import torch
from torch import Tensor


def triple_hinge(codes: Tensor, ones: Tensor, others: Tensor, order: Tensor, margin: float = 1.0) -> Tensor:
    """Return the ranking loss of each triple (Hansen et al., 2019), with D_1 = ||b - b_1||^2, D_2 = ||b - b_2||^2.

    max(0, eps - o (D_2 - D_1))  for o = +1 (the first is the nearer) or -1;   |D_2 - D_1|  for o = 0, equally near

    Args:
        codes: b [B, m]; of codes in {0, 1} the distances are Hamming distances.
        ones: b_1 [B, m].
        others: b_2 [B, m].
        order: o [B], the sign of s_1 - s_2 for similarities s to the document.
        margin: eps.

    Returns:
        Tensor [B].
    """
    apart = (codes - others).square().sum(dim=1) - (codes - ones).square().sum(dim=1)
    return torch.where(order == 0, apart.abs(), torch.relu(margin - order * apart))
