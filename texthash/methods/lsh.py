"""LSH: random hyperplanes.

    w_j ~ N(0, I),   h_j(x) = 1[w_j^T x > 0]

For unit vectors the probability that a bit differs is angle / pi. Nothing is learned; average over several seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Role, Stage
from texthash.methods.projected import ProjectedMethod


class LSH(ProjectedMethod):
    """Random hyperplanes."""

    nested = True
    card = Card(
        name="lsh",
        title="Similarity Estimation Techniques from Rounding Algorithms",
        venue="STOC'2002",
        survey_entry=None,
        tags=(),
        citation="Charikar, 2002",
    )

    def make_layers(self) -> None:
        self.hyperplanes = self.new_projection()
        for weights in self.hyperplanes.weights:
            weights.data.normal_()
        self.requires_grad_(False)

    def stages(self) -> Sequence[Stage]:
        return ()

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.hyperplanes(batch)

    def serving_layers(self) -> Sequence[nn.Module]:
        return (self.hyperplanes,)
