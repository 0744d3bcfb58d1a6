"""Linear projection of documents that are words, a vector of features, or both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from texthash.nn.bags import Bag
from texthash.nn.encoders import SparseLinear

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Read = Literal["words", "features", "both"]
_ROWS = 8192


class Featured(Bag, Protocol):
    """Documents as bags of words, each with a vector of features.

    Attributes:
        dense: Features, float32 [B, D]; None where none are needed.
    """

    @property
    def dense(self) -> Tensor | None: ...


class Projection(SparseLinear):
    """Linear layer y = x W + b of words, features or both.

    x is one of

        words      the weighted bag of words, in R^V
        features   f / |f|, the vector of features at length 1, in R^D
        both       [sqrt(1 - w) v / |v|, sqrt(w) f / |f|], in R^{V + D}, of the words v and the features f

    so that the product of two documents is, for ``both``, (1 - w) times the cosine of their words plus w times that of
    their features.

    Args:
        read: What x is.
        words: Size V of the vocabulary.
        dense: Width D of the features.
        outputs: Width H of the output.
        share: Share w of the features in ``both``, between 0 and 1.

    Attributes:
        weight: Rows of W of the words [V, H]; none for ``features``.
        features: Rows of W of the features [D, H]; absent for ``words``.
    """

    def __init__(self, read: Read, words: int, dense: int, outputs: int, share: float = 0.5) -> None:
        super().__init__(0 if read == "features" else words, outputs)
        self.read = read
        self.share = share
        if read != "words":
            self.features = nn.Parameter(nn.init.xavier_uniform_(torch.empty(dense, outputs)))

    def forward(self, bag: Featured) -> Tensor:  # type: ignore[override]
        """Map B documents to [B, H]."""
        if self.read == "words":
            return super().forward(bag)
        if bag.dense is None:
            raise ValueError("the documents have no features")
        # In double precision, since the order of a sum depends on the number of rows: a bit must not.
        projected = (unit_rows(bag.dense).double() @ self.features.double()).to(self.features.dtype)
        if self.read == "features":
            return projected + self.bias
        values = bag.values.to(self.weight.dtype)
        squares = torch.zeros(len(bag.offsets), device=values.device).index_add_(0, bag.document, values * values)
        scale = (1 - self.share) ** 0.5 / squares.sqrt().clamp_min(torch.finfo(torch.float32).tiny)
        weights = values * scale[bag.document]
        sums = F.embedding_bag(bag.indices, self.weight, bag.offsets, mode="sum", per_sample_weights=weights)
        return sums + self.share**0.5 * projected + self.bias

    def rows(self, words: csr_matrix | None, dense: NDArray[np.float32] | None) -> csr_matrix | NDArray[np.float32]:
        """Return x of N documents: of their weighted words [N, V] and features [N, D], None for what is not read."""
        return joint_rows(words, dense, self.share)

    @property
    def weights(self) -> list[nn.Parameter]:
        """Rows of W: of the words and of the features, as far as they are read."""
        words = [self.weight] if self.read != "features" else []
        return words if self.read == "words" else [*words, self.features]

    def set(self, matrix: NDArray[np.float32], offset: NDArray[np.float32]) -> None:
        """Set W [V + D, H] (the rows of what is read) and b [H]."""
        start = 0
        for weights in self.weights:
            weights.copy_(torch.from_numpy(matrix[start : start + len(weights)]))
            start += len(weights)
        self.bias.copy_(torch.from_numpy(offset))


def joint_rows(
    words: csr_matrix | None, dense: NDArray[np.float32] | None, share: float
) -> csr_matrix | NDArray[np.float32]:
    """Return x of :class:`Projection` for N documents.

    Args:
        words: Weighted words v [N, V]; None: x is the features.
        dense: Features f [N, D]; None: x is the words, as they are.
        share: Share w of the features where both are given.
    """
    if dense is None:
        return words
    features = np.concatenate([*unit_parts(dense), np.empty((0, dense.shape[1]), np.float32)])
    if words is None:
        return features
    from scipy.sparse import csr_matrix, diags, hstack

    lengths = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)).ravel())
    unit = diags((1 - share) ** 0.5 / np.where(lengths > 0, lengths, 1.0)) @ words
    return hstack([unit, csr_matrix(features * share**0.5)], format="csr", dtype=np.float32)


def unit_rows(vectors: Tensor) -> Tensor:
    """Return vectors [B, D] at length 1; one without length stays as it is."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / torch.where(lengths > 0, lengths, 1.0)


def unit_parts(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield vectors [N, D] at length 1 in parts, since they may be mapped from a file."""
    for start in range(0, len(vectors), _ROWS):
        yield unit_rows(torch.from_numpy(np.array(vectors[start : start + _ROWS]))).numpy()
