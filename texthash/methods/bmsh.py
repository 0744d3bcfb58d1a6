"""BMSH: document hashing with a Bernoulli mixture prior. NASH is the case of one component with gamma = 1/2.

prior      c ~ Cat(pi),  z ~ Bern(gamma_c): pi and gamma learned
encoders   q(z | x) = Bern(p(x)) as in NASH;  q(c | x) = softmax(x A + a)
code       z_j = 1[p_j > u_j], u ~ U(0, 1);  straight-through gradient dz/dp := 1
noise      z' ~ N(z, diag s^2),  log s^2 = ReLU MLP(p), m -> H -> m
decoder    p(w | z') = softmax(z' E + b)_w
loss       - sum_{w in x} log p(w | z')  +  w_KL sum_k q(k | x) [ log q(k | x) / pi_k + KL(Bern(p) || Bern(gamma_k)) ]
bits       1[p > 1/2]
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Progress
from texthash.methods.nash import NASH
from texthash.nn.encoders import SparseLinear, xavier_linear
from texthash.nn.estimators import gaussian_sample, straight_through_bernoulli
from texthash.nn.mixtures import BernoulliMixture
from texthash.nn.spaces import Choice, LogUniform, Uniform


class BMSH(NASH):
    """Document hashing with a Bernoulli mixture prior."""

    card = replace(
        NASH.card,
        name="bmsh",
        title="Document Hashing with Mixture-Prior Generative Models (Bernoulli mixture, BMSH)",
        venue="EMNLP'2019",
        survey_entry=25,
        tags=("Rec", "Prior(M)", "CB", "Quan(Sgn)"),
        citation="Dong et al., 2019, arXiv:1908.11078",
        fidelity="reconstructed",
        deviations=(
            "the paper's settings are not known: encoder, decoder and schedule are those of NASH here",
            "q(c | x) is one linear map of the words, as in a re-implementation",
            "the logits of gamma start at N(0, 1): nearly equal components stay merged",
            "the noise has the standard deviation exp(a / 2), where re-implementations have exp(a) / 2",
        ),
        paper=None,
    )
    search_space = {
        **NASH.search_space,
        "components": Choice(10, 20, 40, 80),
        "prior_std": LogUniform(0.1, 3.0),
        "noise": Uniform(0.05, 1.0),
    }

    components: int = Field(20, ge=1, description="Number K of components.")
    prior_std: float = Field(1.0, ge=0, description="Standard deviation of the logits of gamma at the start.")
    noise: float = Field(0.5, gt=0, description="Standard deviation s of the noise at the start.")

    def make_layers(self) -> None:
        super().make_layers()
        self.responsibilities = SparseLinear(self.shape.vocabulary, self.components)
        self.prior = BernoulliMixture(self.components, self.bits, self.prior_std)
        log_variance = xavier_linear(self.hidden, self.bits)
        nn.init.constant_(log_variance.bias, 2 * math.log(self.noise))
        self.log_variance = nn.Sequential(xavier_linear(self.bits, self.hidden), nn.ReLU(), log_variance)

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        logits = self.logits(self.encoder(batch))
        p = torch.sigmoid(logits)
        z = straight_through_bernoulli(p, progress.generator, self.stochastic)
        kl = self.prior.joint_kl(self.responsibilities(batch), self.prior.divergences(logits))
        return gaussian_sample(z, self.log_variance(p), progress.generator), kl
