"""DGM-SpH: spectral hashing of the features of a deep generative model of word counts.

machines   V -> H -> H -> d, replicated softmax below, binary in the middle, Gaussian units on top, CD-1 each
features   f(x) in R^d of the unrolled autoencoder, fine-tuned on - sum_w v_w log softmax(g(f(x)))_w
code       u = (f(x) - c) W, principal components of the training documents' features
           bit_j = 1[sin(pi / 2 + omega_j (u_{k_j} - a_{k_j})) > 0], the m slowest modes of the box around them

Reconstructed from the abstract alone, which says: word counts, a deep generative model, then spectral hashing trained
on its features.

On 20 Newsgroups (random60, 32 bits, validation) codes stay below principal components of tf-idf cut at zero, 0.38. With
machines that start at weights of deviation 0.01, P@100 of 800 queries, and nats a document over fine-tuning:

                       nats            float cosine   PCA, median   PCA, ITQ   these codes
    2,000 words        601 -> 568          0.41           0.29         0.39        0.26
    10,000, rate 3e-3  1074 -> 969         0.51           0.43         0.45        0.34

So the features know more than the codes tell: six components of wide range take five or six modes each, and bits of a
high frequency part documents that are near. Wider starts widen the features. Of 500 units at the bottom about 6
directions vary after CD-1 from 0.01, and 3 of the features; from 0.1, at rate 3e-3, 71 and 9. Hence these defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from texthash.corpora.batches import Batch, batches
from texthash.corpora.dataset import CorpusShape, Split
from texthash.methods.base import Card, ClosedForm, Role, Stage
from texthash.methods.pretrained import PretrainedAutoencoder
from texthash.parts.spaces import Choice, IntUniform, LogUniform
from texthash.parts.spectral import SpectralModes, principal_components

READ_AT_ONCE = 1024


class DGMSpH(PretrainedAutoencoder):
    """Deep generative model and spectral hashing.

    Args:
        shape: Sizes of the corpus.
        bits: Length m of the code.
        features: Width d.
        pretraining_rate: Learning rate of CD-1.
        init: Standard deviation of the machines' weights at the start.
        others: Those of :class:`~texthash.methods.pretrained.PretrainedAutoencoder`.
    """

    card = Card(
        name="dgm_sph",
        title="A Document Modeling Method Based on Deep Generative Model and Spectral Hashing",
        venue="KSEM'2016",
        survey_entry=34,
        tags=("Rec", "CB"),
        citation="KSEM 2016, LNAI 9983, doi:10.1007/978-3-319-47650-6_32",
        fidelity="reconstructed",
        deviations=(
            "known from the abstract only: layers, sizes, pretraining and fine-tuning are ours",
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

    def __init__(
        self,
        shape: CorpusShape,
        bits: int,
        *,
        features: int = 64,
        pretraining_rate: float = 3e-3,
        init: float = 0.1,
        **others: Any,
    ) -> None:
        super().__init__(shape, bits, features, pretraining_rate=pretraining_rate, init=init, **others)
        # All but one: the eigensolver finds fewer components than there are features.
        components = min(bits, features - 1)
        self.projection = nn.Linear(features, components).requires_grad_(False)
        self.modes = SpectralModes(components, bits)

    def stages(self) -> Sequence[Stage]:
        return (*super().stages(), ClosedForm("eigenfunctions", self.choose_eigenfunctions))

    @torch.no_grad()
    def choose_eigenfunctions(self, train: Split) -> None:
        """Set the components and the slowest modes from the features of the training documents."""
        documents = batches(train, READ_AT_ONCE, self.weighting)
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
