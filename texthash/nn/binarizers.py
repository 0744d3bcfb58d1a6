"""How real-valued codes are cut into bits: bit = 1[activation > threshold], one threshold a bit.

The three cuts of the field are three ways to choose the thresholds: zero (sign), one half (probabilities) and the
median of the training documents (which balances every bit on train by construction; VDSH, STH). A categorical latent
is cut by the difference of its logits against zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Binarizer(nn.Module):
    """Cut at a fixed threshold: 0 for signs, 0.5 for probabilities.

    Args:
        bits: Length of the code.
        threshold: The same for every bit.
    """

    needs_train = False
    thresholds: Tensor

    def __init__(self, bits: int, threshold: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.full((bits,), threshold))

    def forward(self, activations: Tensor) -> Tensor:
        """Cut [..., bits] real activations into [..., bits] booleans."""
        return activations > self.thresholds

    def calibrate(self, activations: Tensor) -> None:
        """Choose the thresholds from the activations [N, bits] of the training documents, where the cut needs them."""


class MedianBinarizer(Binarizer):
    """Cut each bit at its median over the training documents (the lower one, as ``torch.median``)."""

    needs_train = True

    def calibrate(self, activations: Tensor) -> None:
        self.thresholds.copy_(activations.median(dim=0).values)
