"""Base of the methods whose activations are a linear projection of words, of vectors of features, or of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import HashMethod, Role
from texthash.nn.projections import Projection

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class FeaturedMethod(HashMethod):
    """Base class of methods that read words, vectors of features, or both, by a linear projection of them."""

    input: Literal["words", "features", "both"] = Field(
        "words",
        description="What is projected: the weighted words; the vector of corpus.features at length 1; or both at "
        "length 1, one beside the other.",
    )
    feature_share: float = Field(
        0.4, gt=0, lt=1, description="Share of the features in the similarity of two documents, for input=both."
    )

    @property
    def reads_words(self) -> bool:
        return self.input != "features"

    def new_projection(self, outputs: int | None = None) -> Projection:
        """Return a layer from the chosen input, and add what it reads to the inputs.

        Args:
            outputs: Width of the output; None for the number of bits.

        Raises:
            UsageError: Features are chosen, and the corpus has none.
        """
        shape = self.shape
        if self.input != "words":
            self.require_vectors(f"input={self.input}", "reads vectors", "input=words")
            self.inputs = self.inputs.also(frozenset({"dense"}))
        return Projection(self.input, shape.vocabulary, shape.dense, outputs or self.bits, self.feature_share)

    def read(self, split: Split) -> tuple[csr_matrix | None, NDArray[np.float32] | None]:
        """Return the weighted words [N, V] and the features [N, D] of a split; None for an input that is not read."""
        words = split.matrix(self.inputs.weighting) if self.reads_words else None
        dense = split.dense(self.shape.encoder) if self.input != "words" and self.shape.encoder else None
        return words, dense


class ProjectedMethod(FeaturedMethod):
    """Linear projection of the chosen input.

    Attributes:
        projection: The layer; a subclass sets it by a stage, or draws it.
    """

    projection: Projection

    def make_layers(self) -> None:
        self.projection = self.new_projection()
        self.requires_grad_(False)

    def rows_of(self, split: Split) -> csr_matrix | NDArray[np.float32]:
        """Return what is projected of all documents of a split: x of :class:`~texthash.nn.projections.Projection`."""
        return self.projection.rows(*self.read(split))

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.projection(batch)

    def serving_layers(self) -> Sequence[nn.Module]:
        return (self.projection,)
