"""Stacked autoencoder of dense values in [0, 1], learned layer by layer and then as a whole (Bengio et al., 2007).

    h_l = sigma(W_l h_{l-1} + b_l),  h_{l-1}^ = sigma(W_l^T h_l + c_l);  the last h is the code

The loss of one layer is the cross entropy of its input and h_{l-1}^, that of the whole of x and what is decoded from
the code through all layers. Encoder and decoder share their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StackedAutoencoder(nn.Module):
    """Layers of widths M -> H_1 -> ... -> m.

    Args:
        widths: Width of the input, of the layers, and of the code.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(above, below)) for below, above in pairs)
        self.up = nn.ParameterList(torch.zeros(above) for _, above in pairs)
        self.down = nn.ParameterList(torch.zeros(below) for below, _ in pairs)

    def encode(self, x: Tensor, layers: int | None = None) -> Tensor:
        """Return the logits of h_l [B, H_l] of x [B, M], without a sigmoid; by default those of the code."""
        count = len(self.weights) if layers is None else layers
        logits = x
        for number in range(count):
            below = torch.sigmoid(logits) if number else x
            logits = F.linear(below, self.weights[number], self.up[number])
        return logits

    def decode(self, code: Tensor) -> Tensor:
        """Return the logits of x^ [B, M] of a code [B, m] in [0, 1]."""
        for number in reversed(range(len(self.weights))):
            logits = F.linear(code, self.weights[number].T, self.down[number])
            code = torch.sigmoid(logits)
        return logits

    def layer_error(self, number: int, below: Tensor, noisy: Tensor) -> Tensor:
        """Return the cross entropy of a layer's input and what it makes of a noisy one, summed over units; [B].

        Args:
            number: Layer l, from 0.
            below: h_{l-1} [B, H], in [0, 1].
            noisy: The same with noise.
        """
        hidden = torch.sigmoid(F.linear(noisy, self.weights[number], self.up[number]))
        logits = F.linear(hidden, self.weights[number].T, self.down[number])
        return F.binary_cross_entropy_with_logits(logits, below, reduction="none").sum(dim=1)

    def parameters_of(self, number: int) -> list[nn.Parameter]:
        """Return the weights and biases of one layer."""
        return [self.weights[number], self.up[number], self.down[number]]

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Set the bias of x^ to the log odds of the mean of x, [M], so that codes only explain differences."""
        self.down[0].copy_(torch.logit(mean.clamp(1e-4, 1 - 1e-4)))
