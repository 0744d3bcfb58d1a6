"""Iterative quantization: rotate the principal components so that their signs lose least.

    min_{B, R} ||B - V R||_F^2,   V = (X - c) W,   B in {-1, 1}^{N x m},   R^T R = I

Alternate B = sgn(V R) and the orthogonal Procrustes solution R = S_hat S^T of B^T V = S Omega S_hat^T; the objective
never increases. The code is h(x) = 1[(x - c) W R > 0].

Of a query that is compared in real values with the bits of documents only half of the mean is subtracted,
(x - c / 2) W R: cosines of uncentred vectors, which embeddings are made for, also depend on the mean.

With ``teacher=features`` words stand in for vectors that only training needs: a ridge regression x A from the weighted
words x to the vectors of the training documents, at length 1 and less their mean, whose values are then rotated as
vectors are. All of it is one linear map of the words. A bit is 1 for half of the training documents, and the values of
a query are centred by the whole mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.embeddings.word_regression import word_regression
from texthash.errors import UsageError
from texthash.methods.base import Card, ClosedForm, Printed, Stage
from texthash.methods.projected import ProjectedMethod
from texthash.nn.spaces import Choice
from texthash.nn.spectral import principal_components

if TYPE_CHECKING:
    import scipy.sparse as sp

# The rotation has m^2 / 2 degrees of freedom, for which so many evenly spaced rows are plenty.
_ROWS = 200_000
# Of 0.25, 0.5, 0.75 and 1 the share whose order keeps most of the 10 nearest neighbours of documents that were not
# trained on, by MiniLM on Cranfield and CACM with 128 and with 256 bits.
KEPT_MEAN = 0.5


class ITQ(ProjectedMethod):
    """Iterative quantization of principal components."""

    card = Card(
        name="itq",
        title="Iterative Quantization: A Procrustean Approach to Learning Binary Codes",
        venue="CVPR'2011",
        survey_entry=None,
        tags=(),
        citation="Gong & Lazebnik, 2011",
        fidelity="reconstructed",
        paper=Printed("recalled from the paper", {"iterations": 50}),
        random=False,
    )
    search_space = {"iterations": Choice(10, 50, 100)}

    # Documents as queries are found best by bm25, but a query of a few words is then little beside the mean: of four
    # weightings the default is best for these and second for those, see "Weighting of words" in docs/results.md.
    weighting = "unit_bm25"
    iterations: int = Field(50, ge=1, description="Number of alternations of codes and rotation.")
    teacher: Literal["input", "features"] = Field(
        "input",
        description="What is rotated: the method's input, or the vectors of corpus.features as far as words tell them, "
        "for input=words; only training needs the vectors then.",
    )
    # Of 0.03, 0.1, 0.3, 1 and 3 the one by which words tell most of the vectors of documents that were not trained on,
    # by MiniLM on Cranfield and CACM.
    penalty: float = Field(0.3, gt=0, description="Penalty of the regression from words to vectors, for a teacher.")

    kept_mean: Tensor

    def make_layers(self) -> None:
        if self.teacher != "input":
            self.require_vectors(f"teacher={self.teacher}", "learns from vectors", "teacher=input")
            if self.input != "words":
                raise UsageError(
                    f"method.params.teacher={self.teacher}: words tell the vectors, which input={self.input} reads.",
                    "choose input=words, or teacher=input.",
                )
        super().make_layers()
        self.register_buffer("kept_mean", torch.zeros(self.bits))
        self.register_load_state_dict_pre_hook(_of_earlier_version)

    def query_shift(self) -> Tensor:
        return self.kept_mean

    def stages(self) -> Sequence[Stage]:
        return (ClosedForm("rotation", self.rotate),)

    def rotate(self, train: Split) -> None:
        """Set the projection x W R - c W R from the training rows, or x A W R less its medians with a teacher."""
        rows = self.rows_of(train)
        if self.teacher == "features":
            told = word_regression(train, self.shape.encoder or "", self.weighting, self.penalty)
            matrix, medians, centre = told_components(rows, told, self.bits, self.iterations)
            self.projection.set(matrix, -medians)
            self.kept_mean.copy_(torch.from_numpy(medians - centre))
            return
        matrix, centre = rotated_components(rows, self.bits, self.iterations)
        self.projection.set(matrix, -centre)
        self.kept_mean.copy_(torch.from_numpy(KEPT_MEAN * centre))


def _of_earlier_version(method: ITQ, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give a model that centred queries as documents no shift."""
    state.setdefault(f"{prefix}kept_mean", torch.zeros(method.bits))


def rotated_components(
    rows: sp.csr_matrix | np.ndarray, bits: int, iterations: int, blocks: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the projection x W R of the principal components of rows, rotated so that signs lose least.

    Args:
        rows: Matrix [N, V].
        bits: Number m of components.
        iterations: Number of alternations.
        blocks: Block of each component, ascending, [m]; components are rotated with those of their block alone, so
            that the first blocks are what they would be without the later ones. None: all are one block.

    Returns:
        W R [V, m], and the projection of the mean c W R [m].

    Raises:
        TexthashError: m is not below the smaller side of the matrix.
    """
    directions, centre = principal_components(rows, bits)
    if rows.shape[0] > _ROWS:
        rows = rows[np.linspace(0, rows.shape[0] - 1, _ROWS).astype(np.int64)]
    components = rows @ directions - centre
    places = np.zeros(bits, np.int64) if blocks is None else np.asarray(blocks)
    rotation = np.zeros((bits, bits), np.float32)
    for block in np.unique(places):
        own = np.flatnonzero(places == block)
        rotation[np.ix_(own, own)], _ = itq_rotation(components[:, own], iterations)
    return directions @ rotation, centre @ rotation


def told_components(
    rows: sp.csr_matrix, told: np.ndarray, bits: int, iterations: int, blocks: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the projection x A W R of words to rotated components of what they tell of vectors.

    Args:
        rows: Weighted words of documents [N, V].
        told: A [V, D] of :func:`~texthash.corpora.prepared.embeddings.word_regression.word_regression`.
        bits: Number m of components, below D.
        iterations: Number of alternations.
        blocks: As for :func:`rotated_components`.

    Returns:
        A W R [V, m], the medians of the documents' values [m], and the projection of the mean of their values [m].
    """
    values = rows @ told
    matrix, centre = rotated_components(values, bits, iterations, blocks)
    medians = np.median(values @ matrix, axis=0).astype(np.float32)
    return told @ matrix, medians, centre


def itq_rotation(components: np.ndarray, iterations: int, seed: int = 0) -> tuple[np.ndarray, list[float]]:
    """Return the rotation R [m, m] of components V [N, m], and the objective ||B - V R||_F^2 after each iteration."""
    from scipy.linalg import orthogonal_procrustes  # slow to import
    from scipy.stats import ortho_group

    rotation = ortho_group.rvs(components.shape[1], random_state=np.random.default_rng(seed)).astype(components.dtype)
    losses = []
    for _ in range(iterations):
        signs = np.where(components @ rotation > 0, 1.0, -1.0).astype(components.dtype)
        rotation, _ = orthogonal_procrustes(components, signs)
        losses.append(float(np.square(signs - components @ rotation).sum()))
    return rotation.astype(np.float32), losses
