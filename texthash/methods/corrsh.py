"""CorrSH: generative hashing whose bits are correlated given the document, by a posterior after Boltzmann machines.

encoder    h = g(x), V -> H -> H with ReLU and dropout;  mu = h A + a,  d = softplus(h B + b),  U = tanh(h C + c) / k
posterior  r ~ N(mu, diag d^2 + U U^T),  s ~ prod_j Bern(sigma(r_j)), with a straight-through gradient
decoder    p(w | s) = softmax((s + nu eps) E + b)_w,  eps ~ N(0, I), nu falling
loss       - sum_{w in x} log p(w | s)  +  w_KL KL(q_M(s | x) || Bern(1/2)^m), w_KL rising
           q_M is the mixture of prod_j Bern(sigma(r_j)) over M further samples r: a bound from above that tends to q
bits       1[mu > 0]: neither a sample nor a median
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.generative import VariationalMethod
from texthash.nn.correlated_bits import bit_mixture_kl, low_rank_gaussian_sample
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import straight_through_bernoulli
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import IntUniform, Uniform


class CorrSH(VariationalMethod):
    """Generative hashing with correlated bits."""

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
        paper=Printed(
            "the authors' code (LZhengisme/CorrelatedSemanticHashing), w_KL and nu as they are after its 100 epochs",
            {
                "hidden": 500,
                "layers": 2,
                "dropout": 0.2,
                "rank": 10,
                "samples": 10,
                "noise": 1.0,
                "final_noise": 0.9,
                "kl_weight": 0.1,
                "kl_ramp": 1.0,
                "learning_rate": 1e-3,
                "epochs": 100,
                "batch_size": 100,
                "weighting": "tfidf",
            },
        ),
    )
    search_space = {
        **VariationalMethod.search_space,
        "rank": IntUniform(1, 20),
        "final_noise": Uniform(0.05, 1.0),
    }

    kl_weight = 0.1
    kl_ramp = 1.0
    rank: int = Field(10, ge=1, description="Rank k of U, the number of ways in which bits vary together.")
    samples: int = Field(10, ge=1, description="Number M of components of the bound.")
    noise: float = Field(1.0, ge=0, description="Standard deviation nu of the decoder's noise at the start.")
    final_noise: float = Field(0.9, ge=0, description="Standard deviation nu at the end of training.")

    def make_layers(self) -> None:
        super().make_layers()
        self.mean = xavier_linear(self.hidden, self.bits)
        self.std = xavier_linear(self.hidden, self.bits)
        self.factors = xavier_linear(self.hidden, self.bits * self.rank)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary)

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        r = self.posterior_logits(batch, 1 + self.samples, progress.generator)
        s = straight_through_bernoulli(torch.sigmoid(r[:, 0]), progress.generator)
        nu = linear_ramp(progress.fraction, self.noise, self.final_noise)
        decoder_input = s + nu * torch.randn(s.shape, generator=progress.generator, device=s.device, dtype=s.dtype)
        return decoder_input, bit_mixture_kl(r[:, 1:], progress.generator)

    def posterior_logits(self, batch: Batch, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Return samples of r, the logits of the bits of each document, [B, samples, bits]."""
        hidden = self.encoder(batch)
        factors = torch.tanh(self.factors(hidden)).unflatten(1, (self.bits, self.rank)) / self.rank
        return low_rank_gaussian_sample(self.mean(hidden), F.softplus(self.std(hidden)), factors, samples, generator)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.mean(self.encoder(batch))

    def serving_layers(self) -> Sequence[nn.Module]:
        return self.encoder, self.mean
