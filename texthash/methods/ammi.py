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

import torch
from torch import Tensor, nn

from texthash.config import Weighting
from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import CorpusShape
from texthash.errors import UsageError
from texthash.methods.base import Card, GradientStage, HashMethod, Optimizers, Progress, Role, Stage, sum_terms
from texthash.nn.encoders import MLPEncoder, SparseLinear, xavier_linear
from texthash.nn.mutual_information import cross_entropy, lift, max_marginals, window_marginals
from texthash.nn.spaces import Choice, LogUniform, Uniform


class AMMI(HashMethod):
    """Adversarial maximisation of mutual information.

    Args:
        shape: Sizes of the corpus.
        bits: Length m of the code.
        layers: Hidden layers of the encoder; with none it is one linear map.
        hidden: Width of these layers.
        posterior_order: Order o of p(z | x).
        prior_order: Order r of q(z).
        entropy_weight: Weight w of the code's entropy.
        prior_steps: Updates s of q for each of p.
        prior_rate: Learning rate of q; None: that of p.
        clip: Norm to which gradients are clipped.
        init: Weights start uniform in [-init, init]; None: Xavier-uniform.
        learning_rate: Of Adam.
        epochs: Passes over the training documents.
        batch_size: Documents in a batch.
        weighting: Of the words of the input.

    Raises:
        UsageError: r < o.
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
    )
    search_space = {
        "learning_rate": LogUniform(1e-3, 3e-2),
        "batch_size": Choice(16, 64, 128, 256),
        "entropy_weight": Uniform(1.0, 3.5),
        "prior_steps": Choice(1, 2, 4),
        "clip": Choice(1.0, 5.0, 10.0),
    }

    def __init__(
        self,
        shape: CorpusShape,
        bits: int,
        *,
        layers: int = 0,
        hidden: int = 500,
        posterior_order: int = 0,
        prior_order: int = 3,
        entropy_weight: float = 3.5,
        prior_steps: int = 4,
        prior_rate: float | None = None,
        clip: float = 1.0,
        init: float | None = 0.05,
        learning_rate: float = 0.01,
        epochs: int = 40,
        batch_size: int = 64,
        weighting: Weighting = "tfidf",
    ) -> None:
        super().__init__(shape, bits, weighting)
        if prior_order < posterior_order:
            raise UsageError(
                f"method.params.prior_order={prior_order} is below posterior_order={posterior_order}.",
                "the prior has to look at least as far back; the paper's finding is further.",
            )
        self.posterior_order, self.prior_order = posterior_order, prior_order
        self.entropy_weight, self.prior_steps, self.clip = entropy_weight, prior_steps, clip
        self.learning_rate, self.prior_rate = learning_rate, prior_rate or learning_rate
        self.epochs, self.batch_size = epochs, batch_size
        outputs = bits * 2**posterior_order
        self.posterior = (
            nn.Sequential(MLPEncoder(shape.vocabulary, hidden, layers, dropout=0.0), xavier_linear(hidden, outputs))
            if layers
            else SparseLinear(shape.vocabulary, outputs)
        )
        self.prior = nn.Parameter(torch.empty(bits, 2**prior_order).uniform_(-(init or 0.05), init or 0.05))
        if init is not None:
            for parameter in self.posterior.parameters():
                if parameter.dim() > 1:
                    nn.init.uniform_(parameter, -init, init)

    def stages(self) -> Sequence[Stage]:
        return (GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step),)

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.posterior.parameters(), lr=self.learning_rate, fused=True)}

    def logits(self, batch: Batch) -> Tensor:
        """p(z | x) of each document, [B, m, 2^o]."""
        logits: Tensor = self.posterior(batch)
        return logits.view(len(batch), self.bits, -1)

    def windows(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        """Mean entropy H(p(. | x)) of these documents, and the windows [m, 2^r, 2] of the mixture of all workers'."""
        logits = lift(self.logits(batch), self.prior_order)
        windows = window_marginals(logits)
        mixture = progress.workers.gather(windows.mean(dim=0, keepdim=True)).mean(dim=0)
        return cross_entropy(windows, logits).mean(), mixture

    def terms(self, conditional: Tensor, mixture: Tensor) -> dict[str, Tensor]:
        """What p minimises: H(Z | X) - w H(mixture, q)."""
        entropy = cross_entropy(mixture, self.prior.detach())
        return {"conditional_entropy": conditional, "entropy": -self.entropy_weight * entropy}

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        return self.terms(*self.windows(batch, progress))

    def step(self, batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
        """Let q follow the mixture of the batch, by an Adam that starts anew, and move p after that."""
        conditional, mixture = self.windows(batch, progress)
        follower = torch.optim.Adam([self.prior], lr=self.prior_rate)
        for _ in range(self.prior_steps):
            progress.workers.minimise(cross_entropy(mixture.detach(), self.prior), follower, self.clip)
        terms = self.terms(conditional, mixture)
        progress.workers.minimise(sum_terms(terms), optimizers["main"], self.clip)
        return terms

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return max_marginals(self.logits(batch))
