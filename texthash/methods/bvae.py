"""B-VAE: a variational autoencoder whose code is a relaxed Bernoulli variable.

encoder    a = g(x), g: V -> H -> H -> m with ReLU and dropout;  p = sigma(a)
sample     z = sigma((a + log u - log(1 - u)) / tau),  u ~ U(0, 1): binary concrete, through which gradients pass as is
decoder    p(w | z) = softmax(z E + b)_w
loss       - sum_{w in x} log p(w | z)  +  w_KL KL(Bern(p) || Bern(1/2))         (each distinct word once)
bits       1[p > 1/2]
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Progress, Role
from texthash.methods.generative import VariationalMethod
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import binary_concrete
from texthash.nn.priors import bernoulli_kl
from texthash.nn.spaces import Choice, LogUniform, Uniform


class BVAE(VariationalMethod):
    """Binary variational autoencoder."""

    card = Card(
        name="bvae",
        title="A Binary Variational Autoencoder for Hashing",
        venue="CIARP'2019",
        survey_entry=27,
        tags=("Rec", "Prior(B)", "CB", "Quan(Sgn)", "Gradient"),
        citation="Mena & Nanculef, 2019, doi:10.1007/978-3-030-33904-3_12",
        fidelity="reconstructed",
        deviations=(
            "built from the abstract and the authors' later code for SSB-VAE; the paper was not available",
            "dropout in the encoder, not batch normalisation",
            "the words of a document count once each and w_KL is 1, where that code weighs words by their share of the "
            "document's tf-idf (word_weights: share) and w_KL is 1/64: with 90 words a document nearly the "
            "same balance",
            "learning rate 3e-3, not 1e-3",
            "the decoder's bias starts at the log frequencies of the words",
        ),
    )
    search_space = {
        **VariationalMethod.search_space,
        "batch_size": Choice(64, 100, 128, 256),
        "temperature": Uniform(0.3, 1.0),
        "kl_weight": LogUniform(0.03, 2.0),
    }

    epochs = 30
    batch_size = 100
    temperature: float = Field(0.67, gt=0, description="Temperature tau of the relaxed bits.")

    def make_layers(self) -> None:
        super().make_layers()
        self.logits = xavier_linear(self.hidden, self.bits)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary)

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        logits = self.activations(batch)
        return binary_concrete(logits, self.temperature, progress.generator), bernoulli_kl(logits)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        # The threshold of the logit is zero, which is p = 1/2.
        return self.logits(self.encoder(batch))

    def serving_layers(self) -> Sequence[nn.Module]:
        return self.encoder, self.logits
