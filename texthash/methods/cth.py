"""CTH: conditional text hashing, a VDSH whose decoder also sees the labels, with codes compared in pairs.

posterior  q(z | x) = N(mu, diag s^2); divergence and bits as in VDSH
decoder    p(w | z, y) = softmax(z R^T + y C + b)_w,  y = 0 of a document without labels
loss       - sum_{w in x} log p(w | z, y)  +  w_KL KL(N(mu, s^2) || N(0, I))  +  w_p L_pair,  L_pair as in VDSH-PW

The code need not hold what the decoder reads from the labels; the pairs keep that in the code. Codes need no labels.

The other reading of "conditional", ``condition=bits``, hashes a text for two systems of labels at once: the labels of
the corpus and their groups in its tree. The decoder sees neither. The first half of the bits is compared for both, the
third quarter for the labels alone and the last for the groups alone: L_pair = L_pair(labels) + L_pair(groups).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.vdsh import VDSH
from texthash.methods.vdsh_pw import PairwiseVDSH
from texthash.nn.label_groups import groups_of, membership


class CTH(PairwiseVDSH):
    """Conditional variational hashing with pairs of labels."""

    members: Tensor
    training_only = frozenset({"members"})
    card = replace(
        PairwiseVDSH.card,
        name="cth",
        title="Conditional Text Hashing Utilizing Pair-wise Multi Class Labels",
        venue="ICICEL'2020",
        survey_entry=15,
        citation="Xuan, Shim & Lee, 2020, ICIC Express Letters 14(4)",
        deviations=(
            "built from the title, the survey's tags, the abstract of a companion paper (IEEE Access 2021) and VDSH's "
            "code: what is conditional, the form of the pair term and its weight are this implementation's own",
            "pairs are of means, not of samples, whose variance is above 1, and gaussian by default: see vdsh_pw",
            *VDSH.card.deviations,
        ),
    )

    condition: Literal["words", "bits"] = Field(
        "words", description="What depends on labels: the decoder's words, or which bits are compared."
    )

    def make_layers(self) -> None:
        super().make_layers()
        if self.condition == "words":
            self.label_words = torch.nn.Parameter(torch.zeros(self.shape.labels, self.shape.vocabulary))

    def setup(self, train: Split) -> None:
        members = membership(train.label_tree.parents.tolist(), self.shape.labels)
        self.register_buffer("members", members.to(self.binarizer.thresholds.device))

    def word_logits(self, z: Tensor, batch: Batch) -> Tensor:
        logits = super().word_logits(z, batch)
        if self.condition == "bits":
            return logits
        assert batch.labels is not None
        return torch.addmm(logits, batch.labels, self.label_words)

    def pairs(self, mean: Tensor, log_variance: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        if self.condition == "words":
            return super().pairs(mean, log_variance, z, labels)
        groups = groups_of(labels, self.members)
        systems = ((labels, self.bits_of("labels")), (groups, self.bits_of("groups")))
        parts = [super(CTH, self).pairs(mean[:, at], log_variance[:, at], z[:, at], y) for y, at in systems]
        return torch.stack(parts).sum()

    def bits_of(self, system: Literal["labels", "groups"]) -> list[int]:
        """Return the bits that ``condition=bits`` compares for a system of labels, three quarters of them."""
        half, quarter = self.bits // 2, self.bits // 4
        own = range(half, half + quarter) if system == "labels" else range(half + quarter, self.bits)
        return [*range(half), *own]
