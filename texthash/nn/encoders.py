"""Encoders from a sparse bag of words to hidden features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texthash.nn.bags import Bag


class SparseLinear(nn.Module):
    """Linear layer y = x W + b for a sparse x in R^V, which is never made dense.

    The product is a weighted sum of the rows of W whose words occur, computed by
    :func:`torch.nn.functional.embedding_bag`: nnz * H multiplications instead of B * V * H.

    Args:
        words: Size V of the vocabulary.
        features: Width H of the output.
    """

    def __init__(self, words: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(words, features)))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, bag: Bag) -> Tensor:
        """Map B bags of words to [B, H]."""
        sums = F.embedding_bag(
            bag.indices, self.weight, bag.offsets, mode="sum", per_sample_weights=bag.values.to(self.weight.dtype)
        )
        return sums + self.bias


class MLPEncoder(nn.Module):
    """MLP V -> H -> ... -> H with (leaky) ReLU after every layer and dropout after the last, as in VDSH and NASH.

    Args:
        words: Size V of the vocabulary.
        hidden: Width H.
        layers: Number of layers, at least 1.
        dropout: Probability of dropping a feature in training.
        slope: Slope of the activation below 0; 0 for ReLU.
    """

    def __init__(self, words: int, hidden: int, layers: int = 2, dropout: float = 0.1, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        self.first = SparseLinear(words, hidden)
        self.rest = nn.ModuleList(xavier_linear(hidden, hidden) for _ in range(layers - 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, bag: Bag) -> Tensor:
        """Map B bags of words to [B, H]."""
        hidden = self._activation(self.first(bag))
        for layer in self.rest:
            hidden = self._activation(layer(hidden))
        return self.dropout(hidden)

    def _activation(self, hidden: Tensor) -> Tensor:
        return F.leaky_relu(hidden, self.slope) if self.slope else F.relu(hidden)


def xavier_linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with Xavier-uniform weights and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
