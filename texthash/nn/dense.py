"""Encoder of a document's vector, and a Gaussian decoder to it.

Vectors of sentence encoders are far from standardised: their coordinates have a common mean and scales that differ by a
factor of ten. Both layers work on e = (x - mean) / std, whose statistics are those of the training documents
(:class:`Standardization`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from texthash.nn.encoders import xavier_linear

Activation = Literal["relu", "leaky_relu", "tanh", "gelu"]
Norm = Literal["none", "layer", "batch"]
_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}
_NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "layer": nn.LayerNorm,
    "batch": nn.BatchNorm1d,
}
_ROWS = 8192


class Standardization(nn.Module):
    """e = (x - mean) / std of each coordinate; a coordinate that is the same in all documents becomes 0.

    Args:
        width: Width D of the vectors.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, vectors: NDArray[np.float32]) -> None:
        """Set mean and scale from the vectors [N, D] of the training documents, which may be mapped from a file."""
        parts = [np.asarray(vectors[start : start + _ROWS], np.float64) for start in range(0, len(vectors), _ROWS)]
        mean = np.sum([part.sum(axis=0) for part in parts], axis=0) / len(vectors)
        variance = np.sum([np.square(part - mean).sum(axis=0) for part in parts], axis=0) / len(vectors)
        constant = variance <= 1e-12 * (1 + np.square(mean))
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, variance)))))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors [B, D] to [B, D]."""
        return (vectors - self.mean) * self.scale


class DenseEncoder(nn.Module):
    """MLP of a standardised vector, D -> H -> ... -> H: linear, norm, activation in each layer, dropout after the last.

    Args:
        inputs: Width D of the vectors.
        hidden: Width H.
        layers: Number of layers; with none, vectors are only standardised.
        activation: Activation of each layer.
        norm: Normalisation before each activation.
        dropout: Probability of dropping an output in training.

    Attributes:
        width: Width of the output: H, or D without layers.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        layers: int = 1,
        *,
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.standardization = Standardization(inputs)
        widths = [inputs, *[hidden] * layers]
        modules: list[nn.Module] = []
        for below, above in pairwise(widths):
            modules += [xavier_linear(below, above), _NORMS[norm](above), _ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*modules, nn.Dropout(dropout))
        self.width = widths[-1]

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors [B, D] to [B, H]."""
        hidden: Tensor = self.layers(self.standardization(vectors))
        return hidden


class GaussianDecoder(nn.Module):
    """Linear decoder of a vector, p(e | z) = N(e; z U + d, s^2 I).

    Sources: Kingma & Welling, 2014; as a decoder of sentence vectors in the baseline of Ou et al., 2021.

    Args:
        bits: Width m of the code.
        width: Width D of the vector.
        deviation: Standard deviation s.
    """

    def __init__(self, bits: int, width: int, deviation: float = 1.0) -> None:
        super().__init__()
        self.mean = xavier_linear(bits, width)
        self.deviation = deviation

    def error(self, codes: Tensor, target: Tensor) -> Tensor:
        """Return - log p(e | z) less its constant, ||e - z U - d||^2 / (2 s^2), of codes [B, m] and e [B, D]; [B]."""
        return (target - self.mean(codes)).square().sum(dim=1) / (2 * self.deviation**2)
