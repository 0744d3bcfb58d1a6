"""Base class of the two methods that pretrain a deep autoencoder of word counts by restricted Boltzmann machines.

V -> H_1 -> ... -> m      a machine a layer, each learned by CD-1 on the hidden probabilities of the one below
unrolled                  f(x) = W_L^T (... sigma(W_1^T x + b_1) ...) + b_L, and its transposes back to the words
fine-tuning               - sum_w v_w log softmax(f^{-1}(code(f(x))))_w, in which all layers move
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.config import Weighting
from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import ClosedForm, GradientStage, HashMethod, Optimizers, Progress, Stage
from texthash.nn.boltzmann import RBM, CountedWords, CountRBM, frequent_words
from texthash.nn.encoders import xavier_linear
from texthash.nn.reconstruction import word_log_likelihood


class PretrainedAutoencoder(HashMethod):
    """Base class of methods with a stack of machines.

    Attributes:
        gaussian: True if the top units are Gaussian, and linear in the unrolled encoder.
        replicated: True if the bottom machine is a replicated softmax; else it is a constrained Poisson.
        tuning_is_last: True if no stage follows fine-tuning.
    """

    places: Tensor
    gaussian: ClassVar[bool]
    replicated: ClassVar[bool]
    tuning_is_last: ClassVar[bool] = True

    word_count: int = Field(
        2000, ge=1, alias="words", description="Number of words that are read, most frequent first."
    )
    hidden: int = Field(500, ge=1, description="Width of the two layers below the top.")
    pretraining_epochs: int = Field(
        10, ge=0, description="Number of epochs of each machine; with 0 the layers keep their random initial values."
    )
    pretraining_rate: float = Field(1e-3, gt=0, description="Learning rate of CD-1.")
    init: float = Field(
        0.01,
        gt=0,
        description="Standard deviation of the machines' initial weights. The first steps of Adam move all weights "
        "equally far, so units that start nearly alike stay alike.",
    )
    epochs: int = Field(10, ge=1, description="Number of epochs of fine-tuning.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam in fine-tuning.")
    batch_size: int = Field(100, ge=1, description="Documents in a batch.")
    weighting: Weighting = Field("counts", description="Not used: words are counted.")

    @property
    @abstractmethod
    def top_width(self) -> int:
        """Width of the top layer."""

    def make_layers(self) -> None:
        vocabulary, hidden, top = self.shape.vocabulary, self.hidden, self.top_width
        words = min(self.word_count, vocabulary)
        self.register_buffer("places", torch.full((vocabulary,), -1))
        self.bottom = CountRBM(words, hidden, self.replicated, self.init)
        self.middle, self.top = RBM(hidden, hidden, std=self.init), RBM(hidden, top, self.gaussian, self.init)
        self.down_top, self.down_middle = xavier_linear(top, hidden), xavier_linear(hidden, hidden)
        self.words = xavier_linear(hidden, words)

    def stages(self) -> Sequence[Stage]:
        machines = (("words", self.bottom), ("middle", self.middle), ("top", self.top))
        pretraining = [
            GradientStage(
                f"machine: {name}",
                self.adam(machine, self.pretraining_rate),
                self.pretraining_epochs,
                self.batch_size,
                self.contrast(number),
                selected=False,
            )
            for number, (name, machine) in enumerate(machines)
            if self.pretraining_epochs
        ]
        tuning = GradientStage(
            "fine-tuning",
            self.adam(self, self.learning_rate),
            self.epochs,
            self.batch_size,
            self.step,
            selected=self.tuning_is_last,
        )
        choose = ClosedForm("frequent words", self.choose_words)
        return (choose, *pretraining, ClosedForm("unrolling", self.unroll), tuning)

    def adam(self, module: nn.Module, rate: float) -> Callable[[], Optimizers]:
        return lambda: {"main": torch.optim.Adam(module.parameters(), lr=rate, fused=True)}

    def choose_words(self, train: Split) -> None:
        """Choose the words in most training documents; their log frequencies initialise the visible biases."""
        frequency = train.vocabulary.document_frequency
        chosen = np.argsort(-frequency, kind="stable")[: len(self.words.bias)]
        self.places.fill_(-1)
        self.places[torch.from_numpy(chosen)] = torch.arange(len(chosen), device=self.places.device)
        share = torch.from_numpy(frequency[chosen] / frequency[chosen].sum())
        with torch.no_grad():
            self.bottom.visible_bias.copy_(torch.log(share))
            self.words.bias.copy_(self.bottom.visible_bias)

    def contrast(self, number: int) -> Callable[[Batch, Progress, Optimizers], Mapping[str, Tensor]]:
        """Return the CD-1 step of a machine, on the outputs of the machines below it."""

        def step(batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
            v = self.read(batch)
            if number == 0:
                loss = self.bottom.contrastive_loss(v, progress.generator)
                with torch.no_grad():
                    logits = self.bottom.word_logits(torch.sigmoid(self.bottom.hidden_input(v)))
                    terms = {"reconstruction": -word_log_likelihood(logits, v, v.values).mean()}
            else:
                machine = self.middle if number == 1 else self.top
                with torch.no_grad():
                    below = self.probabilities(v, number)
                    terms = {"error": (machine.reconstruct(below, progress.generator) - below).square().mean()}
                loss = machine.contrastive_loss(below, progress.generator)
            progress.workers.optimizer_step(loss, optimizers["main"])
            return terms

        return step

    def unroll(self, train: Split) -> None:
        """Initialise the decoder to the transposes of the machines, if they were pretrained."""
        if not self.pretraining_epochs:
            return
        with torch.no_grad():
            for layer, machine in ((self.down_top, self.top), (self.down_middle, self.middle)):
                layer.weight.copy_(machine.weight)
                layer.bias.copy_(machine.visible_bias)
            self.words.weight.copy_(self.bottom.up.weight)
            self.words.bias.copy_(self.bottom.visible_bias)

    def read(self, batch: Batch) -> CountedWords:
        """Return the counts of the frequent words."""
        return frequent_words(batch, self.places, batch.counts)

    def probabilities(self, v: CountedWords, layers: int) -> Tensor:
        """Return the probabilities of the hidden units of the first one or two machines, [B, H]."""
        hidden = torch.sigmoid(self.bottom.hidden_input(v))
        return hidden if layers == 1 else torch.sigmoid(self.middle.hidden_input(hidden))

    def encode(self, v: CountedWords) -> Tensor:
        """Return f, the input of the top units, [B, top]."""
        return self.top.hidden_input(self.probabilities(v, 2))

    @abstractmethod
    def code(self, top: Tensor, batch: Batch) -> Tensor:
        """Return the decoder's input for the inputs of the top units, [B, top]."""

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        v = self.read(batch)
        hidden = self.code(self.encode(v), batch)
        for layer in (self.down_top, self.down_middle):
            hidden = torch.sigmoid(layer(hidden))
        return {"reconstruction": -word_log_likelihood(self.words(hidden), v, v.values).mean()}
