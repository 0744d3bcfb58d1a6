"""Spectral embeddings: principal components and Laplacian eigenmaps, on sparse matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from texthash.errors import TexthashError

if TYPE_CHECKING:
    import scipy.sparse as sp

_ROWS = 8192  # of which a covariance is summed at a time
_STEP = 8  # smallest width, and divisor of all widths, since codes are whole bytes


def principal_components(rows: sp.csr_matrix | np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading principal components of centred rows; a sparse matrix is centred implicitly.

    Those of a sparse matrix are found by Lanczos iteration, those of a dense one from its covariance, in double
    precision and in time N V^2. In each direction the coefficient of the largest size is positive.

    Args:
        rows: Matrix [N, V].
        count: Number m of components.

    Returns:
        Directions W [V, m] and the mean's projection c W [m], so that the projection of x is x W - c W.

    Raises:
        TexthashError: m is not below the smaller side of the matrix; of a dense matrix it may be V.
    """
    dense = isinstance(rows, np.ndarray)
    if count >= min(rows.shape[0], rows.shape[1] + dense):
        raise TexthashError(
            f"{count} principal components cannot be computed from a matrix of {rows.shape[0]} training documents x "
            f"{rows.shape[1]} features.",
            _smaller_width(min(rows.shape[0], rows.shape[1] + dense)),
        )
    if dense:
        return _components_of_covariance(rows, count)
    from sklearn.decomposition import PCA  # takes a second to import, which would delay every search

    pca = PCA(n_components=count, svd_solver="arpack", random_state=0).fit(rows)
    directions = pca.components_.T
    return directions.astype(np.float32), (pca.mean_ @ directions).astype(np.float32)


def _components_of_covariance(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    mean = rows.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS] - mean
        covariance += part.T @ part
    _, vectors = np.linalg.eigh(covariance)  # eigenvalues ascend
    directions = vectors[:, ::-1][:, :count]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(count)]
    directions = directions * np.where(largest < 0, -1.0, 1.0)
    return directions.astype(np.float32), (mean @ directions).astype(np.float32)


def _smaller_width(rank: int) -> str:
    """Return the remedy for a matrix whose smaller side is ``rank``: the widest code that it allows, if any."""
    enough = f"a corpus with more training documents and features than bits, of which a code has {_STEP} or more"
    widest = (rank - 1) // _STEP * _STEP
    return f"use {widest} bits or fewer, or {enough}." if widest else f"use {enough}, or another method."


def symmetric_graph(neighbours: np.ndarray, weights: np.ndarray) -> sp.csr_matrix:
    """Return the undirected graph max(W, W^T) of lists of nearest neighbours.

    Args:
        neighbours: Row numbers of the neighbours, int [N, k].
        weights: Similarities of the neighbours, [N, k]; only those above zero are edges.
    """
    count, k = neighbours.shape
    rows = np.repeat(np.arange(count), k)
    keep = weights.ravel() > 0
    from scipy.sparse import csr_matrix

    graph = csr_matrix((weights.ravel()[keep], (rows[keep], neighbours.ravel()[keep])), shape=(count, count))
    return graph.maximum(graph.T).tocsr()


def laplacian_eigenmaps(graph: sp.csr_matrix, count: int) -> np.ndarray:
    """Solve L y = lambda D y for the smallest eigenvalues, without the constant solution (Belkin & Niyogi, 2003).

    With L = D - W this is the problem of the largest eigenvalues of D^{-1/2} W D^{-1/2}, y = D^{-1/2} v, which
    Lanczos iteration solves without a factorisation.

    Args:
        graph: Symmetric non-negative weights W [N, N].
        count: Number m of eigenvectors.

    Returns:
        Embedding, float64 [N, m].

    Raises:
        TexthashError: The graph has too few documents for m eigenvectors.
    """
    if count + 1 >= graph.shape[0]:
        raise TexthashError(
            f"{count} eigenvectors cannot be computed from a graph of {graph.shape[0]} training documents.",
            _smaller_width(graph.shape[0] - 1),
        )
    # A document without neighbours has a positive degree too.
    scale = 1.0 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel() + 1e-4)
    from scipy.sparse import diags
    from scipy.sparse.linalg import eigsh

    normalised = diags(scale) @ graph @ diags(scale)
    start = np.random.default_rng(0).standard_normal(graph.shape[0])
    values, vectors = eigsh(normalised, k=count + 1, which="LA", v0=start)
    order = np.argsort(-values)[1:]
    return scale[:, None] * vectors[:, order]


def balanced_bits(neighbours: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Return bits of the documents of a graph, bool [N, m]: Laplacian eigenmaps with thresholds at their medians.

    A bit is on in half of the documents (Zhang et al., 2010).

    Args:
        neighbours: Row numbers of the neighbours, int [N, k].
        weights: Similarities of the neighbours, [N, k].
        count: Number m of bits.
    """
    embedding = laplacian_eigenmaps(symmetric_graph(neighbours, weights), count)
    return embedding > np.median(embedding, axis=0)


class SpectralModes(nn.Module):
    """Layer sin(pi / 2 + omega_j (u_{k_j} - a_{k_j})) of the m slowest eigenfunctions of a uniform box.

    They are the one-dimensional eigenfunctions of its Laplacian (Weiss et al., 2008). Outside of the box the sine
    continues.

    Args:
        components: Number K of sides of the box.
        bits: Number m of eigenfunctions.
    """

    lowest: Tensor
    component: Tensor
    frequency: Tensor

    def __init__(self, components: int, bits: int) -> None:
        super().__init__()
        self.register_buffer("lowest", torch.zeros(components))
        self.register_buffer("component", torch.zeros(bits, dtype=torch.int64))
        self.register_buffer("frequency", torch.zeros(bits))

    def choose(self, rows: np.ndarray) -> None:
        """Set the box, a_k = min u_k and R_k = max u_k - a_k, and the modes from principal components u [N, K]."""
        lowest = rows.min(axis=0)
        component, frequency = slowest_modes(rows.max(axis=0) - lowest, len(self.component))
        self.lowest.copy_(torch.from_numpy(lowest))
        self.component.copy_(torch.from_numpy(component))
        self.frequency.copy_(torch.from_numpy(frequency))

    def forward(self, u: Tensor) -> Tensor:
        """Map components [B, K] to [B, m]."""
        return torch.sin(math.pi / 2 + self.frequency * (u - self.lowest)[:, self.component])


def slowest_modes(ranges: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return components and frequencies, [count] each, of the slowest modes of a box with side lengths ``ranges``.

    omega = n pi / R_k, n = 1 .. ceil((count + 1) R_k / max_k R_k) - 1
    """
    modes = [
        (n * math.pi / side, k)
        for k, side in enumerate(ranges)
        for n in range(1, math.ceil((count + 1) * side / ranges.max()))
    ]
    chosen = sorted(modes)[:count]
    return np.array([k for _, k in chosen]), np.array([omega for omega, _ in chosen], dtype=np.float32)
