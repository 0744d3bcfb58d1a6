"""Base classes of generative methods, whose codes are learned in one stage with a decoder of the document's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import ClosedForm, GradientStage, HashMethod, Optimizers, Progress, Stage
from texthash.nn.bags import Bag
from texthash.nn.categories import LabelHead
from texthash.nn.decoders import WordDecoder
from texthash.nn.encoders import MLPEncoder
from texthash.nn.reconstruction import word_log_likelihood, word_shares
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import Choice, LogUniform, Uniform

WordWeights = Literal["once", "input", "share"]


class GenerativeMethod(HashMethod):
    """Base class of methods with a decoder over words, trained by Adam in one stage.

    A subclass sets ``decoder`` and defines ``loss`` and ``activations``.

    Attributes:
        decoder: Decoder from codes to words.
        labels: Classifier from codes to labels, in supervised variants (:class:`Supervised`); else None.
    """

    decoder: WordDecoder
    labels: LabelHead | None

    learning_rate: float = Field(3e-3, gt=0, description="Learning rate of Adam.")
    epochs: int = Field(40, ge=1, description="Passes over the training documents.")
    batch_size: int = Field(64, ge=1, description="Documents in a batch.")

    def make_layers(self) -> None:
        self.labels = None

    def stages(self) -> Sequence[Stage]:
        return (
            ClosedForm("word frequencies", self.start_decoder),
            GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step, self.rate),
        )

    def start_decoder(self, train: Split) -> None:
        """Initialise the decoder's bias to the log frequencies of the words, by the number of documents with each."""
        self.decoder.start_at(torch.from_numpy(train.vocabulary.document_frequency))

    @property
    def width(self) -> int:
        """Width of the decoder's input: the number of bits, unless a method overrides it."""
        return self.bits

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)}

    def rate(self, progress: Progress) -> float:
        """Return the factor on the learning rate; constant unless a method overrides it."""
        return 1.0

    def label_term(self, codes: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return w_y L_y of codes [B, m], over the labelled documents of all workers; empty without a classifier."""
        if self.labels is None:
            return {}
        labels, labelled = batch.labels, batch.labelled
        assert labels is not None, "card.inputs_needed has to include the labels"
        assert labelled is not None
        count = progress.workers.mean(labelled.sum().float())
        return {"labels": self.labels.weight_at(progress.fraction) * self.labels.loss(codes, labels, labelled, count)}

    def all_labels(self, batch: Batch, progress: Progress) -> Tensor:
        """Return the labels of the documents of all workers, [n, labels], for losses of pairs.

        A document without labels has a row of zeros.
        """
        assert batch.labels is not None, "card.inputs_needed has to include the labels"
        return progress.workers.gather(batch.labels)


# Of the labels that the survey's toolbox adds to methods whose papers have none.
LABELS_OF_TOOLBOX = (
    "of the survey's toolbox, not of the paper; w_y reaches its end after a tenth of training, not after 150,000 steps"
)


class Supervised(GenerativeMethod):
    """Mixin that adds the prediction of labels: ``class SupervisedNASH(Supervised, NASH)``.

    The loss becomes

        loss  +  w_y L_y(z),   L_y the cross entropy of y^ = z W + b,

    a binary one where documents have several labels.
    """

    label_weight: float = Field(150.0, ge=0, description="Final weight w_y of the labels.")
    label_ramp: float = Field(0.1, ge=0, le=1, description="Share of training over which w_y rises from 0.")

    def make_layers(self) -> None:
        super().make_layers()
        shape = self.shape
        self.labels = LabelHead(self.label_width, shape.labels, shape.multi_label, self.label_weight, self.label_ramp)

    @property
    def label_width(self) -> int:
        """Width of the classifier's input: that of the code, unless a method overrides it."""
        return self.width


class BagAutoencoder(GenerativeMethod):
    """Base class of methods whose encoder is an MLP over the bag of words, h: V -> H -> ... -> H.

    Attributes:
        slope: Slope of the encoder's activation below 0: 0 for ReLU, else leaky ReLU.
    """

    slope: ClassVar[float] = 0.0

    search_space = {
        "learning_rate": LogUniform(1e-3, 8e-3),
        "batch_size": Choice(64, 128, 256),
        "dropout": Uniform(0.05, 0.5),
    }

    hidden: int = Field(500, ge=1, description="Width H of the encoder.")
    layers: int = Field(2, ge=1, description="Number of hidden layers of the encoder.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Probability of dropping a hidden feature in training.")

    def make_layers(self) -> None:
        super().make_layers()
        self.encoder = MLPEncoder(self.shape.vocabulary, self.hidden, self.layers, self.dropout, self.slope)


class WeighsWords(GenerativeMethod):
    """Mixin that reconstructs the words of a document, each counted by a weight that is chosen.

    The chosen weights set the balance of the reconstruction with the other terms of a loss: on 20 Newsgroups a document
    has 80 distinct words, and its tf-idf weights add up to 7.
    """

    word_weights: WordWeights = Field(
        "once",
        description="Weight of a word of a document in the reconstruction: 1 for each distinct word (once), its weight "
        "in the encoder's input (input), or the share of that in the document's sum (share).",
    )

    def word_likelihood(self, logits: Tensor, bag: Bag) -> Tensor:
        """Return the weighted log-likelihood of the words of each document, [B], for logits of all words [B, V]."""
        if self.word_weights == "share":
            return word_log_likelihood(logits, bag, word_shares(bag))
        return word_log_likelihood(logits, bag, bag.values if self.word_weights == "input" else None)


class VariationalMethod(WeighsWords, BagAutoencoder):
    """Base class of methods that minimise a negative bound on the likelihood of the words.

        - E log p(x | z)  +  w_KL KL(q(z | x) || p(z))

    A subclass defines ``sample``, or its own ``loss``.
    """

    search_space = {**BagAutoencoder.search_space, "kl_weight": LogUniform(0.03, 1.0)}

    kl_weight: float = Field(1.0, ge=0, description="Final weight w_KL of the divergence.")
    kl_ramp: float = Field(0.0, ge=0, le=1, description="Share of training over which w_KL rises from 0.")

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        """Return the decoder's input for each document, [B, m], and KL(q(z | x) || p(z)) [B]."""
        raise NotImplementedError(f"{type(self).__name__} draws no codes")

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        z, kl = self.sample(batch, progress)
        return {**self.bound(z, kl, batch, progress), **self.label_term(z, batch, progress)}

    def bound(self, z: Tensor, kl: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return the terms of the bound.

        Args:
            z: Decoder's input for each document, [B, m].
            kl: KL(q(z | x) || p(z)) of each document, [B].
            batch: Documents.
            progress: Progress of training, which determines w_KL.
        """
        weight = linear_ramp(progress.fraction, 0.0, self.kl_weight, over=self.kl_ramp)
        return {
            "reconstruction": -self.word_likelihood(self.word_logits(z, batch), batch).mean(),
            "kl": weight * kl.mean(),
        }

    def word_logits(self, z: Tensor, batch: Batch) -> Tensor:
        """Return the decoder's logits of all words, [B, V]."""
        return self.decoder(z)
