"""PCA hashing: the signs of the leading principal components.

h(x) = 1[(x - c)^T W > 0],   W = the m leading eigenvectors of the covariance of the training rows
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, ClosedForm, HashMethod, Role, Stage
from texthash.nn.encoders import SparseLinear
from texthash.nn.spectral import principal_components


class PCAH(HashMethod):
    """Signs of principal components."""

    card = Card(
        name="pcah",
        title="Semi-Supervised Hashing for Large-Scale Search (its unsupervised baseline)",
        venue="TPAMI'2012",
        survey_entry=None,
        tags=(),
        citation="Wang, Kumar & Chang, 2012",
        fidelity="reconstructed",
    )

    def make_layers(self) -> None:
        self.projection = SparseLinear(self.shape.vocabulary, self.bits)
        self.requires_grad_(False)

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("principal components", self.project),)

    def project(self, train: Split) -> None:
        """Set the projection x W - c W from the training documents."""
        directions, centre = principal_components(train.matrix(self.inputs.weighting), self.bits)
        self.projection.weight.copy_(torch.from_numpy(directions))
        self.projection.bias.copy_(torch.from_numpy(-centre))

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.projection(batch)
