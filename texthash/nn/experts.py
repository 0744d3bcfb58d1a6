"""Product of experts: posteriors of a code by two views of a document, and a gate that weighs them.

For Bernoulli posteriors q_v = Bern(sigma(a_v)) the product q ~ q_t^w q_e^(1-w) of powers is Bern(sigma(a)) with

    a = w a_t + (1 - w) a_e,    w = sigma(W [a_t; a_e] + b) in (0, 1)^m

(Hinton, 2002, for products of experts; the gate of each bit as in highway networks, Srivastava et al., 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from texthash.nn.encoders import xavier_linear


class ProductOfExperts(nn.Module):
    """The gated product of two posteriors; it starts near equal weights.

    Args:
        bits: Length m of the code.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.gate = xavier_linear(2 * bits, bits)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the logits a [B, m] of the product of posteriors with logits [B, m]."""
        weight = torch.sigmoid(self.gate(torch.cat([first, second], dim=1)))
        return weight * first + (1 - weight) * second
