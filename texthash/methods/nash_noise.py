"""NASH-N, NASH-DN and NASH-DN-S: NASH whose decoder sees noisy codes, which moves codes of unlike documents apart.

NASH-N      z~ ~ N(z, s^2 I), s fixed
NASH-DN     z~ ~ N(z, diag s^2(x)), log s^2 = h(x) A + a, learned with the rest
NASH-DN-S   NASH-DN  +  w_y L_y(z~),  L_y the (binary) cross entropy of y^ = z~ W + b
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from texthash.corpora.prepared.corpus import CorpusShape
from texthash.methods.base import Progress
from texthash.methods.generative import Supervised
from texthash.methods.nash import NASH
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import gaussian_sample
from texthash.nn.spaces import LogUniform, Uniform


class NoisyNASH(NASH):
    """NASH with noise of one strength.

    Args:
        shape: Sizes of the corpus.
        bits: Length m of the code.
        noise: Standard deviation s of the noise.
        others: Those of :class:`~texthash.methods.nash.NASH`.
    """

    card = replace(
        NASH.card,
        name="nash_n",
        title=f"{NASH.card.title} (fixed noise, NASH-N)",
        deviations=(*NASH.card.deviations, "the paper's strength of the noise is not known: s is 0.5"),
    )
    search_space = {**NASH.search_space, "noise": Uniform(0.05, 1.0)}

    def __init__(self, shape: CorpusShape, bits: int, *, noise: float = 0.5, **others: Any) -> None:
        super().__init__(shape, bits, **others)
        self.noise = noise

    def noisy(self, z: Tensor, hidden: Tensor, progress: Progress) -> Tensor:
        return z + self.noise * torch.randn(z.shape, generator=progress.generator, device=z.device, dtype=z.dtype)


class DataDependentNASH(NASH):
    """NASH with noise that depends on the document.

    Args:
        shape: Sizes of the corpus.
        bits: Length m of the code.
        hidden: Width H of the encoder, from whose last layer the noise is read too.
        noise: Standard deviation of the noise at the start.
        others: Those of :class:`~texthash.methods.nash.NASH`.
    """

    card = replace(
        NASH.card,
        name="nash_dn",
        title=f"{NASH.card.title} (data-dependent noise, NASH-DN)",
        deviations=(
            *NASH.card.deviations,
            "log s^2 is one linear map of the encoder's last layer, and s starts at 0.5: how the paper has it from "
            "the document is not known",
        ),
    )
    search_space = {**NASH.search_space, "noise": Uniform(0.05, 1.0)}

    def __init__(self, shape: CorpusShape, bits: int, *, hidden: int = 500, noise: float = 0.5, **others: Any) -> None:
        super().__init__(shape, bits, hidden=hidden, **others)
        self.log_variance = xavier_linear(hidden, bits)
        torch.nn.init.constant_(self.log_variance.bias, 2 * float(torch.log(torch.tensor(noise))))

    def noisy(self, z: Tensor, hidden: Tensor, progress: Progress) -> Tensor:
        return gaussian_sample(z, self.log_variance(hidden), progress.generator)


class SupervisedNASH(Supervised, DataDependentNASH):
    """NASH with data-dependent noise whose code also tells labels. Arguments: those of both."""

    card = replace(
        DataDependentNASH.card,
        name="nash_dn_s",
        title=f"{NASH.card.title} (supervised, NASH-DN-S)",
        tags=(*NASH.card.tags, "SFC"),
        needs=frozenset({"labels"}),
        supervision="labels",
        deviations=(*DataDependentNASH.card.deviations, "the paper's weight of the labels is not known: w_y is 50"),
    )
    search_space = {**DataDependentNASH.search_space, "label_weight": LogUniform(1.0, 300.0)}

    def __init__(
        self, shape: CorpusShape, bits: int, *, label_weight: float = 50.0, label_ramp: float = 0.0, **others: Any
    ) -> None:
        super().__init__(shape, bits, label_weight=label_weight, label_ramp=label_ramp, **others)
