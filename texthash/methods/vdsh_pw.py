"""VDSH-PW: VDSH whose codes also say which pairs of documents share labels, without a parameter of their own.

posterior  q(z | x) = N(mu, diag s^2); decoder, divergence and bits as in VDSH
pairs      - s_ij log p_ij - (1 - s_ij) log(1 - p_ij),  s_ij = |Y_i and Y_j| / |Y_i or Y_j|
           gaussian        p = exp(- ||mu_i - mu_j||^2 / m)
           inner_product   p = sigma(v_i . v_j / 2)
           bhattacharyya   p = int sqrt(q(z | x_i) q(z | x_j)) dz
           or, of
           cosine          (cos(v_i, v_j) - (2 s_ij - 1))^2
           wasserstein     s_ij d_ij + (1 - s_ij) max(0, margin - d_ij),
                           d_ij = (||mu_i - mu_j||^2 + ||s_i - s_j||^2) / m
           v = mu minus its mean over the batch, as bits are cut at medians, or a sample z of the posterior
loss       loss of VDSH  +  w_p L_pair, the mean over pairs of labelled documents, of which similar ones weigh half

Vectors of C equal classes cannot all point away from each other: at best v_i . v_j = - |v|^2 / (C - 1), so that each
unlike pair costs nearly log 2 under inner_product however large its weight. Distances have no such bound. P@100 on
validation (20 Newsgroups random60, 32 bits) after 1 to 5 epochs:

    gaussian                          .417 .657 .763 .813 .837
    cosine                            .674 .750 .776 .797 .816
    inner_product                     .536 .627 .689 .722 .749
    inner_product, ten times w_p      .495 .572 .578 .586 .594
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Progress
from texthash.methods.vdsh import VDSH
from texthash.nn.categories import check_labels
from texthash.nn.estimators import gaussian_sample
from texthash.nn.pairwise import (
    bhattacharyya_affinity,
    centred,
    gaussian_affinity,
    jaccard,
    labelled_pairs,
    pair_contrastive,
    pair_cosine,
    pair_likelihood,
    pair_logistic,
    pair_weights,
    wasserstein_distances,
)
from texthash.nn.priors import gaussian_kl
from texthash.nn.spaces import LogUniform


class PairwiseVDSH(VDSH):
    """Variational deep semantic hashing with labels of pairs."""

    card = replace(
        VDSH.card,
        name="vdsh_pw",
        title="Variational Deep Semantic Text Hashing with Pairwise Labels",
        venue="IMCOM'2019",
        survey_entry=30,
        tags=("Rec", "Prior(G)", "SFR"),
        citation="Xuan, Shim & Lee, 2019, doi:10.1007/978-3-030-19063-7_85",
        inputs_needed=frozenset({"labels"}),
        supervision="labels",
        fidelity="reconstructed",
        deviations=(
            "built from the title, the survey's tags, the abstract of a companion paper (IEEE Access 2021) and VDSH's "
            "code: the form of the pair term and its weight are this implementation's own",
            "pairs are of means, not of samples, whose variance is above 1, and gaussian by default: see the module",
            *VDSH.card.deviations,
        ),
        paper=None,
    )
    search_space = {**VDSH.search_space, "pair_weight": LogUniform(1.0, 1000.0)}

    pair_weight: float = Field(100.0, ge=0, description="Weight w_p of the pairs; 0 is the loss without labels.")
    affinity: Literal["gaussian", "bhattacharyya", "inner_product", "cosine", "wasserstein"] = Field(
        "gaussian", description="Function of two codes or posteriors that has to fit the labels."
    )
    pair_codes: Literal["mean", "sample"] = Field(
        "mean", description="Source of v in inner_product and cosine: means centred in the batch, or samples."
    )
    margin: float = Field(1.0, gt=0, description="Margin of wasserstein.")

    def make_layers(self) -> None:
        check_labels(self.shape.labels)
        super().make_layers()

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        mean, log_variance = self.posterior(batch)
        z = gaussian_sample(mean, log_variance, progress.generator)
        gather = progress.workers.gather
        pairs = self.pairs(gather(mean), gather(log_variance), gather(z), self.all_labels(batch, progress))
        return {
            **self.bound(z, gaussian_kl(mean, log_variance), batch, progress),
            "pairs": self.pair_weight * pairs,
        }

    def pairs(self, mean: Tensor, log_variance: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        """Return L_pair of documents with mu, log s^2 and z [n, m] and labels [n, C]."""
        similarity = jaccard(labels)
        if self.affinity == "gaussian":
            each = pair_likelihood(gaussian_affinity(mean), similarity)
        elif self.affinity == "bhattacharyya":
            each = pair_likelihood(bhattacharyya_affinity(mean, log_variance), similarity)
        elif self.affinity == "wasserstein":
            distances = wasserstein_distances(mean, log_variance) / mean.shape[1]
            each = pair_contrastive(distances, similarity, self.margin)
        else:
            v = z if self.pair_codes == "sample" else centred(mean)
            each = (pair_cosine if self.affinity == "cosine" else pair_logistic)(v, similarity)
        return (pair_weights(similarity, labelled_pairs(labels)) * each).sum()
