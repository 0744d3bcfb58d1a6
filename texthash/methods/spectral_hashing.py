"""Spectral hashing: the slowest one-dimensional eigenfunctions of the Laplacian of a uniform box.

u = x W (principal components),  a_k <= u_k <= b_k over train,  R_k = b_k - a_k
omega = n pi / R_k for n = 1 .. ceil((m + 1) R_k / max_k R_k) - 1: keep the m smallest
h(x) = 1[sin(pi / 2 + omega (u_k - a_k)) > 0]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, ClosedForm, HashMethod, Role, Stage
from texthash.nn.encoders import SparseLinear
from texthash.nn.spectral import SpectralModes, principal_components


class SpectralHashing(HashMethod):
    """Spectral hashing of principal components."""

    card = Card(
        name="spectral_hashing",
        title="Spectral Hashing",
        venue="NIPS'2008",
        survey_entry=None,
        tags=(),
        citation="Weiss, Torralba & Fergus, 2008",
        fidelity="code",
        random=False,
    )

    def make_layers(self) -> None:
        self.projection = SparseLinear(self.shape.vocabulary, self.bits)
        self.modes = SpectralModes(self.bits, self.bits)
        self.requires_grad_(False)

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("eigenfunctions", self.choose_eigenfunctions),)

    def choose_eigenfunctions(self, train: Split) -> None:
        """Set the projection, the box and the m slowest modes from the training rows."""
        rows = train.matrix(self.inputs.weighting)
        directions, centre = principal_components(rows, self.bits)
        self.projection.weight.copy_(torch.from_numpy(directions))
        self.projection.bias.copy_(torch.from_numpy(-centre))
        self.modes.choose(rows @ directions - centre)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.modes(self.projection(batch))
