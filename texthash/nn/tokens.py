"""Vectors of the word pieces of texts: brought to a stored width, convolved, pooled. Padding is masked everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenProjection(nn.Module):
    """(x - mean) W of the vectors of raw texts [B, T, D]; those of a corpus are stored that way, [B, T, d], and pass.

    Both are rounded to half precision, as they are stored, and the product is taken in double precision, so that a text
    has the same vectors from either side.

    Args:
        width: Width D of the encoder.
        reduced: Width d that is stored, at most D; at D itself nothing is projected.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("weight", torch.eye(width, reduced))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors [B, T, D] or [B, T, d] to float32 [B, T, d]."""
        width, reduced = self.weight.shape
        if vectors.shape[2] == width > reduced:
            vectors = (vectors.double() - self.mean.double()) @ self.weight.double()
        return vectors.half().float()


class TokenConvolution(nn.Module):
    """Convolution h_i = [ReLU(sum_k W_k x_{i+k} + b)] for windows of several sizes, concatenated.

    Sources: Kim, 2014; as in Ou et al., 2021. Vectors beyond a text are 0.

    Args:
        width: Width d of the vectors.
        filters: Number of filters of each window.
        windows: Sizes of the windows, odd.
    """

    def __init__(self, width: int, filters: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, size, padding=size // 2) for size in windows)
        self.width = filters * len(windows)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Map vectors [B, T, d] with mask [B, T] to features [B, T, filters x windows], 0 beyond a text."""
        masked = (vectors * mask[:, :, None]).transpose(1, 2)
        features = torch.cat([F.relu(convolution(masked)) for convolution in self.convolutions], dim=1)
        return features.transpose(1, 2) * mask[:, :, None]


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the pieces of each text: features [B, T, H] and mask [B, T] to [B, H]; 0 of no pieces."""
    weights = mask.to(features.dtype)
    return (features * weights[:, :, None]).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1)


class KeyPieces(nn.Module):
    """Additive attention to the pieces of a text, and the mean of the rest (Bahdanau et al., 2015).

    The key is g = sum_i s_i h_i, the redundant part r = sum_i (1 - s_i) / (T - 1) h_i, with
    s = softmax_i(v . tanh(A h_i)) over the T pieces of a text.

    Args:
        width: Width H of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def weights(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return s [B, T] of features [B, T, H] with mask [B, T]; 0 beyond a text."""
        scores = self.score(torch.tanh(self.hidden(features)))[..., 0]
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return torch.softmax(scores, dim=1) * mask

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return g and r, [B, H] each; r of a single piece is 0, and both are 0 of none."""
        weights = self.weights(features, mask)
        key = torch.einsum("bt,bth->bh", weights, features)
        left = (mask.to(features.dtype) - weights) / (mask.sum(dim=1, keepdim=True) - 1).clamp(min=1)
        return key, torch.einsum("bt,bth->bh", left, features)
