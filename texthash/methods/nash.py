"""NASH: end-to-end generative hashing with binary latent codes.

encoder    p = sigma(g(x)), g: V -> H -> H -> m with ReLU and dropout
code       z_j = 1[p_j > u_j], u ~ U(0, 1) (stochastic) or u = 1/2;  straight-through gradient dz/dp := 1
decoder    p(w | z) = softmax(z E + b)_w, one word embedding a bit
loss       - sum_{w in x} log p(w | z)  +  w_KL KL(Bern(p) || Bern(1/2))
bits       1[p > 1/2]: no median, the point of training end to end
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.generative import VariationalMethod
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import straight_through_bernoulli
from texthash.nn.priors import bernoulli_kl
from texthash.nn.spaces import Choice


class NASH(VariationalMethod):
    """Generative hashing with Bernoulli codes."""

    card = Card(
        name="nash",
        title="NASH: Toward End-to-End Neural Architecture for Generative Semantic Hashing",
        venue="ACL'2018",
        survey_entry=31,
        tags=("Rec", "Prior(B)", "CB", "Quan(Sgn)", "Robustness"),
        citation="Shen et al., 2018, arXiv:1805.05361",
        fidelity="reconstructed",
        deviations=(
            "learning rate 3e-3, constant; recalled from the paper: 5e-4, times 0.96 every 10,000 steps",
            "the decoder's bias starts at the log frequencies of the words",
            "E starts Xavier-uniform, not at pretrained word vectors",
            "dropout on the last hidden layer only",
        ),
        paper=Printed(
            "recalled from the paper, of which its abstract and first page were read",
            {"hidden": 500, "layers": 2, "kl_weight": 1.0, "learning_rate": 5e-4, "weighting": "tfidf"},
        ),
    )
    search_space = {**VariationalMethod.search_space, "stochastic": Choice(True, False)}

    stochastic: bool = Field(True, description="Draw the thresholds u at random in training; else u = 1/2.")

    def make_layers(self) -> None:
        super().make_layers()
        self.logits = xavier_linear(self.hidden, self.bits)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary)

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        hidden = self.encoder(batch)
        logits = self.logits(hidden)
        z = straight_through_bernoulli(torch.sigmoid(logits), progress.generator, self.stochastic)
        return self.noisy(z, hidden, progress), bernoulli_kl(logits)

    def noisy(self, z: Tensor, hidden: Tensor, progress: Progress) -> Tensor:
        """Return the decoder's input for the codes z [B, m]: the codes themselves."""
        return z

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        # The threshold of the logit is zero, which is p = 1/2.
        return self.logits(self.encoder(batch))

    def serving_layers(self) -> Sequence[nn.Module]:
        return self.encoder, self.logits
