"""Binarizers, which turn activations into bits: bit = 1[activation > threshold], one threshold per bit.

The three rules of the field are three choices of the thresholds: zero (sign), one half (probabilities) and the median
of the training documents (which balances every bit on train by construction; VDSH, STH). The activation of a
categorical latent is the difference of its logits, with threshold zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Binarizer(nn.Module):
    """Binarizer with a fixed threshold: 0 for signs, 0.5 for probabilities.

    Args:
        bits: Length of the code.
        threshold: Threshold of every bit.
    """

    needs_train = False
    thresholds: Tensor

    def __init__(self, bits: int, threshold: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.full((bits,), threshold))

    def forward(self, activations: Tensor) -> Tensor:
        """Return the bits [..., bits], bool, of activations [..., bits]."""
        return activations > self.thresholds

    def calibrate(self, activations: Tensor) -> None:
        """Set the thresholds from the activations [N, bits] of the training documents, if the rule needs them."""


class MedianBinarizer(Binarizer):
    """Binarizer with each bit's median over the training documents as its threshold.

    It is the lower median, as in ``torch.median``.
    """

    needs_train = True

    def calibrate(self, activations: Tensor) -> None:
        self.thresholds.copy_(activations.median(dim=0).values)
