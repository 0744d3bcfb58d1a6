"""DGM-SpH: spectral hashing of the features of a deep generative model of word counts.

machines   V -> H -> H -> d, replicated softmax below, binary in the middle, Gaussian units on top, CD-1 each
features   f(x) in R^d of the unrolled autoencoder, fine-tuned on - sum_w v_w log softmax(g(f(x)))_w
code       u = (f(x) - c) W, principal components of the training documents' features
           bit_j = 1[sin(pi / 2 + omega_j (u_{k_j} - a_{k_j})) > 0], the m slowest modes of the box around them

Reconstructed from the abstract alone, which says: word counts, a deep generative model, then spectral hashing trained
on its features.

On 20 Newsgroups (random60, 32 bits, validation) codes stay below signs of principal components of tf-idf, P@100 0.38.
Of 800 queries, with nats a document over fine-tuning, and directions in which the features vary:

    words, rate, init      nats           directions   float cosine   PCA, median   PCA, ITQ   these codes
    2,000, 1e-3, 0.01      601 -> 568          6           0.41           0.29         0.39        0.26
    2,000, 1e-3, 0.1       572 -> 525         36           0.42           0.22         0.29        0.21
    10,000, 3e-3, 0.01    1074 -> 969          6           0.51           0.43         0.45        0.34

On all queries the last row has 0.30, and 0.31 with 16 features. The features know more than the codes tell, and a
better model does not help. Where few directions vary, each takes five or six modes, and bits of a high frequency part
near documents; where many do, each has one bit, and all count alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, ClosedForm, Role, Stage
from texthash.methods.rbm_autoencoder import PretrainedAutoencoder
from texthash.nn.spaces import Choice, IntUniform, LogUniform
from texthash.nn.spectral import SpectralModes, principal_components

_BATCH = 1024  # documents


class DGMSpH(PretrainedAutoencoder):
    """Deep generative model and spectral hashing."""

    card = Card(
        name="dgm_sph",
        title="A Document Modeling Method Based on Deep Generative Model and Spectral Hashing",
        venue="KSEM'2016",
        survey_entry=34,
        tags=("Rec", "CB"),
        citation="KSEM 2016, LNAI 9983, doi:10.1007/978-3-319-47650-6_32",
        fidelity="reconstruction failed",
        deviations=(
            "known from the abstract only: layers, sizes, pretraining and fine-tuning are this implementation's own",
            "Adam for CD-1 and for fine-tuning",
        ),
    )
    search_space = {
        "learning_rate": LogUniform(3e-4, 3e-3),
        "words": Choice(2000, 5000, 10000),
        "features": IntUniform(16, 128),
        "pretraining_epochs": Choice(0, 10, 20),
        "init": LogUniform(0.01, 0.3),
    }
    gaussian, replicated, tuning_is_last = True, True, False

    features: int = Field(64, ge=2, description="Width d of the features.")

    @property
    def top_width(self) -> int:
        return self.features

    def make_layers(self) -> None:
        super().make_layers()
        # The eigensolver finds fewer components than there are features.
        components = min(self.bits, self.features - 1)
        self.projection = nn.Linear(self.features, components).requires_grad_(False)
        self.modes = SpectralModes(components, self.bits)

    def stages(self) -> Sequence[Stage]:
        return (*super().stages(), ClosedForm("eigenfunctions", self.choose_eigenfunctions))

    @torch.no_grad()
    def choose_eigenfunctions(self, train: Split) -> None:
        """Set the components and the slowest modes from the features of the training documents."""
        documents = batches(train, _BATCH, self.inputs)
        features = torch.cat(
            [self.encode(self.read(batch.to(self.places.device))).cpu() for batch in documents]
        ).numpy()
        directions, centre = principal_components(features, len(self.modes.lowest))
        self.projection.weight.copy_(torch.from_numpy(directions.T.copy()))
        self.projection.bias.copy_(torch.from_numpy(-centre))
        self.modes.choose(features @ directions - centre)

    def code(self, top: Tensor, batch: Batch) -> Tensor:
        return top

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.modes(self.projection(self.encode(self.read(batch))))
