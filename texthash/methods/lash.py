"""LASH: half of the bits from the text, half from a graph of the documents, whose angles follow shared labels.

text        e = P x in R^d of the sentence vector x, P learned first below a classifier of labels, then frozen
structure   n in R^d: Laplacian eigenmaps of the k nearest neighbours by words, standardised; for a text that is in no
            graph n^ = W v + b, ridge regression of n on the weighted words v. The tower reads n^ for all documents
towers      x_1 = A3 drop(LReLU(A2 LReLU(A1 e))),  x_2 = B3 drop(LReLU(B2 LReLU(B1 n^))),  m / 2 bits each
code        z = [x_1; x_2],  h = sgn(z)
decoder     y = D2 LReLU(D1 z), one for both views
loss        ||y - e|| + ||y - n|| + w_q ||z - h|| + w_s || Z z_i - m s_i ||,   S = (Jaccard + cosine of labels) / 2
bits        1[z > 0]

All norms are of a document, not squared, and averaged over a batch; Z are the codes of the batch. Unrelated documents
are asked to be orthogonal. In the paper n is DeepWalk of the citations; corpora here have none, so the graph is derived
from the text, and a new text has no place in it but by the ridge map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import (
    Card,
    ClosedForm,
    GradientStage,
    HashMethod,
    Optimizers,
    Printed,
    Progress,
    Role,
    Stage,
)
from texthash.nn.categories import LabelHead
from texthash.nn.dense import DenseEncoder, Standardization
from texthash.nn.encoders import SparseLinear, xavier_linear
from texthash.nn.label_similarity import weighted_percentage
from texthash.nn.quantization import quantization_loss
from texthash.nn.ridge import ridge
from texthash.nn.spaces import Choice, LogUniform
from texthash.nn.spectral import laplacian_eigenmaps, symmetric_graph


class LASH(HashMethod):
    """Text and structure of a document, with similarities of its labels."""

    training_only = frozenset({"structure"})
    card = Card(
        name="lash",
        title="LASH: Large-scale academic deep semantic hashing",
        venue="TKDE'2021",
        survey_entry=9,
        tags=("Rec", "SFR", "Quan(STanh)"),
        citation="Guo et al., 2021",
        inputs_needed=frozenset({"dense", "labels"}),
        supervision="labels",
        fidelity="code, other encoder",
        deviations=(
            "the classifier of labels is learned above the frozen vectors of corpus.features, where BERT is fine-tuned",
            "the structure is that of the nearest neighbours by words, not DeepWalk of a network of citations; a new "
            "text gets it by ridge regression from its words, and the tower reads that of all documents",
            "where documents have one label each, the classifier's loss is the cross entropy of a softmax",
            "no weights of labels: those of a document count alike, so that their cosine is that of two sets",
            "batches are shuffled, and the epoch is chosen on validation; the code does neither, and chooses on test",
            "the survey names a scaled tanh; the authors' code has a quantization loss of a weight that rises",
        ),
        paper=Printed(
            "the authors' code (Academic-Hammer/LASH), its defaults",
            {
                "hidden": 1000,
                "dropout": 0.1,
                "view_width": 128,
                "similarity": 1.0,
                "cosine_share": 1.0,
                "quantization": 1.3e-4,
                "learning_rate": 3e-4,
                "epochs": 50,
                "batch_size": 500,
                "classifier_epochs": 5,
            },
        ),
    )
    search_space = {
        "learning_rate": LogUniform(1e-4, 3e-3),
        "batch_size": Choice(64, 128, 256, 500),
        "similarity": LogUniform(0.1, 10.0),
        "quantization": LogUniform(1e-4, 1.0),
    }
    structure: Tensor

    hidden: int = Field(1000, ge=1, description="Width of the hidden layers.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Probability of dropping a feature below the codes.")
    view_width: int = Field(128, ge=1, description="Width d of the two views.")
    similarity: float = Field(1.0, ge=0, description="Weight w_s of the similarities of labels.")
    cosine_share: float = Field(1.0, ge=0, description="Weight of the labels' cosine beside their Jaccard index.")
    quantization: float = Field(1.3e-4, ge=0, description="Final weight w_q of the quantization error.")
    neighbours: int = Field(20, ge=1, description="Number k of nearest neighbours in the graph.")
    penalty: float = Field(1.0, gt=0, description="Penalty of the ridge regression of the structure.")
    classifier_epochs: int = Field(5, ge=1, description="Passes in which the text's view is learned.")
    learning_rate: float = Field(3e-4, gt=0, description="Learning rate of Adam.")
    epochs: int = Field(50, ge=1, description="Passes over the training documents.")
    batch_size: int = Field(500, ge=1, description="Documents in a batch.")

    def make_layers(self) -> None:
        shape, half = self.shape, self.bits // 2
        # As many eigenvectors as the graph can have; the decoder's output is as wide as both views.
        self.width = max(1, min(self.view_width, shape.documents - 2))
        self.standardization = Standardization(shape.dense)
        self.text = xavier_linear(shape.dense, self.width)
        self.classifier = LabelHead(self.width, shape.labels, shape.multi_label)
        self.structure_of_words = SparseLinear(shape.vocabulary, self.width).requires_grad_(False)
        self.towers = nn.ModuleList(
            nn.Sequential(
                DenseEncoder(self.width, self.hidden, 2, activation="leaky_relu", dropout=self.dropout),
                xavier_linear(self.hidden, half),
            )
            for _ in range(2)
        )
        self.decoder = nn.Sequential(
            xavier_linear(self.bits, self.hidden), nn.LeakyReLU(), xavier_linear(self.hidden, self.width)
        )

    def setup(self, train: Split) -> None:
        device = self.binarizer.thresholds.device
        self.register_buffer("structure", torch.zeros(len(train), self.width, device=device))

    def stages(self) -> Sequence[Stage]:
        return (
            ClosedForm("standardisation", self.standardise),
            GradientStage(
                "classifier",
                lambda: self.adam([*self.text.parameters(), *self.classifier.parameters()]),
                self.classifier_epochs,
                self.batch_size,
                self.classify,
                selected=False,
            ),
            ClosedForm("structure", self.embed),
            GradientStage(
                "train",
                lambda: self.adam([*self.towers.parameters(), *self.decoder.parameters()]),
                self.epochs,
                self.batch_size,
                self.step,
            ),
        )

    def adam(self, parameters: list[nn.Parameter]) -> Optimizers:
        return {"main": torch.optim.Adam(parameters, lr=self.learning_rate)}

    def standardise(self, train: Split) -> None:
        """Set mean and scale of the sentence vectors."""
        self.standardization.fit(train.dense(self.shape.encoder or ""))

    def classify(self, batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
        """Take a step of the classifier of labels above the text's view."""
        assert batch.labels is not None
        assert batch.labelled is not None
        count = progress.workers.mean(batch.labelled.sum().float())
        terms = {"classifier": self.classifier.loss(self.view(batch), batch.labels, batch.labelled, count)}
        progress.workers.optimizer_step(terms["classifier"], optimizers["main"])
        return terms

    def embed(self, train: Split) -> None:
        """Embed the graph of the training documents, and fit a map from the words of a document to its place in it."""
        weighting = self.inputs.weighting
        nearest, weights = train.neighbours(min(self.neighbours, len(train) - 1), f"cosine:{weighting}")
        places = laplacian_eigenmaps(symmetric_graph(nearest, weights), self.width)
        places = (places - places.mean(axis=0)) / places.std(axis=0).clip(min=np.finfo(np.float64).tiny)
        self.structure.copy_(torch.from_numpy(places))
        matrix, offset = ridge(train.matrix(weighting), places, self.penalty)
        self.structure_of_words.weight.copy_(torch.from_numpy(matrix))
        self.structure_of_words.bias.copy_(torch.from_numpy(offset))

    def view(self, batch: Batch) -> Tensor:
        """Return the text's view e, [B, d]."""
        assert batch.dense is not None
        e: Tensor = self.text(self.standardization(batch.dense))
        return e

    def codes(self, text: Tensor, structure: Tensor) -> Tensor:
        """Return z [B, m] of the two views [B, d]."""
        return torch.cat([tower(view) for tower, view in zip(self.towers, (text, structure), strict=True)], dim=1)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        e, n = self.view(batch).detach(), self.structure[batch.rows]
        z = self.codes(e, self.structure_of_words(batch))
        y = self.decoder(z)
        weight = self.quantization * progress.fraction
        return {
            "text": torch.linalg.vector_norm(y - e, dim=1).mean(),
            "structure": torch.linalg.vector_norm(y - n, dim=1).mean(),
            "quantization": weight * quantization_loss(z).clamp(min=1e-12).sqrt().mean(),
            "similarity": self.similarity * self.similarity_error(z, batch, progress),
        }

    def similarity_error(self, z: Tensor, batch: Batch, progress: Progress) -> Tensor:
        """Return the mean of || Z z_i - m s_i || over the labelled documents, Z those of all workers."""
        assert batch.labels is not None
        assert batch.labelled is not None
        labelled = batch.labelled.to(z.dtype)
        labels, known = progress.workers.gather(batch.labels), progress.workers.gather(labelled)
        target = self.bits * weighted_percentage(batch.labels, labels, self.cosine_share)
        errors = (z @ progress.workers.gather(z).T - target) * known
        count = progress.workers.mean(labelled.sum()).clamp(min=1)
        return (torch.linalg.vector_norm(errors, dim=1) * labelled).sum() / count

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.codes(self.view(batch), self.structure_of_words(batch))
