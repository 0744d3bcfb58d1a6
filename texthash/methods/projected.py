"""Base of the methods whose activations are a linear projection of words, of vectors of features, or of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.errors import UsageError
from texthash.methods.base import HashMethod, Role
from texthash.nn.projections import Projection

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class ProjectedMethod(HashMethod):
    """Linear projection of the chosen input.

    Attributes:
        projection: The layer; a subclass sets it by a stage, or draws it.
    """

    input: Literal["words", "features", "both"] = Field(
        "words",
        description="What is projected: the weighted words; the vector of corpus.features at length 1; or both at "
        "length 1, one beside the other.",
    )
    feature_share: float = Field(
        0.4, gt=0, lt=1, description="Share of the features in the similarity of two documents, for input=both."
    )
    projection: Projection

    def make_layers(self) -> None:
        self.projection = self.new_projection()
        self.requires_grad_(False)

    @property
    def reads_words(self) -> bool:
        return self.input != "features"

    def new_projection(self) -> Projection:
        """Return a layer from the chosen input to the bits, and add what it reads to the inputs.

        Raises:
            UsageError: Features are chosen, and the corpus has none.
        """
        shape = self.shape
        if self.input != "words":
            if shape.encoder is None:
                raise UsageError(
                    f"method.params.input={self.input}: {self.card.name} reads vectors, and the corpus has none.",
                    "set corpus.features: column:NAME or npy:FILE for your own, minilm or another sentence encoder; "
                    "or input=words.",
                )
            self.inputs = self.inputs.also(frozenset({"dense"}))
        return Projection(self.input, shape.vocabulary, shape.dense, self.bits, self.feature_share)

    def rows_of(self, split: Split) -> csr_matrix | NDArray[np.float32]:
        """Return what is projected of all documents of a split: x of :class:`~texthash.nn.projections.Projection`."""
        words = split.matrix(self.inputs.weighting) if self.reads_words else None
        dense = split.dense(self.shape.encoder) if self.input != "words" and self.shape.encoder else None
        return self.projection.rows(words, dense)

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.projection(batch)
