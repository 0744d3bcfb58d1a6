"""Sign: one bit for each coordinate, whether it is above its mean, or above zero.

    h_j(x) = 1[x_j - c_j > 0],   c the mean of the training rows (``center``), or 0

Of features the coordinates are the first m, as encoders trained as Matryoshka order them (Kusupati et al., 2022); of
words the m that occur in most training documents. For ``input=both`` the features come first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from texthash.corpora.prepared.corpus import Split
from texthash.errors import UsageError
from texthash.methods.base import Card, ClosedForm, Stage
from texthash.methods.projected import ProjectedMethod


class Sign(ProjectedMethod):
    """Signs of coordinates."""

    nested = True
    card = Card(
        name="sign",
        title="Small Codes and Large Image Databases for Recognition (its thresholded coordinates)",
        venue="CVPR'2008",
        survey_entry=None,
        tags=(),
        citation="Torralba, Fergus & Weiss, 2008",
        fidelity="reconstructed",
        deviations=("cut at the mean or at zero rather than at the median",),
        random=False,
    )

    center: bool = Field(True, description="Cut at the mean of the training documents rather than at zero.")

    def make_layers(self) -> None:
        super().make_layers()
        width = sum(len(weights) for weights in self.projection.weights)
        if self.bits > width:
            widest = width // 8 * 8
            fewer = f"use {widest} bits or fewer, or " if widest else "use "
            raise UsageError(
                f"sign gives one bit for each coordinate: {self.bits} bits are more than the {width} coordinates of "
                f"input={self.input}.",
                f"{fewer}method.name=lsh, which gives any number of bits.",
            )

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("coordinates", self.choose),)

    def choose(self, train: Split) -> None:
        """Set the chosen coordinates, and their means over the training documents."""
        sizes = [len(weights) for weights in self.projection.weights]
        dense = self.shape.dense if self.input != "words" else 0
        frequent: NDArray[np.int64] | list[int] = (
            np.argsort(-train.vocabulary.document_frequency, kind="stable") if self.reads_words else []
        )
        # Rows of the projection: the words, then the features.
        words = sum(sizes) - dense
        order = np.concatenate([words + np.arange(dense), np.asarray(frequent, np.int64)])[: self.bits]
        matrix = np.zeros((sum(sizes), self.bits), np.float32)
        matrix[order, np.arange(self.bits)] = 1.0
        rows = self.rows_of(train)
        means = np.asarray(rows.mean(axis=0, dtype=np.float64)).ravel()[order] if self.center else np.zeros(self.bits)
        self.projection.set(matrix, -means.astype(np.float32))
