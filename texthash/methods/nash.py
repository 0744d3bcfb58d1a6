"""NASH: end-to-end generative hashing with binary latent codes.

encoder    p = sigma(g(x)), g: V -> H -> H -> m with ReLU and dropout
code       z_j = 1[p_j > u_j], u ~ U(0, 1) (stochastic) or u = 1/2;  straight-through gradient dz/dp := 1
decoder    p(w | z) = softmax(z E + b)_w, one word embedding a bit
loss       - sum_{w in x} log p(w | z)  +  w_KL KL(Bern(p) || Bern(1/2))
bits       1[p > 1/2]: no median, the point of training end to end
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from texthash.config import Weighting
from texthash.corpora.batches import Batch
from texthash.corpora.dataset import CorpusShape
from texthash.methods.base import Card, Progress, Role
from texthash.methods.generative import GenerativeMethod
from texthash.parts.decoders import SoftmaxDecoder
from texthash.parts.encoders import MLPEncoder, xavier_linear
from texthash.parts.estimators import straight_through_bernoulli
from texthash.parts.priors import bernoulli_kl
from texthash.parts.spaces import Choice, LogUniform, Uniform


class NASH(GenerativeMethod):
    """Generative hashing with Bernoulli codes.

    Args:
        shape: Sizes of the corpus.
        bits: Length m of the code.
        hidden: Width H of the encoder.
        layers: Hidden layers of the encoder.
        dropout: Probability of dropping a hidden feature in training.
        stochastic: Draw the thresholds u in training; else u = 1/2.
        learning_rate: Of Adam.
        kl_weight: Final weight w_KL.
        kl_ramp: Share of training over which w_KL rises from 0.
        epochs: Passes over the training documents.
        batch_size: Documents in a batch.
        weighting: Of the words of the input.
    """

    card = Card(
        name="nash",
        title="NASH: Toward End-to-End Neural Architecture for Generative Semantic Hashing",
        venue="ACL'2018",
        survey_entry=31,
        tags=("Rec", "Prior(B)", "CB", "Quan(Sgn)", "Robustness"),
        citation="Shen et al., 2018, arXiv:1805.05361",
        fidelity="reconstructed",
        deviations=(
            "learning rate 3e-3, constant; recalled of the paper: 5e-4, times 0.96 every 10,000 steps",
            "the decoder's bias starts at the log frequencies of the words",
            "E starts Xavier-uniform, not at pretrained word vectors",
            "dropout on the last hidden layer only",
        ),
    )
    search_space = {
        "learning_rate": LogUniform(1e-3, 8e-3),
        "batch_size": Choice(64, 128, 256),
        "dropout": Uniform(0.05, 0.5),
        "kl_weight": LogUniform(0.03, 1.0),
        "stochastic": Choice(True, False),
    }

    def __init__(
        self,
        shape: CorpusShape,
        bits: int,
        *,
        hidden: int = 500,
        layers: int = 2,
        dropout: float = 0.2,
        stochastic: bool = True,
        learning_rate: float = 3e-3,
        kl_weight: float = 1.0,
        kl_ramp: float = 0.0,
        epochs: int = 40,
        batch_size: int = 64,
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
        self.stochastic = stochastic
        self.encoder = MLPEncoder(shape.vocabulary, hidden, layers, dropout)
        self.logits = xavier_linear(hidden, bits)
        self.decoder = SoftmaxDecoder(bits, shape.vocabulary)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        z, kl = self.sample(batch, progress)
        return self.bound(z, kl, batch, progress)

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        """What the decoder sees of each document, [B, m], and KL(q(z | x) || p(z)) [B]."""
        hidden = self.encoder(batch)
        logits = self.logits(hidden)
        z = straight_through_bernoulli(torch.sigmoid(logits), progress.generator, self.stochastic)
        return self.noisy(z, hidden, progress), bernoulli_kl(logits)

    def noisy(self, z: Tensor, hidden: Tensor, progress: Progress) -> Tensor:
        """What the decoder sees of the codes z [B, m]: the codes themselves."""
        return z

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        # The logit is cut at zero, which is p = 1/2.
        return self.logits(self.encoder(batch))
