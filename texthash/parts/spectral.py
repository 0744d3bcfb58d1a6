"""Spectral embeddings: principal components and Laplacian eigenmaps, on sparse matrices."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh
from sklearn.decomposition import PCA

from texthash.errors import TexthashError


def principal_components(rows: sp.csr_matrix, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Leading principal components of centred rows; the sparse matrix is centred implicitly.

    Args:
        rows: [N, V].
        count: Number m of components.
        seed: Of the eigensolver's start.

    Returns:
        Directions W [V, m] and the mean's projection c W [m], so that the projection of x is x W - c W.

    Raises:
        TexthashError: m is not below the smaller side of the matrix.
    """
    if count >= min(rows.shape):
        raise TexthashError(
            f"{count} principal components were asked of a {rows.shape[0]} x {rows.shape[1]} matrix.",
            f"use fewer than {min(rows.shape)} bits, or a larger corpus.",
        )
    pca = PCA(n_components=count, svd_solver="arpack", random_state=seed).fit(rows)
    directions = pca.components_.T
    return directions.astype(np.float32), (pca.mean_ @ directions).astype(np.float32)


def symmetric_graph(neighbours: np.ndarray, weights: np.ndarray) -> sp.csr_matrix:
    """Undirected graph max(W, W^T) of lists of nearest neighbours.

    Args:
        neighbours: Row numbers, int [N, k].
        weights: Their similarities [N, k]; those not above zero make no edge.
    """
    count, k = neighbours.shape
    rows = np.repeat(np.arange(count), k)
    keep = weights.ravel() > 0
    graph = sp.csr_matrix((weights.ravel()[keep], (rows[keep], neighbours.ravel()[keep])), shape=(count, count))
    return graph.maximum(graph.T).tocsr()


def laplacian_eigenmaps(graph: sp.csr_matrix, count: int, ridge: float = 1e-4, seed: int = 0) -> np.ndarray:
    """Solutions of L y = lambda D y with the smallest eigenvalues, the constant one left out (Belkin & Niyogi, 2003).

    With L = D - W this is the problem of the largest eigenvalues of D^{-1/2} W D^{-1/2}, y = D^{-1/2} v, which
    Lanczos iteration solves without a factorisation.

    Args:
        graph: Symmetric non-negative weights W [N, N].
        count: Number m of eigenvectors.
        ridge: Added to the degrees, so that a document without neighbours has one.
        seed: Of the start vector.

    Returns:
        float64 [N, m].
    """
    if count + 1 >= graph.shape[0]:
        raise TexthashError(
            f"{count} eigenvectors were asked of a graph of {graph.shape[0]} documents.",
            f"use fewer than {graph.shape[0] - 1} bits, or a larger corpus.",
        )
    scale = 1.0 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel() + ridge)
    normalised = sp.diags(scale) @ graph @ sp.diags(scale)
    start = np.random.default_rng(seed).standard_normal(graph.shape[0])
    values, vectors = eigsh(normalised, k=count + 1, which="LA", v0=start)
    order = np.argsort(-values)[1:]
    return scale[:, None] * vectors[:, order]
