"""HierHash: a variational autoencoder whose prior is a hierarchy of prototypes, and whose codes are contrasted by it.

prior      c ~ Cat(pi), f | c ~ Cat(rho_c), z | c, f ~ N(v_cf, s^2 I),  v_cf = u_c + delta_cf
encoder    t = ReLU MLP(x);  q(z | x) = N(t W_mu + b, diag sigma(x)^2);  q(c | z), q(f | c, z) by the nearest prototypes
decoder    p(w | z) = softmax(z R^T + b)_w
loss       - sum_{w in x} log p(w | z)  +  w_KL KL(q(z, c, f | x) || p(z, c, f))     (each distinct word once)
           + w_f L_con(fine)  +  w_c L_con(coarse),   InfoNCE of mu, positives: documents of the same pseudo-label
bits       1[mu > median of mu over the training documents]

Pseudo-labels are the most probable prototypes: c^ = argmax q(c | z), f^ = argmax q(f | c^, z).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Progress
from texthash.methods.vdsh import VDSH
from texthash.nn.estimators import gaussian_sample
from texthash.nn.prototypes import HierarchicalPrototypes, info_nce
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import IntUniform, LogUniform


class HierHash(VDSH):
    """Hashing with multi-grained prototypes."""

    card = Card(
        name="hierhash",
        title="Document Hashing with Multi-Grained Prototype-Induced Hierarchical Generative Model",
        venue="EMNLP'2024",
        survey_entry=2,
        tags=("Rec", "Prior(G)", "MMI", "Pse"),
        citation="Zhang, Su, Chen & Song, 2024, ACL Anthology 2024.findings-emnlp.18",
        fidelity="reconstructed",
        deviations=(
            "built from the abstract: the equations of prior and contrast, and all their sizes, are this "
            "implementation's own",
            "encoder, decoder and training as in vdsh here, on tf-idf",
        ),
    )
    search_space = {
        **VDSH.search_space,
        "coarse": IntUniform(5, 30),
        "fine": IntUniform(2, 10),
        "contrast_fine": LogUniform(0.1, 30.0),
        "contrast_coarse": LogUniform(0.1, 30.0),
    }

    coarse: int = Field(10, ge=1, description="Number of coarse prototypes.")
    fine: int = Field(5, ge=1, description="Number of fine prototypes of each coarse one.")
    contrast_fine: float = Field(2.0, ge=0, description="Final weight w_f of the fine contrast.")
    contrast_coarse: float = Field(1.0, ge=0, description="Final weight w_c of the coarse contrast.")
    contrast_ramp: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of training over which both weights rise from 0, as early pseudo-labels are meaningless.",
    )
    temperature: float = Field(0.1, gt=0, description="Temperature of the contrast.")

    def make_layers(self) -> None:
        super().make_layers()
        self.prototypes = HierarchicalPrototypes(self.coarse, self.fine, self.bits)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        mean, log_variance = self.posterior(batch)
        z = gaussian_sample(mean, log_variance, progress.generator)
        log_coarse, log_fine = self.prototypes.assign(z)
        kl = self.prototypes.kl(mean, log_variance, log_coarse, log_fine)
        return {**self.bound(z, kl, batch, progress), **self.contrast(mean, log_coarse, log_fine, progress)}

    def contrast(self, mean: Tensor, log_coarse: Tensor, log_fine: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return w_f L_con(fine) and w_c L_con(coarse) over the documents of all workers."""
        weight = linear_ramp(progress.fraction, 0.0, 1.0, over=self.contrast_ramp)
        coarse = log_coarse.argmax(dim=1)
        fine = log_fine[torch.arange(len(coarse), device=coarse.device), coarse].argmax(dim=1)
        gather = progress.workers.gather
        codes, coarse, fine = gather(mean), gather(coarse), gather(fine)
        same_coarse = coarse[:, None] == coarse
        same_fine = same_coarse & (fine[:, None] == fine)
        return {
            "contrast_fine": weight * self.contrast_fine * info_nce(codes, same_fine, self.temperature),
            "contrast_coarse": weight * self.contrast_coarse * info_nce(codes, same_coarse, self.temperature),
        }
