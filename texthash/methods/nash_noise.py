"""NASH-N, NASH-DN and NASH-DN-S: NASH whose decoder sees noisy codes, which moves codes of unlike documents apart.

NASH-N      z~ ~ N(z, s^2 I), s fixed
NASH-DN     z~ ~ N(z, diag s^2(x)), log s^2 = h(x) A + a, learned with the rest
NASH-DN-S   NASH-DN  +  w_y L_y(z~),  L_y the (binary) cross entropy of y^ = z~ W + b
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from texthash.methods.base import Progress
from texthash.methods.generative import Supervised
from texthash.methods.nash import NASH
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import gaussian_sample
from texthash.nn.spaces import LogUniform, Uniform


class NoisyNASH(NASH):
    """NASH with noise of one strength."""

    card = replace(
        NASH.card,
        name="nash_n",
        title=f"{NASH.card.title} (fixed noise, NASH-N)",
        deviations=(*NASH.card.deviations, "the paper's strength of the noise is not known: s is 0.5"),
    )
    search_space = {**NASH.search_space, "noise": Uniform(0.05, 1.0)}

    noise: float = Field(0.5, ge=0, description="Standard deviation s of the noise.")

    def noisy(self, z: Tensor, hidden: Tensor, progress: Progress) -> Tensor:
        return z + self.noise * torch.randn(z.shape, generator=progress.generator, device=z.device, dtype=z.dtype)


class DataDependentNASH(NASH):
    """NASH with noise that depends on the document."""

    card = replace(
        NASH.card,
        name="nash_dn",
        title=f"{NASH.card.title} (data-dependent noise, NASH-DN)",
        deviations=(
            *NASH.card.deviations,
            "log s^2 is one linear map of the encoder's last layer, and s starts at 0.5: the paper's function of the "
            "document is not known",
        ),
    )
    search_space = {**NASH.search_space, "noise": Uniform(0.05, 1.0)}

    noise: float = Field(0.5, gt=0, description="Standard deviation of the noise at the start.")

    def make_layers(self) -> None:
        super().make_layers()
        self.log_variance = xavier_linear(self.hidden, self.bits)
        torch.nn.init.constant_(self.log_variance.bias, 2 * float(torch.log(torch.tensor(self.noise))))

    def noisy(self, z: Tensor, hidden: Tensor, progress: Progress) -> Tensor:
        return gaussian_sample(z, self.log_variance(hidden), progress.generator)


class SupervisedNASH(Supervised, DataDependentNASH):
    """NASH with data-dependent noise whose code also predicts labels."""

    card = replace(DataDependentNASH.card, title=NASH.card.title).supervised(
        "nash_dn_s",
        "NASH-DN-S",
        "the paper's weight of the labels is not known: w_y is 50",
        paper=NASH.card.paper,
    )
    search_space = {**DataDependentNASH.search_space, "label_weight": LogUniform(1.0, 300.0)}

    label_weight = 50.0
    label_ramp = 0.0
