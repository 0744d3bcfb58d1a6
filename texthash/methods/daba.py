"""DABA: a denoising autoencoder of word sequences whose codes are drawn to fair coins by optimal transport.

encoder    a = g(w~), g: word vectors, convolution, pooling, H, m;  b = sigma(a);  w~: words taken out at random
decoder    p(w_t | b) = softmax(x_t R + c)_w,  x = transposed convolutions of b
prior      z ~ Bern(1/2)^m, in {0, 1}^m
loss       L_rec = - mean_t log p(w_t | b)                     of the clean sequence; encoder and decoder
           L_W   = min_pi (1/B) sum_i ||b_i - z_pi(i)||^2      primal Wasserstein distance; the encoder alone
bits       1[a > 0], that is b > 1/2

Some steps of L_rec, then some of L_W, each on its own minibatch. Fair coins are balanced, uncorrelated and binary, so
that one distance stands for three penalties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from texthash.config import Weighting
from texthash.corpora.prepared.batches import Batch
from texthash.errors import UsageError
from texthash.methods.base import Card, Optimizers, Progress, Role
from texthash.methods.generative import GenerativeMethod
from texthash.nn import transport
from texthash.nn.encoders import xavier_linear
from texthash.nn.matching import fair_coins
from texthash.nn.sequences import SequenceDecoder, SequenceEncoder
from texthash.nn.spaces import Choice, LogUniform, Uniform

Distance = Literal["assigned", "sliced", "componentwise"]
DISTANCES: dict[Distance, Callable[..., Tensor]] = {
    "assigned": transport.assigned_distance,
    "sliced": transport.sliced_distance,
    "componentwise": transport.componentwise_distance,
}


class DABA(GenerativeMethod):
    """Denoising adversarial binary autoencoder.

    Raises:
        UsageError: The distance is unknown, the window is even, or a round has no steps.
    """

    card = Card(
        name="daba",
        title="Efficient Implicit Unsupervised Text Hashing using Adversarial Autoencoder",
        venue="WWW'2020",
        survey_entry=18,
        tags=("Rec", "CB", "Quan(Sigmoid)", "Robustness"),
        citation="Doan & Reddy, 2020, doi:10.1145/3366423.3380150",
        inputs_needed=frozenset({"tokens"}),
        fidelity="reconstruction failed",
        deviations=(
            "the layers for text, the corruption and all their sizes are this implementation's own: no code of the "
            "text model is public",
            "the normaliser of a document's reconstruction is estimated, without bias, from a sample of its positions",
            "pooling sums tanh features: with maxima of ReLU features, the usual choice, all codes collapsed into one",
            "the weight of L_W scales the learning rate of its steps, because Adam is invariant to the scale of a loss",
        ),
    )
    search_space = {
        "learning_rate": LogUniform(1e-3, 1e-2),
        "dropout": Uniform(0.0, 0.5),
        "keep": Uniform(0.5, 1.0),
        "distance": Choice(*DISTANCES),
        "distance_weight": LogUniform(0.01, 1.0),
        "reconstruction_steps": Choice(1, 2, 5),
    }

    decoder: SequenceDecoder

    embedding: int = Field(64, ge=1, description="Width of word vectors.")
    channels: int = Field(128, ge=1, description="Filters of each convolution.")
    window: int = Field(3, ge=1, description="Words under a filter of the encoder, an odd number.")
    hidden: int = Field(500, ge=1, description="Width H of the encoder's last layer.")
    length: int = Field(128, ge=1, description="Number of words of a document that are read.")
    places: int = Field(
        4,
        ge=1,
        description="Number of positions of a document at which the distribution over all words is computed in a step.",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Probability of dropping a hidden feature in training.")
    keep: float = Field(0.8, gt=0, le=1, description="Share of words kept by the corruption.")
    distance: Distance = Field(
        "assigned", description="L_W by the optimal assignment; sliced and componentwise are cheaper."
    )
    reconstruction_steps: int = Field(5, ge=0, description="Number of steps of L_rec in a round.")
    distance_steps: int = Field(1, ge=0, description="Number of steps of L_W that follow them.")
    distance_weight: float = Field(
        0.1, ge=0, description="Learning rate of the steps of L_W, relative to that of the others."
    )
    learning_rate = 5e-3
    epochs = 25
    batch_size: int = Field(128, ge=1, description="Documents in a batch; the assignment takes O(B^3).")
    weighting: Weighting = Field("tfidf", description="Not used: words are read in order.")

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        if values["reconstruction_steps"] + values["distance_steps"] == 0:
            raise UsageError(
                "method.params.reconstruction_steps=0: a round of daba has no steps, as distance_steps is 0 too.",
                "set one of them to 1 or more.",
            )
        if values["window"] % 2 == 0:
            raise UsageError(
                f"method.params.window={values['window']}: window of daba has to be an odd number.",
                "choose an odd number.",
            )

    def make_layers(self) -> None:
        super().make_layers()
        words = self.shape.vocabulary
        self.inputs = replace(self.inputs, max_length=self.length)
        self.encoder = SequenceEncoder(words, self.embedding, self.channels, self.window, self.hidden, self.dropout)
        self.logits = xavier_linear(self.hidden, self.bits)
        self.decoder = SequenceDecoder(self.bits, words, self.embedding, self.channels, self.length)

    def optimizers(self) -> Optimizers:
        encoder = [*self.encoder.parameters(), *self.logits.parameters()]
        rate = self.learning_rate * self.distance_weight
        return {**super().optimizers(), "distance": torch.optim.Adam(encoder, lr=rate, fused=True)}

    def step(self, batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
        """Take one step of L_rec or of L_W, by the position in the round."""
        position = progress.step % (self.reconstruction_steps + self.distance_steps)
        if position < self.reconstruction_steps:
            name, loss, optimizer = "reconstruction", self.reconstruction(batch, progress), optimizers["main"]
        else:
            name, loss, optimizer = "distance", self.mismatch(batch, progress), optimizers["distance"]
        progress.workers.optimizer_step(loss, optimizer)
        return {name: loss}

    def reconstruction(self, batch: Batch, progress: Progress) -> Tensor:
        """Return L_rec: clean words from the code of the corrupted ones, per word over the documents of all workers."""
        assert batch.tokens is not None
        assert batch.mask is not None
        noisy = torch.bernoulli(self.keep * batch.mask, generator=progress.generator)
        codes = torch.sigmoid(self.logits(self.encoder(batch.tokens, noisy)))
        likelihood = self.decoder.log_likelihood(codes, batch.tokens, batch.mask, self.places, progress.generator)
        return -likelihood.sum() / progress.workers.mean(batch.mask.sum().float()).clamp(min=1)

    def mismatch(self, batch: Batch, progress: Progress) -> Tensor:
        """Return L_W between the documents of all workers and fair coins that they share."""
        codes = torch.sigmoid(self.activations(batch))
        coins = progress.workers.gather(fair_coins(codes, progress.generator))
        return DISTANCES[self.distance](progress.workers.gather(codes), coins)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        assert batch.tokens is not None
        assert batch.mask is not None
        return self.logits(self.encoder(batch.tokens, batch.mask.float()))
