"""VDSH: variational deep semantic hashing.

encoder    t = ReLU MLP(x), V -> H -> H;  mu = t W_mu + b;  log s^2 = sigma(t W_s + b), so that s^2 lies in (1, e)
sample     z = mu + s * eps,  eps ~ N(0, I)
decoder    p(w | z) = softmax(z R^T + b)_w
loss       - sum_{w in x} log p(w | z)  +  w_KL KL(N(mu, s^2) || N(0, I))         (each distinct word once)
code       bit_j = 1[mu_j > median of mu_j over the training documents]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.generative import VariationalMethod
from texthash.nn.binarizers import MedianBinarizer
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import gaussian_sample
from texthash.nn.priors import gaussian_kl
from texthash.nn.spaces import Choice, LogUniform

PAPER = Printed(
    "the authors' code (unsuthee/VariationalDeepSemanticHashing); the text of the paper was not read",
    {
        "hidden": 500,
        "layers": 2,
        "dropout": 0.1,
        "decoder_std": 1.0,
        "bounded_variance": True,
        "kl_weight": 1.0,
        "learning_rate": 1e-3,
        "epochs": 25,
        "batch_size": 1,
        "weighting": "tfidf",
    },
)


class VDSH(VariationalMethod):
    """Variational deep semantic hashing."""

    card = Card(
        name="vdsh",
        title="Variational Deep Semantic Hashing for Text Documents",
        venue="SIGIR'2017",
        survey_entry=33,
        tags=("Rec", "Prior(G)"),
        citation="Chaidaroon & Fang, 2017, arXiv:1708.03436",
        fidelity="code",
        deviations=(
            "R starts at N(0, 0.1^2) and b at the log frequencies of the words, not at N(0, 1) and 0, which take more "
            "steps to unlearn than batches of more than one document leave",
            "batches of 256 documents at learning rate 6e-3 for 12 epochs, not of one at 1e-3 for 25",
            "w_KL reaches its end after half of training, not after 5,000 documents",
            "the learning rate is constant; the code multiplies it by 0.96 every 10,000 documents",
            "dropout 0.2, not 0.1",
        ),
        paper=PAPER,
    )
    search_space = {
        **VariationalMethod.search_space,
        "learning_rate": LogUniform(1e-3, 1e-2),
        "batch_size": Choice(128, 256),
        "decoder_std": LogUniform(0.02, 0.5),
        "kl_weight": LogUniform(0.1, 5.0),
    }

    learning_rate = 6e-3
    epochs = 12
    batch_size = 256
    kl_ramp = 0.5
    decoder_std: float = Field(0.1, gt=0, description="Standard deviation of the initial R.")
    bounded_variance: bool = Field(
        True, description="log s^2 = sigma(t W_s + b), as in the authors' code; else t W_s + b itself."
    )

    def make_layers(self) -> None:
        super().make_layers()
        self.mean = xavier_linear(self.hidden, self.bits)
        self.log_variance = xavier_linear(self.hidden, self.bits)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary, std=self.decoder_std)
        self.binarizer = MedianBinarizer(self.bits)

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.posterior(batch)
        return gaussian_sample(mean, log_variance, progress.generator), gaussian_kl(mean, log_variance)

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mu and log s^2 of each document, [B, m] each."""
        hidden = self.encoder(batch)
        return self.mean(hidden), self.bounded(self.log_variance(hidden))

    def bounded(self, log_variance: Tensor) -> Tensor:
        """Return log s^2 in (0, 1): s^2 never falls below 1, so there is always noise."""
        return torch.sigmoid(log_variance) if self.bounded_variance else log_variance

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.mean(self.encoder(batch))

    def serving_layers(self) -> Sequence[nn.Module]:
        return self.encoder, self.mean
