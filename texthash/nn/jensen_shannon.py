"""Mutual information by a discriminator: the Jensen-Shannon estimate of Deep InfoMax (Hjelm et al., 2019).

    I(x; g)  =  E_joint[ - softplus(-D(x, g)) ]  -  E_product[ softplus(D(x', g)) ]

D tells pairs of one document from pairs of two. It is at most 0, and - 2 log 2 where D says 0 of all pairs. Pairs of
two documents are those of a batch, of all workers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bilinear(nn.Module):
    """D(x, g) = (M g + m) . x of codes g [N, B] and x [C, B].

    Args:
        bits: Width B of both.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.map = nn.Linear(bits, bits)

    def forward(self, codes: Tensor, others: Tensor) -> Tensor:
        """Return D of each pair, [N, C]."""
        return self.map(codes) @ others.T


def pairwise_information(scores: Tensor, owner: Tensor) -> Tensor:
    """Return the estimate for each of C items, such as words, whose own document is one of N.

    - softplus(-s_{o(c) c})  -  1 / (N - 1) sum_{n != o(c)} softplus(s_{n c})

    Args:
        scores: s [N, C], D of each document with each item.
        owner: Document o(c) of each item, int64 [C].

    Returns:
        Tensor [C]; of a single document, which has no others, the first term alone.
    """
    own = scores.gather(0, owner[None])[0]
    penalties = F.softplus(scores)
    others = (penalties.sum(dim=0) - F.softplus(own)) / max(1, len(scores) - 1)
    return -F.softplus(-own) - others


def token_information(scores: Tensor, mask: Tensor, first: int) -> Tensor:
    """Return the estimate of each document with its own tokens, the mean over them.

    Args:
        scores: D of N documents with all tokens of B of these, [N, B T].
        mask: Whether an entry is a token rather than padding, bool [B, T].
        first: Number among the N of the first of the B documents.

    Returns:
        Tensor [B]; 0 for a document without tokens.
    """
    count, length = mask.shape
    chosen = mask.flatten()
    owner = torch.arange(count, device=mask.device).repeat_interleave(length)[chosen]
    values = pairwise_information(scores[:, chosen], owner + first)
    totals = values.new_zeros(count).index_add_(0, owner, values)
    return totals / mask.sum(dim=1).clamp(min=1)
