"""Base class of methods that learn from the neighbours of the training documents.

A batch holds the train rows of each document's neighbours; the words of those that a loss needs are gathered for the
batch alone (:meth:`NeighbourMethod.bags`), so that no matrix of all pairs, or of all neighbours' words, is ever made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch, take
from texthash.corpora.prepared.corpus import Split
from texthash.errors import UsageError
from texthash.methods.base import HashMethod, Progress
from texthash.nn.neighbours import draw_neighbours, neighbour_probabilities

Graph = Literal[
    "cosine:bm25",
    "cosine:tfidf",
    "cosine:sublinear_tfidf",
    "cosine:binary_tfidf",
    "cosine:binary",
    "cosine:counts",
    "hamming:sth-64",
    "features",
]


class NeighbourMethod(HashMethod):
    """Mixin of the nearest training documents of each document, ``class NbrReg(NeighbourMethod, VDSH)``.

    Raises:
        UsageError: There are not more training documents than neighbours, or no vectors for neighbours by them.
    """

    neighbours: int = Field(20, ge=1, description="Number k of nearest neighbours of a document.")
    graph: Graph = Field(
        "cosine:bm25",
        description="Similarity by which neighbours are nearest; features: cosine of the vectors of corpus.features, "
        "which only training needs.",
    )

    def make_layers(self) -> None:
        documents = self.shape.documents
        if self.neighbours >= documents:
            raise UsageError(
                f"method.params.neighbours={self.neighbours}: the corpus has {documents} training documents, so each "
                f"has at most {documents - 1} neighbours.",
                f"set method.params.neighbours to at most {documents - 1}."
                if documents > 1
                else "learn from more documents.",
            )
        encoder = self.shape.encoder
        if self.graph == "features":
            self.require_vectors("graph=features", "takes neighbours by vectors", "graph=cosine:bm25")
        super().make_layers()
        graph = f"dense:{encoder}" if self.graph == "features" else self.graph
        self.inputs = replace(self.inputs, neighbours=self.neighbours, graph=graph)

    def setup(self, train: Split) -> None:
        super().setup(train)
        self.documents = train

    def bags(self, rows: Tensor) -> Batch:
        """Return what is encoded of training documents, int64 [D], on the device of ``rows``."""
        return take(self.documents, rows.cpu().numpy(), self.encoding_inputs).to(rows.device)

    def draw(self, batch: Batch, progress: Progress, temperature: float | None = None) -> Tensor:
        """Return the train row of one neighbour of each document, by rank or, with a temperature, by weight; [B]."""
        near, similarities = neighbours_of(batch)
        probabilities = neighbour_probabilities(similarities, temperature)
        return draw_neighbours(batch.rows, near, probabilities, progress.generator)


class VectorNeighbourMethod(HashMethod):
    """Mixin of the nearest training documents by the vectors of the corpus."""

    neighbours: int = Field(10, ge=1, description="Number k of nearest neighbours, of which one is drawn.")

    def make_layers(self) -> None:
        super().make_layers()
        self.inputs = replace(self.inputs, neighbours=self.neighbours, graph=f"dense:{self.shape.encoder}")

    def setup(self, train: Split) -> None:
        super().setup(train)
        self.documents = train

    def drawn_neighbours(self, batch: Batch, progress: Progress) -> Batch:
        """Return a batch of one neighbour of each document, drawn at random."""
        assert batch.neighbours is not None
        width = batch.neighbours.shape[1]
        drawn = torch.randint(0, width, (len(batch),), generator=progress.generator, device=batch.rows.device)
        rows = batch.neighbours.gather(1, drawn[:, None])[:, 0]
        return take(self.documents, rows.cpu().numpy(), self.encoding_inputs).to(batch.rows.device)


def neighbours_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return train rows and similarities of the neighbours of a batch, [B, k] each."""
    assert batch.neighbours is not None, "card.inputs_needed has to include the neighbours"
    assert batch.neighbour_weights is not None
    return batch.neighbours, batch.neighbour_weights
