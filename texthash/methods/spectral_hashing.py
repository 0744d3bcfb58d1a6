"""Spectral hashing: the slowest one-dimensional eigenfunctions of the Laplacian of a uniform box.

u = x W (principal components),  a_k <= u_k <= b_k over train,  R_k = b_k - a_k
omega = n pi / R_k for n = 1 .. ceil((m + 1) R_k / max_k R_k) - 1: keep the m smallest
h(x) = 1[sin(pi / 2 + omega (u_k - a_k)) > 0]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from texthash.config import Weighting
from texthash.corpora.batches import Batch
from texthash.corpora.dataset import CorpusShape, Split
from texthash.methods.base import Card, ClosedForm, HashMethod, Role, Stage
from texthash.parts.encoders import SparseLinear
from texthash.parts.spectral import principal_components


class SpectralHashing(HashMethod):
    card = Card(
        name="spectral_hashing",
        title="Spectral Hashing",
        venue="NIPS'2008",
        survey_entry=None,
        tags=(),
        citation="Weiss, Torralba & Fergus, 2008",
        fidelity="code",
    )

    lowest: Tensor
    component: Tensor
    frequency: Tensor

    def __init__(self, shape: CorpusShape, bits: int, *, weighting: Weighting = "tfidf") -> None:
        super().__init__(shape, bits, weighting)
        self.projection = SparseLinear(shape.vocabulary, bits)
        self.register_buffer("lowest", torch.zeros(bits))
        self.register_buffer("component", torch.zeros(bits, dtype=torch.int64))
        self.register_buffer("frequency", torch.zeros(bits))
        self.requires_grad_(False)

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("eigenfunctions", self.choose_eigenfunctions),)

    def choose_eigenfunctions(self, train: Split) -> None:
        """Set the projection, the box and the m slowest modes from the training rows."""
        rows = train.matrix(self.weighting)
        directions, centre = principal_components(rows, self.bits)
        components = rows @ directions - centre
        component, frequency = slowest_modes(components.max(axis=0) - components.min(axis=0), self.bits)
        self.projection.weight.copy_(torch.from_numpy(directions))
        self.projection.bias.copy_(torch.from_numpy(-centre))
        self.lowest.copy_(torch.from_numpy(components.min(axis=0)))
        self.component.copy_(torch.from_numpy(component))
        self.frequency.copy_(torch.from_numpy(frequency))

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        offset = (self.projection(batch) - self.lowest)[:, self.component]
        return torch.sin(math.pi / 2 + self.frequency * offset)


def slowest_modes(ranges: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Components and frequencies, [count] each, of the slowest modes of a box with side lengths ``ranges``."""
    modes = [
        (n * math.pi / side, k)
        for k, side in enumerate(ranges)
        for n in range(1, math.ceil((count + 1) * side / ranges.max()))
    ]
    chosen = sorted(modes)[:count]
    return np.array([k for _, k in chosen]), np.array([omega for omega, _ in chosen], dtype=np.float32)
