"""IHDH: hashing by two levels of labels, in which a document's code looks at another one of its category.

encoder    f(v): V -> H -> H -> m with leaky ReLU and dropout, of the document d and of a reference r, a random training
           document with one of its labels;  d_0 = f(d), r_0 = f(r)
fusion     x_d = d_0 + shrink(((r_0 - d_0) * r_0) A + a),  x_r = r_0 + shrink(((d_0 - r_0) * d_0) A + a),
           shrink(t) = t - tanh t;  A starts at 0
decoders   p(w | x_d) = softmax(x_d E + b)_w;  q = sigma(x_d W + c) of labels,
           q_P = 1 - prod_{c in P} (1 - q_c) of their groups P
loss       - sum_{w in x} log p(w | x_d)  +  w_q [ ||x_d - sgn x_d|| + ||x_r - sgn x_r|| ]                  (w_q rising)
           +  w_y [ ||q - y|| + w_g ||q_P - y_P|| ]                                                         (w_y rising)
           +  w_p [ L_pair(X_d) + L_pair(X_r) ]  +  w_r ||x_d - x_r||
           L_pair(X) = mean of the norms of the rows of X X^T - m (2 S - 1),  s_ij = |Y_i and Y_j| / |Y_i or Y_j|
bits       1[x > 0] with the document as its own reference, x = f(d) + shrink(a)

A document without labels is its own reference, and neither in the terms of labels nor in a pair. In a flat tree, and
for a label without a parent, groups are labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch, take
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.generative import BagAutoencoder
from texthash.nn.categories import check_labels
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.label_groups import any_of, groups_of, membership
from texthash.nn.pairwise import jaccard, row_inner_products
from texthash.nn.reconstruction import word_log_likelihood
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import Choice, LogUniform


class IHDH(BagAutoencoder):
    """Intra-category aware hierarchical supervised document hashing."""

    members: Tensor
    starts: Tensor
    of_label: Tensor
    training_only = frozenset({"members", "starts", "of_label"})
    slope = 0.01
    card = Card(
        name="ihdh",
        title="Intra-Category Aware Hierarchical Supervised Document Hashing",
        venue="TKDE'2022",
        survey_entry=7,
        tags=("Rec", "SFR", "Quan(Loss)", "Quan(STanh)"),
        citation="Guo, Mao, Wei & Huang, 2022, TKDE 35(6)",
        inputs_needed=frozenset({"labels"}),
        supervision="labels",
        fidelity="code",
        deviations=(
            "a reference for each document, of any of its labels; the code draws one for each category and step, and "
            "uses the first label alone",
            "w_q and w_y rise over a share of training, as far as the code's steps come in 100 epochs of 20 Newsgroups",
            "no scaled tanh, which the survey lists: the code has none, its only tanh is that of the fusion",
            "fewer epochs at a higher learning rate",
            "the decoder's bias starts at the log frequencies of the words; layers start Xavier-uniform, not normal",
        ),
        paper=Printed(
            "the authors' code (Academic-Hammer/IHDH) for 20 Newsgroups; the text of the paper was not read",
            {
                "hidden": 1000,
                "layers": 2,
                "dropout": 0.1,
                "quantization_weight": 5.0,
                "quantization_ramp": 0.45,
                "label_weight": 100.0,
                "label_ramp": 0.09,
                "group_weight": 1.2,
                "pair_weight": 0.05,
                "reference_weight": 1.0,
                "learning_rate": 5e-4,
                "epochs": 100,
                "batch_size": 100,
            },
        ),
    )
    search_space = {
        **BagAutoencoder.search_space,
        "learning_rate": LogUniform(3e-4, 5e-3),
        "batch_size": Choice(64, 100, 128),
        "label_weight": LogUniform(10.0, 400.0),
        "pair_weight": LogUniform(0.01, 1.0),
    }

    hidden = 1000
    dropout = 0.1
    learning_rate = 1e-3
    epochs = 20
    batch_size = 100
    quantization_weight: float = Field(5.0, ge=0, description="Final weight w_q of the distance from signs.")
    quantization_ramp: float = Field(0.45, ge=0, le=1, description="Share of training over which w_q rises from 0.")
    label_weight: float = Field(100.0, ge=0, description="Final weight w_y of the labels.")
    label_ramp: float = Field(0.09, ge=0, le=1, description="Share of training over which w_y rises from 0.")
    group_weight: float = Field(1.2, ge=0, description="Weight w_g of groups, relative to labels.")
    pair_weight: float = Field(0.05, ge=0, description="Weight w_p of inner products of pairs.")
    reference_weight: float = Field(1.0, ge=0, description="Weight w_r of the distance from the reference.")

    def make_layers(self) -> None:
        check_labels(self.shape.labels)
        super().make_layers()
        self.code = xavier_linear(self.hidden, self.bits)
        # Its bias keeps torch's random values: where A and a are both 0, shrink has no gradient.
        self.fusion = torch.nn.Linear(self.bits, self.bits)
        torch.nn.init.zeros_(self.fusion.weight)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary)
        self.label_map = xavier_linear(self.bits, self.shape.labels)

    def setup(self, train: Split) -> None:
        device = self.binarizer.thresholds.device
        self.train_split = train
        indptr, labels = (np.asarray(array, np.int64) for array in train.label_ids)
        rows = np.repeat(np.arange(len(train)), np.diff(indptr))
        counts = np.bincount(labels, minlength=self.shape.labels)
        self.register_buffer("of_label", torch.from_numpy(rows[np.argsort(labels, kind="stable")]).to(device))
        self.register_buffer("starts", torch.from_numpy(np.concatenate([[0], counts.cumsum()])).to(device))
        self.register_buffer("members", membership(train.label_tree.parents.tolist(), self.shape.labels).to(device))

    def references(self, batch: Batch, progress: Progress) -> Tensor:
        """Draw a training document for each document of the batch, by one of its labels; rows [B]."""
        assert batch.labels is not None
        labelled, device = batch.labels.any(dim=1), batch.rows.device
        draws = torch.rand((len(batch), 1 + batch.labels.shape[1]), generator=progress.generator, device=device)
        label = draws[:, 1:].masked_fill(batch.labels == 0, -1.0).argmax(dim=1)[labelled]
        counts = self.starts.diff()[label]
        rows = batch.rows.clone()
        rows[labelled] = self.of_label[self.starts[label] + (draws[labelled, 0] * counts).long()]
        return rows

    def fused(self, own: Tensor, other: Tensor) -> Tensor:
        """Return x_d of d_0 and r_0, or x_r of r_0 and d_0; all [B, m]."""
        return own + F.tanhshrink(self.fusion((other - own) * other))

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        rows = self.references(batch, progress).cpu().numpy()
        reference = take(self.train_split, rows, self.inputs.only(frozenset())).to(batch.rows.device)
        own, other = (self.code(self.encoder(documents)) for documents in (batch, reference))
        x_d, x_r = self.fused(own, other), self.fused(other, own)
        w_q = linear_ramp(progress.fraction, 0.0, self.quantization_weight, over=self.quantization_ramp)
        labels = self.all_labels(batch, progress)
        pairs = [self.pairs(progress.workers.gather(x), labels) for x in (x_d, x_r)]
        return {
            "reconstruction": -word_log_likelihood(self.decoder(x_d), batch).mean(),
            "quantization": w_q * (from_signs(x_d) + from_signs(x_r)).mean(),
            "labels": self.of_labels(x_d, batch, progress),
            "pairs": self.pair_weight * torch.stack(pairs).sum(),
            "reference": self.reference_weight * torch.linalg.vector_norm(x_d - x_r, dim=1).mean(),
        }

    def of_labels(self, x: Tensor, batch: Batch, progress: Progress) -> Tensor:
        """Return w_y [ ||q - y|| + w_g ||q_P - y_P|| ] of x_d [B, m], a mean over the labelled documents."""
        assert batch.labels is not None
        assert batch.labelled is not None
        logits, labelled = self.label_map(x), batch.labelled
        of_label = torch.linalg.vector_norm(torch.sigmoid(logits) - batch.labels, dim=1)
        groups = any_of(logits, self.members) - groups_of(batch.labels, self.members)
        each = of_label + self.group_weight * torch.linalg.vector_norm(groups, dim=1)
        count = progress.workers.mean(labelled.sum().float()).clamp(min=torch.finfo(each.dtype).tiny)
        weight = linear_ramp(progress.fraction, 0.0, self.label_weight, over=self.label_ramp)
        return weight * torch.where(labelled, each, 0.0).sum() / count

    def pairs(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return L_pair of codes X [n, m] and labels y [n, C] of all workers, over the labelled documents."""
        labelled = labels.any(dim=1)
        rows = row_inner_products(codes, jaccard(labels), labelled[:, None] & labelled)
        return rows.sum() / labelled.sum().clamp(min=1)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        own = self.code(self.encoder(batch))
        return self.fused(own, own)


def from_signs(x: Tensor) -> Tensor:
    """Return ||x - sgn x|| of each code, [n], of x [n, m]: a norm, not its square."""
    return torch.linalg.vector_norm(x - torch.where(x > 0, 1.0, -1.0), dim=1)
