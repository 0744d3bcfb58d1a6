"""Semantic hashing: a deep autoencoder of word counts, pretrained by machines, with noise that makes its codes binary.

machines   V -> H -> H -> m, constrained Poisson below, binary above, CD-1 each
code       y = sigma(f(x) + s eps_x),  eps_x ~ N(0, I) drawn once for each training document
loss       - sum_w v_w log softmax(g(y))_w,  g: m -> H -> H -> V;  v the counts of the most frequent words
bits       1[sigma(f(x)) > threshold]

Under noise of that size the only way to tell documents apart is to drive the code units far from the middle.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Role
from texthash.methods.rbm_autoencoder import PretrainedAutoencoder
from texthash.nn.binarizers import Binarizer
from texthash.nn.spaces import Choice, LogUniform, Uniform


class StackedRBM(PretrainedAutoencoder):
    """Semantic hashing with stacked restricted Boltzmann machines."""

    card = Card(
        name="stacked_rbm",
        title="Semantic Hashing",
        venue="IJAR'2009",
        survey_entry=None,
        tags=("Rec",),
        citation="Salakhutdinov & Hinton, 2009, doi:10.1016/j.ijar.2008.11.006",
        fidelity="reconstructed",
        deviations=(
            "Adam for CD-1 and for fine-tuning; the paper fine-tunes by conjugate gradients",
            "10 epochs of CD-1 for each machine and a threshold of 0.5; recalled from the paper: 50 and 0.1",
            "a document's loss is the sum over its words, not their mean",
            "visible biases start at the log frequencies of the words",
        ),
        paper=Printed(
            "the authors' slides; noise, threshold and epochs are recalled from the paper",
            {"words": 2000, "hidden": 500, "noise": 4.0, "threshold": 0.1, "pretraining_epochs": 50},
        ),
    )
    search_space = {
        "learning_rate": LogUniform(3e-4, 3e-3),
        "words": Choice(2000, 5000, 10000),
        "noise": Uniform(0.0, 4.0),
        "threshold": Uniform(0.1, 0.5),
        "pretraining_epochs": Choice(0, 10, 20),
    }

    gaussian, replicated = False, False

    noise: float = Field(4.0, ge=0, description="Standard deviation s of the noise.")
    threshold: float = Field(0.5, gt=0, lt=1, description="Threshold of sigma(f).")
    epochs = 30

    @property
    def top_width(self) -> int:
        return self.bits

    def make_layers(self) -> None:
        super().make_layers()
        # sigma(f) > t is f > log(t / (1 - t)), which does not saturate.
        self.binarizer = Binarizer(self.bits, math.log(self.threshold / (1 - self.threshold)))

    def setup(self, train: Split) -> None:
        """Draw the noise of each training document, the same in all epochs and workers."""
        drawn = torch.randn(len(train), self.bits, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise_of", self.noise * drawn.to(self.places.device), persistent=False)

    def code(self, top: Tensor, batch: Batch) -> Tensor:
        return torch.sigmoid(top + self.get_buffer("noise_of")[batch.rows])

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.encode(self.read(batch))
