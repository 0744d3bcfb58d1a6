"""PCA hashing: the signs of the leading principal components.

h(x) = 1[(x - c)^T W > 0],   W = the m leading eigenvectors of the covariance of the training rows
"""

from __future__ import annotations

from collections.abc import Sequence

from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, ClosedForm, Stage
from texthash.methods.projected import ProjectedMethod
from texthash.nn.spectral import principal_components


class PCAH(ProjectedMethod):
    """Signs of principal components."""

    nested = True
    card = Card(
        name="pcah",
        title="Semi-Supervised Hashing for Large-Scale Search (its unsupervised baseline)",
        venue="TPAMI'2012",
        survey_entry=None,
        tags=(),
        citation="Wang, Kumar & Chang, 2012",
        fidelity="reconstructed",
        random=False,
    )

    weighting = "unit_bm25"  # as itq

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("principal components", self.project),)

    def project(self, train: Split) -> None:
        """Set the projection x W - c W from the training documents."""
        directions, centre = principal_components(self.rows_of(train), self.bits)
        self.projection.set(directions, -centre)
