"""VDSH-S and VDSH-SP: VDSH whose code also has to tell the labels of its document.

VDSH-S     loss of VDSH  +  w_y L_y(z),  L_y the (binary) cross entropy of y^ = z W + b
VDSH-SP    a second encoder q(v | x) = N(mu_v, diag s_v^2) for what is private to the document: the decoder sees z + v,
           the labels see z alone, both have the same w_KL, and the code is cut from mu_z
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Printed, Progress
from texthash.methods.generative import Supervised
from texthash.methods.vdsh import PAPER, VDSH
from texthash.nn.encoders import MLPEncoder, xavier_linear
from texthash.nn.estimators import gaussian_sample
from texthash.nn.priors import gaussian_kl
from texthash.nn.spaces import LogUniform


class SupervisedVDSH(Supervised, VDSH):
    """Supervised variational deep semantic hashing."""

    card = VDSH.card.supervised(
        "vdsh_s",
        "VDSH-S",
        "single-label corpora have a softmax over the labels, not one sigmoid a label",
        "w_y reaches its end after a tenth of training, not after 1,500 documents",
        "12 epochs as without labels, not 15",
        paper=Printed(PAPER.source, {**PAPER.values, "hidden": 1000, "epochs": 15, "label_weight": 150.0}),
    )
    search_space = {**VDSH.search_space, "label_weight": LogUniform(10.0, 300.0)}

    hidden = 1000


class PrivateVDSH(SupervisedVDSH):
    """Supervised VDSH with a variable for what is private to a document."""

    card = replace(
        SupervisedVDSH.card,
        name="vdsh_sp",
        title="Variational Deep Semantic Hashing for Text Documents (supervised and private, VDSH-SP)",
    )

    def make_layers(self) -> None:
        super().make_layers()
        self.private_encoder = MLPEncoder(self.shape.vocabulary, self.hidden, layers=2, dropout=self.dropout)
        self.private_mean = xavier_linear(self.hidden, self.bits)
        self.private_log_variance = xavier_linear(self.hidden, self.bits)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        z, kl = self.sample(batch, progress)
        hidden = self.private_encoder(batch)
        mean, log_variance = self.private_mean(hidden), self.bounded(self.private_log_variance(hidden))
        v = gaussian_sample(mean, log_variance, progress.generator)
        both = self.bound(z + v, kl + gaussian_kl(mean, log_variance), batch, progress)
        return {**both, **self.label_term(z, batch, progress)}
