"""Doc2hash: codes of m two-way categorical variables, learned through straight-through Gumbel-softmax samples.

encoder    q = g(x) in R^{m x 2}, g: V -> H -> H -> 2m with ReLU and dropout;  pi_j = softmax(q_j)
sample     y_j = softmax((q_j + Gumbel noise) / tau);  z_j = onehot(argmax y_j) with the gradient of y_j;  tau falls
decoder    p(w | z) = softmax(z D + b)_w, z in {0, 1}^{2m}: one word embedding for each value of each bit
loss       - sum_{w in x} log p(w | z)  +  w_KL sum_j KL(pi_j || uniform)         (each distinct word once)
bits       argmax_k q_jk, that is 1[q_j1 - q_j0 > 0]

Doc2hash-S adds  w_y L_y(z),  L_y the (binary) cross entropy of y^ = z W + b.
"""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.generative import Supervised, VariationalMethod
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.estimators import gumbel_softmax
from texthash.nn.priors import categorical_kl
from texthash.nn.schedules import exponential_decay
from texthash.nn.spaces import Choice, LogUniform

PAPER = Printed(
    "the authors' code (yifeiacc/doc2hash); the tables of the paper were not read",
    {
        "hidden": 500,
        "layers": 2,
        "dropout": 0.2,
        "temperature": 1.0,
        "end_temperature": 0.1,
        "flat_divergence": True,
        "kl_weight": 2.0,
        "kl_ramp": 0.0,
        "learning_rate": 5e-4,
        "epochs": 100,
        "batch_size": 100,
        "weighting": "tfidf",
        "word_weights": "input",
    },
)


class Doc2Hash(VariationalMethod):
    """Hashing with categorical latent variables."""

    card = Card(
        name="doc2hash",
        title="Doc2hash: Learning Discrete Latent Variables for Documents Retrieval",
        venue="NAACL'2019",
        survey_entry=26,
        tags=("Rec", "Prior(C)", "Gradient"),
        citation="Zhang & Zhu, 2019, ACL Anthology N19-1232",
        fidelity="code, loss re-weighted",
        deviations=(
            "the divergence is of each bit; the authors' code takes one softmax over all 2m logits, by which it can be "
            "below zero",
            "w_KL is 1 and each distinct word counts once, where the code has 2 and weights of tf-idf (word_weights: "
            "input)",
            "learning rate 3e-3 for 40 epochs, not 5e-4 for 100",
            "tau falls over a share of training, not by 0.96 a batch",
            "the decoder's bias starts at the log frequencies of the words",
            "no dropout while encoding, which the code forgets to turn off",
        ),
        paper=PAPER,
    )
    search_space = {
        **VariationalMethod.search_space,
        "learning_rate": LogUniform(5e-4, 8e-3),
        "batch_size": Choice(64, 100, 128, 256),
        "end_temperature": LogUniform(0.1, 1.0),
        "kl_weight": LogUniform(0.03, 2.0),
    }

    batch_size = 100
    temperature: float = Field(1.0, gt=0, description="Temperature tau at the start.")
    end_temperature: float = Field(0.1, gt=0, description="Temperature tau after annealing.")
    annealing: float = Field(0.005, ge=0, le=1, description="Share of training over which tau falls.")
    flat_divergence: bool = Field(
        False,
        description="Use the divergence of the authors' code, of one softmax over all 2m logits from 1/2 each, which "
        "may be below zero, for comparison with that code.",
    )

    def make_layers(self) -> None:
        super().make_layers()
        self.logits = xavier_linear(self.hidden, self.width)
        self.decoder = SoftmaxDecoder(self.width, self.shape.vocabulary)

    @property
    def width(self) -> int:
        return 2 * self.bits

    def sample(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        """Return one-hot pairs z [B, 2m] of each document, and sum_j KL(pi_j || uniform) [B]."""
        q = self.pairs(batch)
        tau = exponential_decay(progress.fraction, self.temperature, self.end_temperature, over=self.annealing)
        kl = categorical_kl(q.flatten(1)[:, None]) - math.log(self.bits) if self.flat_divergence else categorical_kl(q)
        return gumbel_softmax(q, tau, progress.generator).flatten(1), kl

    def pairs(self, batch: Batch) -> Tensor:
        """Return logits q [B, m, 2] of the two values of each bit."""
        return self.logits(self.encoder(batch)).unflatten(1, (self.bits, 2))

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        q = self.pairs(batch)
        return q[..., 1] - q[..., 0]


class SupervisedDoc2Hash(Supervised, Doc2Hash):
    """Doc2hash whose code also predicts the labels of its document."""

    card = Doc2Hash.card.supervised(
        "doc2hash_s",
        "Doc2hash-S",
        "labels of multi-label corpora are learned by cross entropy, not by the squared error of sigmoids",
        "w_y reaches its end after a tenth of training, not by 3/1000 a batch",
        "temperature, dropout and learning rate as without labels, where the code has 0.2 at the start, 0 and 1e-4",
        paper=Printed(
            PAPER.source,
            {**PAPER.values, "temperature": 0.2, "dropout": 0.0, "learning_rate": 1e-4, "label_weight": 150.0},
        ),
    )
    search_space = {**Doc2Hash.search_space, "label_weight": LogUniform(10.0, 300.0)}
