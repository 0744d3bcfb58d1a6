"""SMASH: MASH that also tells the words of a document from copies of it in which words are masked; SMASH-S: labels too.

noise      x~_s = x * M_s, M_s ~ Bern(k), k = min(1, |n|), n ~ N(0, (1 - sigma)^2) of each word, s = 1..S
loss       loss of MASH - (1/S) sum_s e_s sum_{w in x} x_w log p(w | z~_s) + w_rp L_rp(z~, l~),  e = softmax_s(l . l~_s)
SMASH-S    loss of SMASH  +  w_y L_y(z),  L_y the (binary) cross entropy of y^ = z W + b

On Reuters, where nearly all of a document's 90 labels say no, these press all codes of SMASH-S into one. P@100 on
validation (random60, 32 bits) after 1, 2, 4, 8 and 20 epochs:

    w_y = 150 from a tenth of training on       .311, .225, .212, .211
    w_y = 15 from a tenth of training on        .287, .216, .212, .205
    w_y rising to 150 until the end             .289, .213, .207, .203
    w_y rising to 15 until the end              .460, .469, .514, .627, .762
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Printed, Progress
from texthash.methods.generative import LABELS_OF_TOOLBOX, Supervised
from texthash.methods.mash import MASH, PAPER
from texthash.nn.robustness import folded_normal_keep, mask_words
from texthash.nn.spaces import LogUniform, Uniform


class SMASH(MASH):
    """MASH that also reconstructs the words of a document from copies in which words are masked."""

    card = replace(
        MASH.card,
        name="smash",
        title="An Efficient and Robust Semantic Hashing Framework for Similar Text Search",
        tags=(*MASH.card.tags, "Robustness"),
        deviations=(
            *MASH.card.deviations,
            "the weights e of the copies belong to their documents; the code mixes up documents and features",
        ),
        paper=Printed(PAPER.source, {**PAPER.values, "noise": 0.6, "copies": 3}),
    )
    search_space = {**MASH.search_space, "noise": Uniform(0.1, 0.9)}

    noise: float = Field(
        0.6,
        ge=0,
        lt=1,
        description="Noise sigma: a word stays with probability min(1, |n|), n ~ N(0, (1 - sigma)^2) drawn for each.",
    )
    copies: int = Field(3, ge=1, description="Number S of masked copies.")

    def meaning(self, batch: Batch, short: Tensor, long: Tensor, progress: Progress) -> dict[str, Tensor]:
        clean = super().meaning(batch, short, long, progress)
        noisy = [self.codes(self.masked(batch, progress)) for _ in range(self.copies)]
        noisy_short, noisy_long = (torch.cat(codes) for codes in zip(*noisy, strict=True))
        likeness = (long * noisy_long.view(self.copies, *long.shape)).sum(dim=2)
        likelihoods = torch.stack([self.word_likelihood(self.decoder(z), batch) for z, _ in noisy])
        return {
            **clean,
            "denoising": -(torch.softmax(likeness, dim=0) * likelihoods).mean(),
            "noisy_relevance": self.relevance * self.propagation(noisy_short, noisy_long, progress),
        }

    def masked(self, batch: Batch, progress: Progress) -> Batch:
        """Return the batch with words masked."""
        keep = folded_normal_keep(batch.values, self.noise, progress.generator)
        return replace(batch, values=mask_words(batch.values, keep, progress.generator))


class SupervisedSMASH(Supervised, SMASH):
    """SMASH whose code also predicts labels."""

    card = SMASH.card.supervised("smash_s", "SMASH-S", LABELS_OF_TOOLBOX)
    search_space = {**SMASH.search_space, "label_weight": LogUniform(10.0, 300.0)}
