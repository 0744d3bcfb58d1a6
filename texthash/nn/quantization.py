"""Low quantisation error: activations that are already close to their bits.

The survey's five ways: a loss (:func:`quantization_loss`); sigmoid and tanh layers, which bound activations; tanh of a
scale that grows (:func:`scaled_tanh`); and sgn itself with a straight-through gradient, which is in
:mod:`texthash.nn.estimators`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def quantization_loss(codes: Tensor) -> Tensor:
    """Return || z - sgn(z) ||^2 of each document (Gong & Lazebnik, 2011).

    sgn(0) := -1 as in binarizers, and sgn gets no gradient.

    Args:
        codes: z [B, m] around signs; for probabilities p pass 2 p - 1, whose error is four times that of p.

    Returns:
        Tensor [B].
    """
    signs = torch.where(codes.detach() > 0, 1.0, -1.0).to(codes.dtype)
    return (codes - signs).square().sum(dim=1)


def scaled_tanh(activations: Tensor, scale: float) -> Tensor:
    """Return z = tanh(beta a), which tends to sgn(a) as beta grows (Cao et al., HashNet, 2017). Any shape."""
    return torch.tanh(scale * activations)


def root_scale(fraction: float, end: float) -> float:
    """Return beta = sqrt(1 + (end^2 - 1) f), from 1 to ``end`` as the share f of training goes from 0 to 1.

    It is the law sqrt(1 + gamma t) in steps t (Cao et al., 2017), with gamma chosen so that it ends at ``end``.
    """
    return math.sqrt(1 + (end**2 - 1) * fraction)
