"""THC: a convolutional network and the words of a text predict the bits that a spectral embedding gave.

stage 1    W: cosine graph of the k nearest neighbours of the training documents;  L y = lambda D y, the m smallest
           non-trivial eigenvectors, each cut at its median -> t in {0, 1}^{N x m}, as in self-taught hashing
words      PPMI of words within a window, its leading singular vectors: where the vectors E of words start
stage 2    h = k-max convolutions of [E_{w_t}; P_t], the words in their order with positions (implicit features)
           o = W_h h + W_x x + b, x the weighted words (explicit features)
loss       - sum_k [ t_k log sigma(o_k) + (1 - t_k) log(1 - sigma(o_k)) ]
bits       1[sigma(o) > 1/2], of training documents too

THC-S       weighs edges of the graph by tags, 1 within a tag and ``between`` elsewhere, and predicts the tags from h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, ClosedForm, GradientStage, HashMethod, Optimizers, Progress, Role, Stage
from texthash.nn.categories import LabelHead
from texthash.nn.encoders import SparseLinear, xavier_linear
from texthash.nn.k_max import KMaxEncoder
from texthash.nn.spaces import Choice, LogUniform
from texthash.nn.spectral import balanced_bits
from texthash.nn.word_vectors import cooccurrences, positive_information, word_vectors


class THC(HashMethod):
    """Convolutional network fitted to spectral bits."""

    training_only = frozenset({"targets"})
    card = Card(
        name="thc",
        title="Convolutional neural networks for text hashing",
        venue="IJCAI'2015",
        survey_entry=36,
        tags=("SFC",),
        citation="Xu et al., 2015",
        inputs_needed=frozenset({"tokens"}),
        fidelity="reconstructed",
        deviations=(
            "reconstructed from the abstract, and from the authors' code of two siblings (HMTT, STC2)",
            "vectors of words start at singular vectors of their co-occurrence in train, not at word2vec",
            "no folding of rows, Adam in place of AdaGrad, and no penalty of the weights",
            "training documents get predicted bits, like all others; HMTT keeps the spectral ones",
        ),
    )
    search_space = {
        "learning_rate": LogUniform(3e-4, 1e-2),
        "batch_size": Choice(64, 128, 200),
        "neighbours": Choice(10, 15, 25, 50),
    }
    targets: Tensor

    neighbours: int = Field(25, ge=1, description="Number k of nearest neighbours in the graph.")
    embedding: int = Field(48, ge=1, description="Width of the vectors of words.")
    position: int = Field(8, ge=0, description="Width of the vectors of positions.")
    length: int = Field(200, ge=1, description="Number of words that are read in their order.")
    window: int = Field(3, ge=1, description="Width of a filter in words.")
    channels: int = Field(32, ge=1, description="Number of filters of each convolution.")
    top: int = Field(5, ge=1, description="Number k of values that the last pooling keeps of each filter.")
    context: int = Field(5, ge=1, description="Distance up to which words co-occur.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Probability of dropping an implicit feature in training.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam.")
    epochs: int = Field(15, ge=1, description="Passes over the training documents.")
    batch_size: int = Field(200, ge=1, description="Documents in a batch.")

    def make_layers(self) -> None:
        vocabulary = self.shape.vocabulary
        self.encoder = KMaxEncoder(
            vocabulary,
            self.embedding,
            position=self.position,
            length=self.length,
            channels=(self.channels, self.channels),
            window=self.window,
            top=self.top,
            dropout=self.dropout,
        )
        self.implicit = xavier_linear(self.encoder.width, self.bits)
        self.explicit = SparseLinear(vocabulary, self.bits)
        self.inputs = replace(self.inputs, max_length=self.length)

    def setup(self, train: Split) -> None:
        device = self.binarizer.thresholds.device
        self.register_buffer("targets", torch.zeros(len(train), self.bits, dtype=torch.uint8, device=device))

    def stages(self) -> Sequence[Stage]:
        return (
            ClosedForm("spectral codes", self.embed),
            ClosedForm("word vectors", self.start_words),
            GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step),
        )

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.learning_rate)}

    def embed(self, train: Split) -> None:
        """Compute the balanced bits of the training documents."""
        count = min(self.neighbours, len(train) - 1)
        nearest, weights = train.neighbours(count, f"cosine:{self.inputs.weighting}")
        self.targets.copy_(torch.from_numpy(balanced_bits(nearest, self.weighed(nearest, weights, train), self.bits)))

    def weighed(self, nearest: np.ndarray, weights: np.ndarray, train: Split) -> np.ndarray:
        """Return the weights of the edges [N, k]: the cosines."""
        return weights

    def start_words(self, train: Split) -> None:
        """Start the vectors of words at those of their co-occurrence, scaled to a mean square of 1."""
        counts = cooccurrences(*train.tokens, self.shape.vocabulary, self.context)
        vectors = word_vectors(positive_information(counts), self.embedding)
        size = float(np.sqrt(np.square(vectors).mean())) or 1.0
        with torch.no_grad():
            self.encoder.words.copy_(torch.from_numpy(vectors / size))

    def features(self, batch: Batch) -> Tensor:
        """Return the implicit features h, [B, H]."""
        assert batch.tokens is not None
        assert batch.mask is not None
        h: Tensor = self.encoder(batch.tokens, batch.mask)
        return h

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        return self.terms(self.features(batch), batch)

    def terms(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the cross entropy of the bits, given implicit features [B, H]."""
        logits = self.implicit(features) + self.explicit(batch)
        targets = self.targets[batch.rows].to(logits.dtype)
        errors = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return {"bits": errors.sum(dim=1).mean()}

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.implicit(self.features(batch)) + self.explicit(batch)


class SupervisedTHC(THC):
    """THC whose graph and features know the tags of the training documents."""

    card = replace(
        THC.card,
        name="thc_s",
        title=f"{THC.card.title} (with tags)",
        inputs_needed=frozenset({"tokens", "labels"}),
        supervision="labels",
        deviations=(
            *THC.card.deviations,
            "tags are the labels of the corpus; they weigh edges, as in HMTT, and are predicted from the implicit "
            "features: which of the paper's three variants does which is not known",
        ),
    )
    search_space = {**THC.search_space, "between": LogUniform(0.03, 1.0), "label_weight": LogUniform(0.1, 10.0)}

    between: float = Field(0.1, ge=0, le=1, description="Weight of edges between documents that share no tag.")
    label_weight: float = Field(1.0, ge=0, description="Weight of the tags.")
    labels: LabelHead

    def make_layers(self) -> None:
        super().make_layers()
        shape = self.shape
        self.labels = LabelHead(self.encoder.width, shape.labels, shape.multi_label, self.label_weight, 0.0)

    def weighed(self, nearest: np.ndarray, weights: np.ndarray, train: Split) -> np.ndarray:
        labels = train.labels.astype(np.int32)
        rows = np.repeat(np.arange(len(train)), nearest.shape[1])
        shared = np.asarray(labels[rows].multiply(labels[nearest.ravel()]).sum(axis=1)).reshape(nearest.shape) > 0
        return np.where(shared, weights, self.between * weights)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        features = self.features(batch)
        assert batch.labels is not None
        assert batch.labelled is not None
        count = progress.workers.mean(batch.labelled.sum().float())
        labels = self.labels.loss(features, batch.labels, batch.labelled, count)
        return {**self.terms(features, batch), "labels": self.label_weight * labels}
