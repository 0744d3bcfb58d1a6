"""DWAE: a discrete Wasserstein autoencoder, whose codes over all documents, not each, are drawn to the prior.

encoder    q = g(x) in R^{m x 2}, g: V -> H -> H -> 2m with ReLU and dropout
sample     z_j = straight-through Gumbel-softmax sample of softmax(q_j), one-hot;  tau falls
decoder    p(w | z) = softmax(z D + b)_w, z in {0, 1}^{2m}: one word embedding for each value of each bit
loss       - sum_{w in x} log p(w | z)  +  lambda D({z_b1}, {zeta_b}),  zeta ~ Bern(1/2)^m   (each distinct word once)
bits       1[q_j1 - q_j0 > 0]

D compares the batch with as many codes of the prior: MMD^2 with a sum of Hamming kernels or with the inverse
multiquadric, the Sinkhorn divergence, or two moments. There is no divergence of single documents, so q(z | x) may
become certain at no cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Progress, Role
from texthash.methods.generative import BagAutoencoder, WeighsWords
from texthash.nn import matching
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import gumbel_softmax
from texthash.nn.schedules import exponential_decay
from texthash.nn.spaces import Choice, LogUniform

Divergence = Literal["mmd", "multiquadric", "sinkhorn", "moments"]


class DWAE(WeighsWords, BagAutoencoder):
    """Discrete Wasserstein autoencoder.

    Raises:
        UsageError: The divergence is unknown.
    """

    card = Card(
        name="dwae",
        title="Discrete Wasserstein Autoencoders for Document Retrieval",
        venue="ICASSP'2020",
        survey_entry=16,
        tags=("Rec", "CB"),
        citation="Zhang & Zhu, 2020, doi:10.1109/ICASSP40776.2020.9053129",
        fidelity="reconstructed",
        deviations=(
            "reconstructed from the title, the survey's tags and the authors' code of Doc2hash; the paper was not "
            "available, and its divergence is not known",
            "learning rate 3e-3 for 40 epochs and tau down to 0.5, where Doc2hash has 5e-4 for 100 and 0.1",
            "the decoder's bias starts at the log frequencies of the words",
        ),
    )
    search_space = {
        **BagAutoencoder.search_space,
        "learning_rate": LogUniform(5e-4, 8e-3),
        "batch_size": Choice(128, 256, 512),
        "end_temperature": LogUniform(0.1, 1.0),
        "divergence": Choice(*get_args(Divergence)),
        "divergence_weight": LogUniform(1.0, 1000.0),
    }

    batch_size = 128
    temperature: float = Field(1.0, gt=0, description="Temperature tau at the start.")
    end_temperature: float = Field(0.5, gt=0, description="Temperature tau after annealing.")
    annealing: float = Field(0.1, ge=0, le=1, description="Share of training over which tau falls.")
    divergence: Divergence = Field("multiquadric", description="Divergence D.")
    divergence_weight: float = Field(50.0, ge=0, description="Weight lambda of the divergence.")

    def make_layers(self) -> None:
        super().make_layers()
        self.logits = xavier_linear(self.hidden, 2 * self.bits)
        self.decoder = SoftmaxDecoder(2 * self.bits, self.shape.vocabulary)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        q = self.pairs(batch)
        tau = exponential_decay(progress.fraction, self.temperature, self.end_temperature, over=self.annealing)
        z = gumbel_softmax(q, tau, progress.generator)
        reconstruction = -self.word_likelihood(self.decoder(z.flatten(1)), batch).mean()
        divergence = self.mismatch(q, z[..., 1], progress)
        return {"reconstruction": reconstruction, "divergence": self.divergence_weight * divergence}

    def mismatch(self, q: Tensor, z: Tensor, progress: Progress) -> Tensor:
        """Return D over the documents of all workers, from logits q [B, m, 2] and sampled bits z [B, m]."""
        if self.divergence == "moments":
            return matching.moment_discrepancy(progress.workers.gather(torch.softmax(q, dim=-1)[..., 1]))
        prior = progress.workers.gather(matching.fair_coins(z, progress.generator))
        z = progress.workers.gather(z)
        if self.divergence == "sinkhorn":
            return matching.sinkhorn_divergence(z, prior)
        kernel = matching.inverse_multiquadric_kernel if self.divergence == "multiquadric" else matching.hamming_kernel
        return matching.maximum_mean_discrepancy(z, prior, kernel)

    def pairs(self, batch: Batch) -> Tensor:
        """Return logits q [B, m, 2] of the two values of each bit."""
        return self.logits(self.encoder(batch)).unflatten(1, (self.bits, 2))

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        q = self.pairs(batch)
        return q[..., 1] - q[..., 0]
