"""DHSH: a supervised Bernoulli autoencoder that moves hard documents away from the centres of other classes.

encoder    p = sigma(g(x)), g: V -> H -> m with leaky ReLU and dropout
code       h = 1[p > 1/2], with the straight-through gradient dh/dp := 1
decoder    p(w | h) = softmax(h E + b)_w
triplets   L_t(s) = mean over anchors of max(0, d(i, i+) - d(i, i-) + margin),  d(i, j) = ||h_i - h_j||, one random
           positive (s_ij = 1) and negative (s_ij = 0) an anchor;  s by labels, and by groups of labels in their tree
centres    c_y, R_y: centre of class y, and mean + lambda std of the distances from it, every few epochs
hard       L_d: documents further from their own centre than its R, or nearer to another one than its R
loss       - sum_w x_w log p(w | h)  +  w_KL KL(Bern(p) || Bern(1/2))
           +  w_y L_y(h)  +  w_t [ L_t(labels) + L_t(groups) ]  +  w_d L_d
bits       1[p > 1/2]

L_d is in :mod:`texthash.nn.class_centres`. Documents without labels are in the first line of the loss alone. In a flat
tree, and for a label without a parent, groups are labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.generative import Supervised, VariationalMethod
from texthash.nn.class_centres import ClassCentres, euclidean_distances
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import straight_through_bernoulli
from texthash.nn.label_groups import groups_of, membership
from texthash.nn.pairwise import labelled_pairs, random_triplets, shared_label
from texthash.nn.priors import bernoulli_kl
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import LogUniform


class DHSH(Supervised, VariationalMethod):
    """De-confusing hard samples."""

    members: Tensor
    centres: ClassCentres
    training_only = frozenset({"members", "centres"})
    slope = 0.01
    card = Card(
        name="dhsh",
        title="De-confusing Hard Samples for Text Semantic Hashing",
        venue="ICASSP'2025",
        survey_entry=1,
        tags=("Rec", "Prior(B)", "SFC", "SFR", "CB", "Quan(Sgn)"),
        citation="ICASSP 2025; its authors are not named by what was read",
        inputs_needed=frozenset({"labels"}),
        supervision="labels",
        fidelity="reconstructed",
        deviations=(
            "built from a re-implementation by others (hly1998/DeepTextHashing), which cites the paper's equations",
            "two levels of triplets, as the paper is said to have; the re-implementation has one",
            "centres are of the code that each document had when it was last trained on, with dropout, not of a pass "
            "over all documents without; there are none in the first epochs",
            "a document outside of its own radius is compared with the nearest other centre, not with a random one",
            "dropout before the last layer, not on its logits",
            "the decoder's bias starts at the log frequencies of the words",
        ),
        paper=Printed(
            "the re-implementation in the survey's repository (hly1998/DeepTextHashing); the paper was not read",
            {
                "hidden": 1000,
                "layers": 1,
                "dropout": 0.1,
                "kl_weight": 1.0,
                "label_weight": 3.0,
                "triplet_weight": 3.0,
                "hard_weight": 1.0,
                "margin": 0.1,
                "hard_margin": 0.01,
                "spread": 1.0,
                "refit": 3,
                "learning_rate": 5e-4,
                "epochs": 50,
                "batch_size": 64,
                "weighting": "sublinear_tfidf",
            },
        ),
    )
    search_space = {
        **VariationalMethod.search_space,
        "learning_rate": LogUniform(3e-4, 5e-3),
        "label_weight": LogUniform(1.0, 100.0),
        "triplet_weight": LogUniform(0.3, 30.0),
        "hard_weight": LogUniform(0.1, 30.0),
    }

    weighting = "sublinear_tfidf"
    word_weights = "input"
    hidden = 1000
    layers = 1
    dropout = 0.1
    learning_rate = 1e-3
    epochs = 20
    label_weight = 3.0
    label_ramp = 0.0
    triplet_weight: float = Field(3.0, ge=0, description="Weight w_t of the triplets of each level.")
    hard_weight: float = Field(1.0, ge=0, description="Weight w_d of hard documents.")
    margin: float = Field(0.1, ge=0, description="Margin of the triplets.")
    hard_margin: float = Field(0.01, ge=0, description="Margin of hard documents.")
    spread: float = Field(1.0, ge=0, description="Number lambda of standard deviations in the radius of a class.")
    refit: int = Field(3, ge=1, description="Epochs after which the centres are computed, and again each time.")

    def make_layers(self) -> None:
        super().make_layers()
        self.logits = xavier_linear(self.hidden, self.bits)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary)

    def setup(self, train: Split) -> None:
        device = self.binarizer.thresholds.device
        self.register_buffer("members", membership(train.label_tree.parents.tolist(), self.shape.labels).to(device))
        indptr, labels = (torch.from_numpy(np.array(array, np.int64)) for array in train.label_ids)
        rows = torch.repeat_interleave(torch.arange(len(train)), indptr.diff())
        centres = ClassCentres(rows, labels, len(train), self.shape.labels, self.bits, self.spread)
        self.centres = centres.to(device)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        logits = self.logits(self.encoder(batch))
        h = straight_through_bernoulli(torch.sigmoid(logits), stochastic=False)
        weight = linear_ramp(progress.fraction, 0.0, self.kl_weight, over=self.kl_ramp)
        codes, labels = progress.workers.gather(h), self.all_labels(batch, progress)
        self.centres.write(progress.workers.gather(batch.rows), codes)
        if progress.epoch > 0 and progress.epoch % self.refit == 0:
            self.centres.fit(progress.epoch)
        return {
            "reconstruction": -self.word_likelihood(self.decoder(h), batch).mean(),
            "kl": weight * bernoulli_kl(logits).mean(),
            **self.label_term(h, batch, progress),
            "triplets": self.triplet_weight * self.triplets(codes, labels, progress),
            "hard": self.hard_weight * self.centres.loss(codes, labels, self.hard_margin),
        }

    def triplets(self, codes: Tensor, labels: Tensor, progress: Progress) -> Tensor:
        """Return L_t(labels) + L_t(groups) of the codes h [n, m] and labels [n, C] of all workers."""
        distances, pairs = euclidean_distances(codes, codes), labelled_pairs(labels)
        size, total = (len(codes) // progress.workers.size, len(codes)), codes.new_zeros(())
        for level in (labels, groups_of(labels, self.members)):
            draws = progress.workers.gather(torch.rand(size, generator=progress.generator, device=codes.device))
            each, anchors = random_triplets(distances, shared_label(level), pairs, draws, self.margin)
            total = total + each.sum() / anchors.sum().clamp(min=1)
        return total

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.logits(self.encoder(batch))
