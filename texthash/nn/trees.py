"""Gaussians that are correlated along the edges of a tree, and random spanning trees of a neighbour graph.

A Gaussian prior over the codes of all documents whose correlations form a tree factorises over nodes and edges, and so
does its divergence from a posterior of the same form (SNUH; Ou et al., 2021):

    KL(q || p) = sum_i KL(q_i || p_i)  +  sum_(i,j) [ KL(q_ij || p_ij) - KL(q_i || p_i) - KL(q_j || p_j) ]

:func:`edge_kl` is the bracket. With a mean over several trees an edge counts by the share of them that contain it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def edge_kl(
    means: tuple[Tensor, Tensor], stds: tuple[Tensor, Tensor], correlation: Tensor, prior: float = 0.99
) -> Tensor:
    """Return what an edge adds to the divergence of two correlated Gaussians from two of the prior, summed over bits.

    KL(N((mu_i, mu_j), [[s_i^2, g s_i s_j], [., s_j^2]]) || N(0, [[1, tau], [tau, 1]])) less the two divergences of the
    single Gaussians from N(0, 1):

    1/2 sum_b (mu_i^2 + mu_j^2 + s_i^2 + s_j^2 - 2 tau (g s_i s_j + mu_i mu_j)) / (1 - tau^2)
              - (mu_i^2 + mu_j^2 + s_i^2 + s_j^2) - log(1 - g^2) + log(1 - tau^2)

    The authors' code has log(1 - g), which is no divergence and falls without bound as g approaches -1.

    Args:
        means: mu_i and mu_j, [B, m] each.
        stds: s_i and s_j, [B, m] each.
        correlation: f [B, m], from which g = tanh(f / 2), so that log(1 - g^2) stays finite.
        prior: Correlation tau of the prior, between -1 and 1.

    Returns:
        Tensor [B]; negative where the posterior fits the pair better than two single Gaussians do.
    """
    (mean, other_mean), (std, other_std) = means, stds
    squares = mean.square() + other_mean.square() + std.square() + other_std.square()
    shared = torch.tanh(correlation / 2) * std * other_std + mean * other_mean
    log_rest = math.log(4) + F.logsigmoid(correlation) + F.logsigmoid(-correlation)  # log(1 - g^2)
    rest = 1 - prior**2
    bits = (squares - 2 * prior * shared) / rest - squares - log_rest + math.log(rest)
    return 0.5 * bits.sum(dim=1)


@dataclass(frozen=True)
class TreeEdges:
    """Edges of several spanning trees, both ways: those of node i are from ``indptr[i]`` to ``indptr[i + 1]``.

    Attributes:
        indptr: int64 [N + 1].
        others: Other end of each edge, int64 [2 E], ascending within a node.
        shares: Share of the trees that contain it, in (0, 1], float64 [2 E].
    """

    indptr: NDArray[np.int64]
    others: NDArray[np.int64]
    shares: NDArray[np.float64]

    def draw(self, rows: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw one edge (i, j) of each node i by its share w_ij.

        With W_i = sum_j w_ij, the mean of 1/2 W_i f(i, j) over the nodes is an unbiased estimate of
        1/N sum_(i,j) w_ij f(i, j), for a symmetric f.

        Args:
            rows: Nodes, int64 [B].
            generator: Random generator.

        Returns:
            The other ends j, int64 [B], and W_i [B]; a node without an edge gets itself, and 0.
        """
        nodes = rows.cpu().numpy()
        reached = np.concatenate([[0.0], np.cumsum(self.shares)])
        low, high = reached[self.indptr[nodes]], reached[self.indptr[nodes + 1]]
        u = torch.rand((len(rows),), generator=generator, device=rows.device).cpu().numpy()
        place = np.searchsorted(reached, low + u * (high - low), side="right") - 1
        last = self.indptr[nodes + 1] - 1
        some = last >= self.indptr[nodes]
        place = np.clip(place, self.indptr[nodes], np.maximum(last, self.indptr[nodes]))
        others = np.where(some, self.others[np.where(some, place, 0)] if len(self.others) else nodes, nodes)
        weights = torch.from_numpy(np.where(some, high - low, 0.0).astype(np.float32))
        return torch.from_numpy(others).to(rows.device), weights.to(rows.device)


def spanning_trees(near: NDArray[np.int32], probabilities: NDArray, trees: int, seed: int = 0) -> TreeEdges:
    """Return the edges of random spanning trees of a neighbour graph; of spanning forests where it is not connected.

    Each tree is grown by drawing edges without replacement, with rates r_ij = p_ij + p_ji, and keeping those that join
    two components (Kruskal's algorithm on exponential clocks): likelier edges are in more trees, and every tree has as
    many edges as it can. The authors' code draws stars instead, and leaves most documents unconnected.

    Args:
        near: Neighbours of each node, int32 [N, k].
        probabilities: p [N, k], as :func:`texthash.nn.neighbours.neighbour_probabilities` gives them; edges of
            probability 0 are none.
        trees: Number M of trees.
        seed: Random seed.
    """
    from scipy.sparse import coo_matrix, csr_matrix  # takes a while to import, which would delay every search
    from scipy.sparse.csgraph import minimum_spanning_tree

    nodes, k = near.shape
    rows, columns = np.repeat(np.arange(nodes), k), near.ravel().astype(np.int64)
    rates = np.asarray(probabilities, np.float64).ravel()
    kept = rates > 0
    low, high = np.minimum(rows, columns)[kept], np.maximum(rows, columns)[kept]
    edges, where = np.unique(low * nodes + high, return_inverse=True)
    rate = np.bincount(where, weights=rates[kept], minlength=len(edges))
    ends = edges // nodes, edges % nodes
    rng = np.random.default_rng(seed)
    total = csr_matrix((nodes, nodes))
    for _ in range(trees):
        clocks = rng.exponential(size=len(edges)) / rate
        tree = minimum_spanning_tree(coo_matrix((clocks, ends), (nodes, nodes)).tocsr())
        tree.data[:] = 1.0
        total = total + tree
    both = (total + total.T).tocsr()
    both.sort_indices()
    return TreeEdges(both.indptr.astype(np.int64), both.indices.astype(np.int64), both.data / trees)
