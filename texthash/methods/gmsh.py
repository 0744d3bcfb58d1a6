"""GMSH: document hashing with a Gaussian mixture prior. VDSH is the case of one component N(0, I).

prior      c ~ Cat(pi),  z ~ N(mu_c, diag s_c^2): pi, mu_k and s_k learned
encoders   q(z | x) = N(mu(x), diag s^2(x)) as in VDSH;  q(c | x) = softmax(x A + a)
decoder    p(w | z) = softmax(z R^T + b)_w
loss       - sum_{w in x} log p(w | z)  +  w_KL sum_k q(k | x) [ log q(k | x) / pi_k + KL(q(z | x) || p(z | k)) ]
code       bit_j = 1[mu_j > median of mu_j over the training documents]

On 20 Newsgroups (random60, 32 bits, validation) P@100 of the best epoch, and of the last, by w_KL and epochs:

                          0.3, 12       1, 12         3, 12         10, 12        3, 24
    20 components       .420, .360   .433, .408   .472, .468   .421, .411
    80 components                    .444, .442                             .521, .519
    VDSH                             .471, .465   .504, .498                .520, .518

At w_KL = 1, the weight of the bound, the codes overfit; at 3 they do not, and VDSH gains as much. 20 components stay
below its one at each weight; 80 come up to it, and not above.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Progress
from texthash.methods.vdsh import VDSH
from texthash.nn.encoders import SparseLinear
from texthash.nn.estimators import gaussian_sample
from texthash.nn.mixtures import GaussianMixture
from texthash.nn.spaces import Choice, LogUniform


class GMSH(VDSH):
    """Document hashing with a Gaussian mixture prior."""

    card = replace(
        VDSH.card,
        name="gmsh",
        title="Document Hashing with Mixture-Prior Generative Models (Gaussian mixture, GMSH)",
        venue="EMNLP'2019",
        survey_entry=25,
        tags=("Rec", "Prior(M)"),
        citation="Dong et al., 2019, arXiv:1908.11078",
        fidelity="reconstructed",
        deviations=(
            "the paper's settings are not known: encoder, decoder, schedule and bounds of s^2 are those of VDSH here",
            "q(c | x) is one linear map of the words, as in a re-implementation of BMSH",
            "the means of the components start at N(0, 1), their variances at 1",
        ),
        paper=None,
    )
    search_space = {**VDSH.search_space, "components": Choice(10, 20, 40, 80), "prior_std": LogUniform(0.1, 3.0)}

    components: int = Field(20, ge=1, description="Number K of components.")
    prior_std: float = Field(1.0, ge=0, description="Standard deviation of the means of the components at the start.")

    def make_layers(self) -> None:
        super().make_layers()
        self.responsibilities = SparseLinear(self.shape.vocabulary, self.components)
        self.prior = GaussianMixture(self.components, self.bits, self.prior_std)

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.posterior(batch)
        kl = self.prior.joint_kl(self.responsibilities(batch), self.prior.divergences(mean, log_variance))
        return gaussian_sample(mean, log_variance, progress.generator), kl
