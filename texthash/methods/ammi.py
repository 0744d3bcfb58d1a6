"""AMMI: codes of greatest mutual information with their documents, found adversarially.

encoder    p(z | x) a Markov chain of order o over bits, its logits a (deep) network of x; o = 0: independent bits
prior      q(z) a Markov chain of order r > o, its logits free; r <= o would let all bits copy each other unnoticed
objective  max_p [ w min_q H(mean_x p(. | x), q)  -  mean_x H(p(. | x)) ]; for w = 1 a bound on I(X; Z) from above
step       s steps of Adam on q, to lower the first entropy;  one on p, to raise the whole
bits       of the most likely code: for o = 0, 1[p > 1/2]

No decoder, no sample: all entropies are exact sums over windows of bits (:mod:`texthash.nn.mutual_information`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.errors import UsageError
from texthash.methods.base import Card, GradientStage, HashMethod, Optimizers, Printed, Progress, Role, Stage, sum_terms
from texthash.nn.encoders import MLPEncoder, SparseLinear, xavier_linear
from texthash.nn.mutual_information import cross_entropy, lift, max_marginals, window_marginals
from texthash.nn.spaces import Choice, LogUniform, Uniform


class AMMI(HashMethod):
    """Adversarial maximisation of mutual information.

    Raises:
        UsageError: r is below o.
    """

    card = Card(
        name="ammi",
        title="Learning Discrete Structured Representations by Adversarially Maximizing Mutual Information",
        venue="ICML'2020",
        survey_entry=21,
        tags=("MMI",),
        citation="Stratos & Wiseman, 2020, arXiv:2004.03991",
        fidelity="code",
        deviations=(
            "the prior's logits are always free; for some widths the published settings make them with a network",
            "one setting for all widths: that of 20 Newsgroups at 32 bits, in batches of 64, not 16; others differ",
            "one view of a document; the code also has a two-view form",
        ),
        paper=Printed(
            "the authors' commands (karlstratos/ammi) for 20 Newsgroups at 32 bits; other corpora and widths differ",
            {
                "layers": 0,
                "posterior_order": 0,
                "prior_order": 3,
                "entropy_weight": 3.5,
                "prior_steps": 4,
                "clip": 1.0,
                "init": 0.05,
                "learning_rate": 0.01,
                "epochs": 40,
                "batch_size": 16,
                "weighting": "tfidf",
            },
        ),
    )
    search_space = {
        "learning_rate": LogUniform(1e-3, 3e-2),
        "batch_size": Choice(16, 64, 128, 256),
        "entropy_weight": Uniform(1.0, 3.5),
        "prior_steps": Choice(1, 2, 4),
        "clip": Choice(1.0, 5.0, 10.0),
    }

    layers: int = Field(0, ge=0, description="Number of hidden layers of the encoder; with none it is one linear map.")
    hidden: int = Field(500, ge=1, description="Width of the hidden layers.")
    posterior_order: int = Field(0, ge=0, le=16, description="Order o of p(z | x).")
    prior_order: int = Field(3, ge=0, le=16, description="Order r of q(z), at least o.")
    entropy_weight: float = Field(3.5, ge=0, description="Weight w of the code's entropy.")
    prior_steps: int = Field(4, ge=1, description="Number s of updates of q for each of p.")
    prior_rate: float | None = Field(None, gt=0, description="Learning rate of q; null: that of p.")
    clip: float = Field(1.0, gt=0, description="Norm to which gradients are clipped.")
    init: float | None = Field(
        0.05, gt=0, description="Bound of the initial weights, uniform in [-init, init]; null: Xavier-uniform."
    )
    learning_rate: float = Field(0.01, gt=0, description="Learning rate of Adam.")
    epochs: int = Field(40, ge=1, description="Passes over the training documents.")
    batch_size: int = Field(64, ge=1, description="Documents in a batch.")

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        prior, posterior = values["prior_order"], values["posterior_order"]
        if prior < posterior:
            raise UsageError(
                f"method.params.prior_order={prior} is below posterior_order={posterior}.",
                "set prior_order to at least posterior_order; the paper recommends a higher one.",
            )

    def make_layers(self) -> None:
        words, outputs = self.shape.vocabulary, self.bits * 2**self.posterior_order
        self.posterior = (
            nn.Sequential(MLPEncoder(words, self.hidden, self.layers, dropout=0.0), xavier_linear(self.hidden, outputs))
            if self.layers
            else SparseLinear(words, outputs)
        )
        bound = self.init or 0.05
        self.prior = nn.Parameter(torch.empty(self.bits, 2**self.prior_order).uniform_(-bound, bound))
        if self.init is not None:
            for parameter in self.posterior.parameters():
                if parameter.dim() > 1:
                    nn.init.uniform_(parameter, -self.init, self.init)

    def stages(self) -> Sequence[Stage]:
        return (GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step),)

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.posterior.parameters(), lr=self.learning_rate, fused=True)}

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits of p(z | x) of each document, [B, m, 2^o]."""
        logits: Tensor = self.posterior(batch)
        return logits.view(len(batch), self.bits, -1)

    def windows(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        """Return the mean entropy H(p(. | x)) of the batch, and the mixture's windows [m, 2^r, 2] over all workers."""
        logits = lift(self.logits(batch), self.prior_order)
        windows = window_marginals(logits)
        mixture = progress.workers.gather(windows.mean(dim=0, keepdim=True)).mean(dim=0)
        return cross_entropy(windows, logits).mean(), mixture

    def terms(self, conditional: Tensor, mixture: Tensor) -> dict[str, Tensor]:
        """Return the terms that p minimises: H(Z | X) - w H(mixture, q)."""
        entropy = cross_entropy(mixture, self.prior.detach())
        return {"conditional_entropy": conditional, "entropy": -self.entropy_weight * entropy}

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        return self.terms(*self.windows(batch, progress))

    def step(self, batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
        """Fit q to the mixture of the batch with a new Adam, then update p."""
        conditional, mixture = self.windows(batch, progress)
        prior_optimizer = torch.optim.Adam([self.prior], lr=self.prior_rate or self.learning_rate)
        for _ in range(self.prior_steps):
            progress.workers.optimizer_step(cross_entropy(mixture.detach(), self.prior), prior_optimizer, self.clip)
        terms = self.terms(conditional, mixture)
        progress.workers.optimizer_step(sum_terms(terms), optimizers["main"], self.clip)
        return terms

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return max_marginals(self.logits(batch))
