"""Codes that keep the order of similarities: what ``texthash`` learns to find the documents that answer a query.

With ``target=similarity`` codes keep the order of the similarities t of a teacher, of what the method reads or of more:

loss       KL(P || Q) + w' KL(P || Q'),   P_i = softmax_j(t_ij / tau),  Q_i = softmax_j(e^u (a_i + d) . b_j / m)

over the documents j of the batch, neighbours included; a = x W + b are the activations of a document as a query,
b_j = sgn(a_j) with the straight-through gradient of tanh, and d and u are learned. Q' is Q of one of the shorter codes,
in turn. It starts from the rotated principal components of ITQ, the first 16, those up to 32, ... each by themselves:
of x or, with words alone and vectors as the teacher, of what words tell of the vectors.

Queries and titles are short. Of x_i only a few random words are left, and of x_j for half of the documents, so that the
map learns what the others might be. t is of the words of a document and its neighbours, so that documents are alike
that say the same in other words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.embeddings.word_regression import word_regression
from texthash.methods.base import Progress
from texthash.methods.itq import KEPT_MEAN, rotated_components, told_components
from texthash.methods.neighbouring import NeighbourMethod
from texthash.methods.projected import ProjectedMethod
from texthash.nn.code_entropy import nested_blocks
from texthash.nn.distillation import Teacher, add_neighbours, ranking_divergence
from texthash.nn.estimators import straight_through_sign
from texthash.nn.few_words import few_words
from texthash.nn.spaces import LogUniform, SearchSpace, Uniform

_EXPANDING = 20  # neighbours whose words are added
_ITERATIONS = 50  # of the rotation
_PENALTY = 0.3  # of the regression from words to vectors, as for itq
_SCALE = 20.0  # e^u at the start, for activations of about 1


class SimilarityOrder(NeighbourMethod, ProjectedMethod):
    """Base class of a linear map whose bits keep the order of similarities, if that is its target.

    Attributes:
        blocks: Number of the shorter code that first has a bit, int64 [m], for the rotation; a subclass sets it.
        similarity_space: What a sweep searches if that is the target.
    """

    blocks: Tensor | None
    similarity_space: ClassVar[SearchSpace] = {
        "learning_rate": LogUniform(1e-3, 1e-2),
        "temperature": LogUniform(0.02, 0.1),
        "short_documents": Uniform(0.0, 1.0),
    }

    target: Literal["neighbourhood", "similarity"] = Field(
        "neighbourhood",
        description="What codes keep: neighbourhood, to find documents about one subject; similarity, the order of the "
        "similarities of a teacher, to find the documents that answer a query.",
    )
    teacher: Literal["input", "features", "both"] = Field(
        "input",
        description="Similarity that codes learn with target=similarity: that of the method's input, of the vectors of "
        "corpus.features, which only training needs then, or of words and vectors.",
    )
    temperature: float = Field(0.03, gt=0, description="Temperature tau of the similarities of the teacher.")
    neighbour_words: float = Field(
        1.0,
        ge=0,
        description="Weight of the words of neighbours in the similarity of the teacher; 0: none.",
    )
    short_queries: float = Field(
        1.0, ge=0, le=1, description="Share of the queries of which few words are left with target=similarity."
    )
    short_documents: float = Field(
        0.5, ge=0, le=1, description="Share of the documents of which few words are left with target=similarity."
    )
    prefix_weight: float = Field(0.1, ge=0, description="Weight w' of the shorter codes with target=similarity.")

    @classmethod
    def space_of(cls, params: Mapping[str, Any]) -> SearchSpace:
        return cls.similarity_space if params.get("target") == "similarity" else cls.search_space

    def make_layers(self) -> None:
        if self.teacher != "input":
            self.require_vectors(f"teacher={self.teacher}", "learns from vectors", "teacher=input")
        super().make_layers()
        if self.target == "similarity":
            # Lengths of the codes that are learned, the whole one last, and the logarithm u of the scale of each.
            self.lengths: list[int] = torch.bincount(nested_blocks(self.bits)).cumsum(0).tolist()
            self.scales = nn.Parameter(torch.full((len(self.lengths),), _SCALE).log())
            self.shift = nn.Parameter(torch.zeros(self.bits))

    def query_shift(self) -> Tensor | None:
        return self.shift if self.target == "similarity" else None

    def setup(self, train: Split) -> None:
        super().setup(train)
        if self.target == "similarity":
            read = self.input if self.teacher == "input" else self.teacher
            words = None if read == "features" else train.matrix(self.weighting)
            vectors = None if read == "words" else train.dense(self.shape.encoder or "")
            if words is not None and self.neighbour_words:
                near, similarities = train.neighbours(min(self.neighbours, _EXPANDING), self.inputs.graph)
                words = add_neighbours(words, near, similarities, self.neighbour_words)
            self.known = Teacher(words, vectors, self.feature_share)

    def rotate(self, train: Split) -> None:
        """Start from rotated principal components, of activations whose root mean square is 1."""
        rows, shape = self.rows_of(train), self.shape
        blocks = None if self.blocks is None else self.blocks.tolist()
        if self.teacher == "input" or self.input != "words" or self.bits >= shape.dense:
            matrix, offset = rotated_components(rows, self.bits, _ITERATIONS, blocks)
            shift = KEPT_MEAN * offset
        else:  # of what words tell of the vectors
            told = word_regression(train, shape.encoder or "", self.weighting, _PENALTY)
            matrix, offset, centre = told_components(rows, told, self.bits, _ITERATIONS, blocks)
            shift = offset - centre
        scale = float(((rows @ matrix - offset) ** 2).mean()) ** -0.5
        with torch.no_grad():
            self.projection.set(scale * matrix, -scale * offset)
            self.shift.copy_(torch.from_numpy(scale * shift))

    def similarity_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return how far the order by codes is from that of the teacher, among a batch and a neighbour of each."""
        rows = torch.cat([batch.rows, self.draw(batch, progress)]).unique()
        similarities = self.known.similarities(rows)
        bags = self.bags(rows)
        queries = self.activations(self.shortened(bags, self.short_queries, progress)) + self.shift
        documents = self.activations(self.shortened(bags, self.short_documents, progress))
        signs = straight_through_sign(torch.tanh(documents))

        def divergence(place: int) -> Tensor:
            bits = self.lengths[place]
            scores = queries[:, :bits] @ signs[:, :bits].T / bits
            return ranking_divergence(similarities, scores * self.scales[place].exp(), self.temperature)

        shorter = len(self.lengths) - 1
        terms = {"similarity": divergence(shorter)}
        if shorter and self.prefix_weight:
            terms["prefix"] = self.prefix_weight * divergence(progress.step % shorter)
        return terms

    def shortened(self, bags: Batch, share: float, progress: Progress) -> Batch:
        """Return a batch in which a share of the documents has few words left."""
        if not (share and self.reads_words):
            return bags
        return replace(bags, values=few_words(bags, share, progress.generator))
