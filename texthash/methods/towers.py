"""Base of the methods with two towers: a question and a document are encoded apart, and learn from pairs of them.

x          words (tf-idf), the vector of corpus.features at length 1, or both: what is read of a text is not trained
towers     e_q = l (x_q W_q + b_q),  e_d = l (x_d W_d + b_d),  l such that |e| = sqrt(width)
start      W_q = W_d, b_q = b_d: the iterative quantization of the training documents
stage 1    - (1/B) sum_i log [ exp s_ii / sum_j exp s_ij ],  s_ij = cos(e_qi, e_dj) / tau,
           over the documents of the batch and a hard negative of each question (Karpukhin et al., DPR, 2020)

Every document that answers question i but its own is left out of the sum over j.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import ClosedForm, GradientStage, Optimizers, Progress, Role, Stage, sum_terms
from texthash.methods.itq import itq_rotation
from texthash.methods.paired import PairedMethod
from texthash.methods.projected import FeaturedMethod
from texthash.nn.passages import in_batch_softmax
from texthash.nn.projections import Projection
from texthash.nn.spaces import Choice, LogUniform, Uniform
from texthash.nn.spectral import principal_components

ROLES: tuple[Role, ...] = ("query", "document")
_ROTATED, _ITERATIONS = 20_000, 20  # rows from which the first rotation is found, and its iterations


class TwoTowers(PairedMethod, FeaturedMethod):
    """Base class of methods that learn from pairs of a question and a document that answers it.

    A subclass adds its stages to those of the towers, and defines ``activations``.

    Attributes:
        query_tower: Linear encoder of questions.
        document_tower: Linear encoder of documents.
    """

    search_space = {
        "learning_rate": LogUniform(3e-4, 1e-2),
        "temperature": LogUniform(0.02, 0.2),
        "batch_size": Choice(64, 128, 256),
        "dropout": Uniform(0.0, 0.8),
    }

    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam.")
    temperature: float = Field(0.05, gt=0, description="Temperature tau of the softmax over documents.")
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Probability of dropping a word, or a number of the vector, in training."
    )
    tower_epochs: int = Field(5, ge=1, description="Passes over the pairs in which the towers alone are trained.")
    epochs: int = Field(15, ge=1, description="Passes over the pairs in which the code is trained.")
    batch_size: int = Field(128, ge=1, description="Pairs in a batch.")

    def make_layers(self) -> None:
        self.query_tower = self.new_projection(self.width)
        self.document_tower = self.new_projection(self.width)

    def tower(self, role: Role) -> Projection:
        """Return the encoder of questions or of documents."""
        return self.query_tower if role == "query" else self.document_tower

    @property
    def width(self) -> int:
        """Width of the towers: the number of bits, unless a method overrides it."""
        return self.bits

    def encoded(self, batch: Batch, role: Role) -> Tensor:
        """Return e of questions or documents, [B, width], of length sqrt(width)."""
        if self.training and self.dropout:
            dense = None if batch.dense is None else F.dropout(batch.dense, self.dropout)
            batch = replace(batch, values=F.dropout(batch.values, self.dropout), dense=dense)
        return F.normalize(self.tower(role)(batch), dim=1) * math.sqrt(self.width)

    # -- fitting ----------------------------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        train = (self.tower_optimizers, self.tower_epochs, self.batch_size, self.tower_step)
        return (ClosedForm("start", self.start), GradientStage("towers", *train, selected=False))

    def start(self, train: Split) -> None:
        """Set both towers to the iterative quantization of the training documents.

        If these have fewer components than the towers have numbers, set them to a random rotation of all components.
        """
        rows = self.query_tower.rows(*self.read(train))
        components = min(self.width, rows.shape[0] - 1, rows.shape[1] - 1)
        directions, centre = principal_components(rows, components)
        if components == self.width:
            some = rows[np.linspace(0, rows.shape[0] - 1, min(_ROTATED, rows.shape[0])).astype(np.int64)]
            rotation, _ = itq_rotation(some @ directions - centre, _ITERATIONS)
        else:
            square = np.random.default_rng(0).standard_normal((self.width, components))
            rotation = np.linalg.qr(square)[0].T.astype(np.float32)
        with torch.no_grad():
            for role in ROLES:
                self.tower(role).set(directions @ rotation, -centre @ rotation)

    def tower_optimizers(self) -> Optimizers:
        return {
            "main": torch.optim.Adam(
                [p for role in ROLES for p in self.tower(role).parameters()], lr=self.learning_rate
            )
        }

    def tower_step(self, batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
        """Take one step of stage 1."""
        questions, documents, answers = self.pairs(batch, progress)
        cosines = questions @ documents.T / self.width
        terms = {"towers": in_batch_softmax(cosines / self.temperature, answers)}
        progress.workers.optimizer_step(sum_terms(terms), optimizers["main"])
        return terms

    def pairs(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor, Tensor]:
        """Return e of questions [B, width] and of documents [2 B, width] of all workers, and which answer which.

        The documents are the answers, followed by the hard negatives; the mask is bool [B, 2 B].
        """
        query, positive, negative = self.sides(batch)
        gather = progress.workers.gather
        questions = gather(self.encoded(query, "query"))
        documents = [gather(self.encoded(side, "document")) for side in (positive, negative)]
        return questions, torch.cat(documents), self.answering(batch, progress.workers)


class FrozenTowers(TwoTowers):
    """Base class of methods that hash the vectors of towers, which are not trained further, by a network a side."""

    tower_width: int = Field(256, ge=1, description="Width of the towers.")

    @property
    def width(self) -> int:
        return self.tower_width

    def stages(self) -> Sequence[Stage]:
        return (*super().stages(), GradientStage("hash", self.optimizers, self.epochs, self.batch_size, self.step))

    def optimizers(self) -> Optimizers:
        of_towers = {id(weight) for role in ROLES for weight in self.tower(role).parameters()}
        rest = [weight for weight in self.parameters() if id(weight) not in of_towers]
        return {"main": torch.optim.Adam(rest, lr=self.learning_rate)}

    @torch.no_grad()
    def frozen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return e of the questions of this worker and of their answers, [B, width] each, without gradients."""
        query, positive, _ = self.sides(batch)
        was_training = self.training
        self.eval()  # without dropout
        questions, documents = self.encoded(query, "query"), self.encoded(positive, "document")
        self.train(was_training)
        return questions, documents
