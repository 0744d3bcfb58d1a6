"""B-VAE: a variational autoencoder whose code is a relaxed Bernoulli variable.

encoder    a = g(x), g: V -> H -> H -> m with ReLU and dropout;  p = sigma(a)
sample     z = sigma((a + log u - log(1 - u)) / tau),  u ~ U(0, 1): binary concrete, through which gradients pass as is
decoder    p(w | z) = softmax(z E + b)_w
loss       - sum_{w in x} log p(w | z)  +  w_KL KL(Bern(p) || Bern(1/2))         (each distinct word once)
bits       1[p > 1/2]
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from texthash.config import Weighting
from texthash.corpora.batches import Batch
from texthash.corpora.dataset import CorpusShape
from texthash.methods.base import Card, Progress, Role
from texthash.methods.generative import GenerativeMethod
from texthash.parts.decoders import SoftmaxDecoder
from texthash.parts.encoders import MLPEncoder, xavier_linear
from texthash.parts.estimators import binary_concrete
from texthash.parts.priors import bernoulli_kl
from texthash.parts.spaces import Choice, LogUniform, Uniform


class BVAE(GenerativeMethod):
    """Binary variational autoencoder.

    Args:
        shape: Sizes of the corpus.
        bits: Length m of the code.
        hidden: Width H of the encoder.
        layers: Hidden layers of the encoder.
        dropout: Probability of dropping a hidden feature in training.
        temperature: tau.
        learning_rate: Of Adam.
        kl_weight: Final weight w_KL.
        kl_ramp: Share of training over which w_KL rises from 0.
        epochs: Passes over the training documents.
        batch_size: Documents in a batch.
        weighting: Of the words of the input.
    """

    card = Card(
        name="bvae",
        title="A Binary Variational Autoencoder for Hashing",
        venue="CIARP'2019",
        survey_entry=27,
        tags=("Rec", "Prior(B)", "CB", "Quan(Sgn)", "Gradient"),
        citation="Mena & Nanculef, 2019, doi:10.1007/978-3-030-33904-3_12",
        fidelity="reconstructed",
        deviations=(
            "built from the abstract and the authors' later code for SSB-VAE; the paper was not at hand",
            "dropout in the encoder, not batch normalisation",
            "the words of a document count once each and w_KL is 1, where that code weighs words by their share of the "
            "document's tf-idf and w_KL is 1/64: with 90 words a document nearly the same balance",
            "learning rate 3e-3, not 1e-3",
            "the decoder's bias starts at the log frequencies of the words",
        ),
    )
    search_space = {
        "learning_rate": LogUniform(1e-3, 8e-3),
        "batch_size": Choice(64, 128, 256),
        "dropout": Uniform(0.05, 0.5),
        "temperature": Uniform(0.3, 1.0),
        "kl_weight": LogUniform(0.03, 2.0),
    }

    def __init__(
        self,
        shape: CorpusShape,
        bits: int,
        *,
        hidden: int = 500,
        layers: int = 2,
        dropout: float = 0.2,
        temperature: float = 0.67,
        learning_rate: float = 3e-3,
        kl_weight: float = 1.0,
        kl_ramp: float = 0.0,
        epochs: int = 30,
        batch_size: int = 100,
        weighting: Weighting = "tfidf",
    ) -> None:
        super().__init__(
            shape,
            bits,
            weighting,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            kl_weight=kl_weight,
            kl_ramp=kl_ramp,
        )
        self.temperature = temperature
        self.encoder = MLPEncoder(shape.vocabulary, hidden, layers, dropout)
        self.logits = xavier_linear(hidden, bits)
        self.decoder = SoftmaxDecoder(bits, shape.vocabulary)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        logits = self.activations(batch)
        z = binary_concrete(logits, self.temperature, progress.generator)
        return self.bound(z, bernoulli_kl(logits), batch, progress)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        # The logit is cut at zero, which is p = 1/2.
        return self.logits(self.encoder(batch))
