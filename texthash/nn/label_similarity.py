"""Similarity of documents by their labels, as a target for their codes."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_percentage(first: Tensor, second: Tensor, share: float = 1.0) -> Tensor:
    """Return S_ij = (J_ij + w cos(c_i, c_j)) / (1 + w), in [0, 1], the similarity of documents by their labels.

    Source: Guo et al., 2021.

    J is the Jaccard index of the sets of labels, c_i the weights of the labels of document i. A document without labels
    has similarity 0 to all.

    Args:
        first: c [A, L], non-negative.
        second: c [B, L].
        share: w, the weight of the cosine.

    Returns:
        Tensor [A, B].
    """
    one, two = (first > 0).to(first.dtype), (second > 0).to(second.dtype)
    both = one @ two.T
    either = one.sum(dim=1)[:, None] + two.sum(dim=1) - both
    lengths = torch.linalg.vector_norm(first, dim=1)[:, None] * torch.linalg.vector_norm(second, dim=1)
    cosine = first @ second.T / torch.where(lengths > 0, lengths, 1.0)
    return (both / either.clamp(min=1) + share * cosine) / (1 + share)
