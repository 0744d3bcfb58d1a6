"""Base of the methods that extend short texts by what goes with their words, and hash the extended text.

x          in [0, 1]^M, the words that occur and, at lower weights, what extends them; M from the most frequent words
layers     x -> H -> H / 2 -> m, sigmoid each, weights shared with the decoder, pretrained one by one, then together
noise      entries of x are set to 0, and s eps is added to the code's input, eps ~ N(0, I), in training
loss       cross entropy of x and x^, summed over its M entries
bits       1[sigma(f(x)) > 1/2]

Words that co-occur in the training documents, and clusters of their vectors, stand in for a knowledge base.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import ClosedForm, GradientStage, HashMethod, Optimizers, Progress, Role, Stage
from texthash.nn.enrichment import Enrichment, concept_table
from texthash.nn.spaces import Choice, LogUniform, Uniform
from texthash.nn.stacked import StackedAutoencoder
from texthash.nn.word_vectors import cooccurrences, positive_information, word_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_VECTOR_WIDTH = 64  # of the word vectors whose clusters are concepts


class ExtendedTextMethod(HashMethod):
    """Base class: an autoencoder of extended texts.

    A subclass sets ``extra``, the number of entries of x beside the words, before :meth:`make_layers` of this class; it
    defines :meth:`tables`, which learns from the training documents what words go with, and :meth:`extended`.

    Attributes:
        concepts: Concepts of each word.
        places: Number of each word among the most frequent, -1 for the others.
    """

    search_space = {
        "learning_rate": LogUniform(3e-4, 3e-3),
        "masking": Uniform(0.0, 0.4),
        "noise": Uniform(0.0, 4.0),
        "concept_weight": Uniform(0.0, 1.0),
        "batch_size": Choice(64, 128, 256),
    }
    places: Tensor

    word_count: int = Field(
        3000, ge=1, alias="words", description="Number of words that are read, most frequent first."
    )
    hidden: int = Field(500, ge=2, description="Width of the first hidden layer; the second is half as wide.")
    concept_count: int = Field(200, ge=1, description="Number of concepts, clusters of words.")
    concepts_each: int = Field(3, ge=1, description="Number of concepts of a word.")
    concept_weight: float = Field(0.5, ge=0, le=1, description="Weight of a concept of a text; 0 for no concepts.")
    context: int = Field(5, ge=1, description="Distance up to which words co-occur.")
    masking: float = Field(0.2, ge=0, lt=1, description="Probability of setting an entry of x to 0 in training.")
    noise: float = Field(1.0, ge=0, description="Standard deviation s of the noise of the code's input.")
    pretraining_epochs: int = Field(5, ge=0, description="Number of epochs in which each layer is learned alone.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam.")
    epochs: int = Field(30, ge=1, description="Passes over the training documents with all layers.")
    batch_size: int = Field(128, ge=1, description="Documents in a batch.")

    @property
    @abstractmethod
    def extra(self) -> int:
        """Number of entries of x beside words and concepts."""

    @abstractmethod
    def tables(self, counts: csr_matrix, information: csr_matrix, train: Split) -> None:
        """Learn what else extends words, from their co-occurrences n and PPMI [V, V]."""

    @abstractmethod
    def extended(self, words: Tensor, concepts: Tensor, batch: Batch) -> Tensor:
        """Return x [B, M] of the words that occur [B, words] and of the concepts of each text [B, concepts]."""

    def make_layers(self) -> None:
        vocabulary = self.shape.vocabulary
        self.read = min(self.word_count, vocabulary)
        self.register_buffer("places", torch.full((vocabulary,), -1))
        self.concepts = Enrichment(vocabulary, min(self.concepts_each, self.concept_count), self.concept_count)
        width = self.read + self.concept_count + self.extra
        self.layers = StackedAutoencoder([width, self.hidden, max(1, self.hidden // 2), self.bits])

    def stages(self) -> Sequence[Stage]:
        pretraining = [
            GradientStage(
                f"layer {number + 1}",
                self.adam(self.layers.parameters_of(number)),
                self.pretraining_epochs,
                self.batch_size,
                self.pretrain(number),
                selected=False,
            )
            for number in range(len(self.layers.weights))
            if self.pretraining_epochs
        ]
        tuning = GradientStage("train", self.adam(self.parameters()), self.epochs, self.batch_size, self.step)
        return (ClosedForm("words and concepts", self.learn_tables), *pretraining, tuning)

    def adam(self, parameters: Iterable[nn.Parameter]) -> Callable[[], Optimizers]:
        chosen = list(parameters)
        return lambda: {"main": torch.optim.Adam(chosen, lr=self.learning_rate)}

    def learn_tables(self, train: Split) -> None:
        """Choose the most frequent words, learn the tables, and start x^ at the mean of x."""
        vocabulary = self.shape.vocabulary
        chosen = np.argsort(-train.vocabulary.document_frequency, kind="stable")[: self.read]
        self.places.fill_(-1)
        self.places[torch.from_numpy(chosen)] = torch.arange(len(chosen), device=self.places.device)
        counts = cooccurrences(*train.tokens, vocabulary, self.context)
        information = positive_information(counts)
        vectors = word_vectors(information, _VECTOR_WIDTH)
        self.concepts.set(concept_table(vectors, self.concept_count, self.concepts.index.shape[1]))
        self.tables(counts, information, train)
        device, total = self.places.device, torch.zeros(())
        for batch in batches(train, 1024, self.encoding_inputs):
            total = total + self.x(batch.to(device)).sum(dim=0).cpu()
        self.layers.start_at((total / len(train)).to(device))

    def x(self, batch: Batch) -> Tensor:
        """Return the extended texts, [B, M] in [0, 1]."""
        words = torch.zeros(len(batch), self.read + 1, device=self.places.device)
        words[batch.document, self.places[batch.indices]] = 1.0  # place -1, the last, of words that are not read
        return self.extended(words[:, :-1], self.concepts_of(batch), batch)

    def concepts_of(self, batch: Batch) -> Tensor:
        """Return the mean of P(c | t) over the words of each text that have concepts, [B, concepts]."""
        sums: Tensor = self.concepts(batch)
        return sums / sums.sum(dim=1, keepdim=True).clamp(min=1)

    def pretrain(self, number: int) -> Callable[[Batch, Progress, Optimizers], Mapping[str, Tensor]]:
        """Return the step of one layer on the outputs of those below it."""

        def step(batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
            with torch.no_grad():
                x = self.x(batch)
                below = torch.sigmoid(self.layers.encode(x, number)) if number else x
            terms = {"layer": self.layers.layer_error(number, below, self.masked(below, progress)).mean()}
            progress.workers.optimizer_step(terms["layer"], optimizers["main"])
            return terms

        return step

    def masked(self, x: Tensor, progress: Progress) -> Tensor:
        """Return x [B, M] with entries set to 0."""
        if not self.masking:
            return x
        drawn = torch.rand(x.shape, generator=progress.generator, device=x.device)
        return x * (drawn >= self.masking)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        x = self.x(batch)
        logits = self.layers.encode(self.masked(x, progress))
        noise = torch.randn(logits.shape, generator=progress.generator, device=logits.device)
        decoded = self.layers.decode(torch.sigmoid(logits + self.noise * noise))
        error = F.binary_cross_entropy_with_logits(decoded, x, reduction="none").sum(dim=1)
        return {"reconstruction": error.mean()}

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.layers.encode(self.x(batch))
