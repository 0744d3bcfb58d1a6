"""CorrSH: generative hashing whose bits are correlated given the document, by a posterior after Boltzmann machines.

encoder    h = g(x), V -> H -> H with ReLU and dropout;  mu = h A + a,  d = softplus(h B + b),  U = tanh(h C + c) / k
posterior  r ~ N(mu, diag d^2 + U U^T),  s ~ prod_j Bern(sigma(r_j)), with a straight-through gradient
decoder    p(w | s) = softmax((s + nu eps) E + b)_w,  eps ~ N(0, I), nu falling
loss       - sum_{w in x} log p(w | s)  +  w_KL KL(q_M(s | x) || Bern(1/2)^m), w_KL rising
           q_M is the mixture of prod_j Bern(sigma(r_j)) over M further samples r: a bound from above that tends to q
bits       1[mu > 0]: neither a sample nor a median
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from texthash.config import Weighting
from texthash.corpora.batches import Batch
from texthash.corpora.dataset import CorpusShape
from texthash.methods.base import Card, Progress, Role
from texthash.methods.generative import GenerativeMethod
from texthash.parts.correlated_bits import bit_mixture_kl, low_rank_gaussian_sample
from texthash.parts.decoders import SoftmaxDecoder
from texthash.parts.encoders import MLPEncoder, xavier_linear
from texthash.parts.estimators import straight_through_bernoulli
from texthash.parts.schedules import linear_ramp
from texthash.parts.spaces import Choice, IntUniform, LogUniform, Uniform


class CorrSH(GenerativeMethod):
    """Generative hashing with correlated bits.

    Args:
        shape: Sizes of the corpus.
        bits: Length m of the code.
        hidden: Width H of the encoder.
        rank: Rank k of U, how many ways bits vary together in.
        samples: Number M of components of the bound.
        dropout: Probability of dropping a hidden feature in training.
        noise: nu at the start.
        final_noise: nu at the end of training.
        learning_rate: Of Adam.
        kl_weight: Final weight w_KL.
        kl_ramp: Share of training over which w_KL rises from 0.
        epochs: Passes over the training documents.
        batch_size: Documents in a batch.
        weighting: Of the words of the input.
    """

    card = Card(
        name="corrsh",
        title="Generative Semantic Hashing Enhanced via Boltzmann Machines",
        venue="ACL'2020",
        survey_entry=19,
        tags=("Rec", "Prior(BM)", "Quan(Sgn)"),
        citation="Zheng et al., 2020, arXiv:2006.08858",
        fidelity="code",
        deviations=(
            "w_KL and nu change with the share of training done, to their values in the code after its 100 epochs",
            "batches of 64 documents at learning rate 3e-3 for 40 epochs, not of 100 at 1e-3, decaying, for 100",
            "dropout on the last hidden layer only",
            "the decoder's bias starts at the log frequencies of the words, E Xavier-uniform",
        ),
    )
    search_space = {
        "learning_rate": LogUniform(1e-3, 8e-3),
        "batch_size": Choice(64, 128, 256),
        "dropout": Uniform(0.05, 0.5),
        "kl_weight": LogUniform(0.03, 1.0),
        "rank": IntUniform(1, 20),
        "final_noise": Uniform(0.05, 1.0),
    }

    def __init__(
        self,
        shape: CorpusShape,
        bits: int,
        *,
        hidden: int = 500,
        rank: int = 10,
        samples: int = 10,
        dropout: float = 0.2,
        noise: float = 1.0,
        final_noise: float = 0.9,
        learning_rate: float = 3e-3,
        kl_weight: float = 0.1,
        kl_ramp: float = 1.0,
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
        self.rank, self.samples = rank, samples
        self.noise, self.final_noise = noise, final_noise
        self.encoder = MLPEncoder(shape.vocabulary, hidden, layers=2, dropout=dropout)
        self.mean = xavier_linear(hidden, bits)
        self.std = xavier_linear(hidden, bits)
        self.factors = xavier_linear(hidden, bits * rank)
        self.decoder = SoftmaxDecoder(bits, shape.vocabulary)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        r = self.posterior_logits(batch, 1 + self.samples, progress.generator)
        s = straight_through_bernoulli(torch.sigmoid(r[:, 0]), progress.generator)
        nu = linear_ramp(progress.fraction, self.noise, self.final_noise)
        seen = s + nu * torch.randn(s.shape, generator=progress.generator, device=s.device, dtype=s.dtype)
        return self.bound(seen, bit_mixture_kl(r[:, 1:], progress.generator), batch, progress)

    def posterior_logits(self, batch: Batch, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Samples of r, the logits of the bits of each document. [B, samples, bits]."""
        hidden = self.encoder(batch)
        factors = torch.tanh(self.factors(hidden)).unflatten(1, (self.bits, self.rank)) / self.rank
        return low_rank_gaussian_sample(self.mean(hidden), F.softplus(self.std(hidden)), factors, samples, generator)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.mean(self.encoder(batch))
