"""Self-Taught Hashing: codes of the training documents from a spectral embedding, a classifier a bit for all others.

    Stage 1   W: cosine graph of the k nearest neighbours;  L y = lambda D y, L = D - W, the m smallest non-trivial
              eigenvectors, each cut at its median -> B in {0, 1}^{N x m}
    Stage 2   for each bit j a linear SVM on the document's weights predicts B_j

Training documents keep B itself as their codes; only unseen documents go through the classifiers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.hamming.codes import pack, unpack
from texthash.methods.base import Card, ClosedForm, HashMethod, Printed, Role, Stage
from texthash.nn.encoders import SparseLinear
from texthash.nn.spaces import Choice, LogUniform
from texthash.nn.spectral import balanced_bits


class STH(HashMethod):
    """Self-taught hashing."""

    card = Card(
        name="sth",
        title="Self-Taught Hashing for Fast Similarity Search",
        venue="SIGIR'2010",
        survey_entry=None,
        tags=(),
        citation="Zhang, Wang, Cai & Lu, 2010",
        fidelity="code",
        deviations=("the neighbour graph is symmetrised, max(W, W^T); the port that was read leaves it directed",),
        paper=Printed("the author's demonstration, as quoted elsewhere", {"neighbours": 25}),
        random=False,
    )
    search_space = {
        "neighbours": Choice(10, 20, 25, 50),
        "penalty": LogUniform(0.1, 10.0),
        "weighting": Choice("tfidf", "sublinear_tfidf", "binary_tfidf"),
    }

    codes: Tensor

    neighbours: int = Field(25, ge=1, description="Number k of nearest neighbours in the graph.")
    penalty: float = Field(1.0, gt=0, description="Penalty C of the support vector machines.")

    def make_layers(self) -> None:
        self.classifiers = SparseLinear(self.shape.vocabulary, self.bits)
        self.register_buffer("codes", torch.zeros(self.shape.documents, self.bits // 8, dtype=torch.uint8))
        self.requires_grad_(False)

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("spectral codes", self.embed), ClosedForm("classifiers", self.learn_classifiers))

    def embed(self, train: Split) -> None:
        """Compute balanced codes of the training documents (stage 1)."""
        nearest, similarity = train.neighbours(self.neighbours, f"cosine:{self.inputs.weighting}")
        self.codes.copy_(torch.from_numpy(pack(balanced_bits(nearest, similarity, self.bits))))

    def learn_classifiers(self, train: Split) -> None:
        """Fit the classifiers that predict each bit of unseen documents (stage 2)."""
        from sklearn.svm import LinearSVC  # takes a second to import, which would delay every search

        rows = train.matrix(self.inputs.weighting)
        for j, bit in enumerate(unpack(self.codes.cpu().numpy()).T):
            svm = LinearSVC(C=self.penalty, random_state=0).fit(rows, bit)
            self.classifiers.weight[:, j] = torch.from_numpy(svm.coef_[0])
            self.classifiers.bias[j] = float(svm.intercept_[0])

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.classifiers(batch)

    def serving_layers(self) -> Sequence[nn.Module]:
        return (self.classifiers,)

    def database_codes(self) -> np.ndarray:
        return self.codes.cpu().numpy()
