"""The method of this project: nested codes that a document shares with the neighbours that agree with it.

encoder    p = sigma(x W + b), x the weighted words, the vector of features, or both: one linear map
neighbour  n of the k nearest training documents, drawn anew at every step by
           r_n^-gamma exp(beta <c, c_n> / m) / Z, r_n the rank of n by similarity,
           c in {-1, 1}^m the latest codes of all training documents
loss       H(p, p_n) / 2 + H(p_n, p) / 2  -  w sum_j H(z_j | z_S(j))
           S(j) the r bits before j that correlate most with it, z the code of a random document of the batch
bits       1[p > 1/2], the first of which are a code of their own

The first term is least where a document and its neighbour are certain of one code, the second where documents use
all codes alike. At w = 1 they are upper bounds on H(Z | neighbourhood) and H(Z), whose difference is the mutual
information of a code and its neighbourhood (AMMI, with a neighbour as the second view); both are in closed form,
without decoder, samples of codes and adversary. Of the nearest 20 by BM25 on 20 Newsgroups 59 % share the document's
group; beta makes those the likelier ones whose codes say so too.

A bit is conditioned on those before it, and moves none of those of a shorter code of 16, 32, 64, ... bits: one model
serves at each width up to its own, by :meth:`~texthash.methods.base.HashMethod.cut`. For documents without
neighbours and S(j) the bits just before j it is AMMI with independent bits whose adversary has found the best chain.

That loss gathers documents about one subject, and loses their order, which ``target=similarity`` keeps
(:mod:`texthash.methods.similarity_order`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, ClosedForm, GradientStage, Optimizers, Progress, Stage
from texthash.methods.neighbouring import neighbours_of
from texthash.methods.similarity_order import SimilarityOrder
from texthash.nn.balance import ExemplarMemory
from texthash.nn.code_entropy import closest_earlier_bits, entropy_bound, nested_blocks
from texthash.nn.neighbours import agreeing_probabilities, draw_neighbours
from texthash.nn.priors import bernoulli_cross_entropy
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import Choice, IntUniform, LogUniform, Uniform


class NestedCodes(SimilarityOrder):
    """Nested codes of the greatest mutual information with a document's neighbourhood."""

    memory: ExemplarMemory
    training_only = frozenset({"memory"})
    nested = True
    card = Card(
        name="texthash",
        title="Nested codes that a document shares with the neighbours that agree with it",
        venue="2026",
        survey_entry=None,
        tags=("MMI", "Pse", "CB"),
        citation="none: of this project, from parts of AMMI, PairRec and dependency trees (Chow & Liu, 1968)",
        inputs_needed=frozenset({"neighbours"}),
        fidelity="own",
    )
    search_space = {
        "learning_rate": LogUniform(3e-3, 3e-2),
        "batch_size": Choice(64, 128, 256),
        "neighbours": Choice(20, 50, 100, 200),
        "agreement": Uniform(0.0, 40.0),
        "rank_power": Uniform(0.0, 2.0),
        "entropy_weight": Uniform(1.0, 3.0),
        "earlier_bits": IntUniform(1, 5),
    }

    weighting = "sublinear_tfidf"
    neighbours: int = Field(
        100, ge=1, description="Number k of nearest neighbours, of which one is drawn; fewer in a smaller corpus."
    )
    agreement: float = Field(20.0, ge=0, description="Preference beta for neighbours whose codes agree; 0: none.")
    rank_power: float = Field(1.0, ge=0, description="Preference gamma for the nearer of the neighbours; 0: none.")
    entropy_weight: float = Field(1.5, ge=0, description="Weight w of the entropy of the codes.")
    earlier_bits: int = Field(3, ge=0, le=8, description="Number r of earlier bits on which a bit is conditioned.")
    independent_prefixes: bool = Field(
        True, description="Whether the codes of 16, 32, 64 ... first bits are learned as if no bit followed."
    )
    learning_rate: float = Field(0.01, gt=0, description="Learning rate of Adam at the start.")
    final_rate: float = Field(0.1, ge=0, le=1, description="Share of the learning rate that is left at the end.")
    epochs: int = Field(16, ge=1, description="Passes over the training documents.")
    batch_size: int = Field(128, ge=1, description="Documents in a batch, each with a neighbour.")

    def make_layers(self) -> None:
        self.neighbours = min(self.neighbours, max(1, self.shape.documents - 1))
        super().make_layers()
        self.requires_grad_(True)
        self.blocks = nested_blocks(self.bits) if self.independent_prefixes else None

    def setup(self, train: Split) -> None:
        super().setup(train)
        self.memory = ExemplarMemory(len(train), self.bits, alpha=1.0).to(self.binarizer.thresholds.device)

    def stages(self) -> Sequence[Stage]:
        training = GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step, self.rate)
        return (ClosedForm("rotation", self.rotate), training) if self.target == "similarity" else (training,)

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)}

    def rate(self, progress: Progress) -> float:
        """Return the factor on the learning rate, which falls linearly."""
        return linear_ramp(progress.fraction, 1.0, self.final_rate)

    def agreeing_neighbours(self, batch: Batch, progress: Progress) -> Tensor:
        """Return the train row of one neighbour of each document, [B]; its own for one without neighbours."""
        near, similarities = neighbours_of(batch)
        own, others = (self.memory.signs[rows].float() for rows in (batch.rows, near))
        probabilities = agreeing_probabilities(similarities, own, others, self.agreement, self.rank_power)
        return draw_neighbours(batch.rows, near, probabilities, progress.generator)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        return self.similarity_loss(batch, progress) if self.target == "similarity" else self.mutual(batch, progress)

    def mutual(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return the bounds on the mutual information of codes and their neighbourhoods."""
        workers = progress.workers
        rows = torch.stack([batch.rows, self.agreeing_neighbours(batch, progress)], dim=1)
        # A document and its neighbour take turns, so that one pass encodes both.
        logits = self.activations(self.bags(rows.flatten()))
        own, other = logits[::2], logits[1::2]
        self.memory.write(workers.gather(batch.rows), workers.gather(own.detach()), progress.step)
        p = torch.sigmoid(workers.gather(logits))
        given = closest_earlier_bits(p, min(self.earlier_bits, self.bits))
        cross_entropy = (bernoulli_cross_entropy(own, other) + bernoulli_cross_entropy(other, own)) / 2
        entropy = entropy_bound(p, given, None if self.blocks is None else self.blocks.to(p.device))
        return {"neighbours": cross_entropy.mean(), "entropy": -self.entropy_weight * entropy}
