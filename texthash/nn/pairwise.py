"""Semantics from relevance: codes of pairs of documents that share labels are alike, others are not (tag SFR).

A pair loss has three parts: how similar two documents are (:func:`shared_label`, :func:`jaccard`, :func:`agreement`),
which pairs count and how much (:func:`labelled_pairs`, :func:`pair_weights`), and the loss of each pair of codes:

    pair_logistic       inner product   s theta - log(1 + e^theta), theta = z_i . z_j / 2   DPSH, Li et al., 2016
    pair_cosine         cosine          (cos - (2 s - 1))^2
    pair_contrastive    distance        s d + (1 - s) max(0, margin - d)                    Hadsell et al., 2006
    pair_signed         distance        (2 s - 1) d                                         PSH, Dadaneh et al., 2020
    row_inner_products  inner product   || X x_i - m (2 s_i - 1) ||, of a document's pairs  KSH, Liu et al., 2012
    random_triplets     distance        max(0, d(i, i+) - d(i, i-) + margin)                Schroff et al., 2015

All take the codes, labels and draws of all workers (:meth:`~texthash.nn.workers.Workers.gather`), n documents.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from texthash.nn.matching import squared_distances


def shared_label(labels: Tensor) -> Tensor:
    """Return s_ij = 1 where two documents have a label in common, else 0, [n, n]; labels y [n, C] are 0 or 1."""
    return (labels @ labels.T > 0).to(labels.dtype)


def jaccard(labels: Tensor) -> Tensor:
    """Return s_ij = |Y_i and Y_j| / |Y_i or Y_j|, [n, n], of sets of labels y [n, C]; 0 for two empty sets."""
    both = labels @ labels.T
    sizes = labels.sum(dim=1)
    return both / (sizes[:, None] + sizes - both).clamp(min=1)


def agreement(probabilities: Tensor) -> Tensor:
    """Return s_ij = y^_i . y^_j, [n, n], of a classifier's own predictions y^ [n, C] (Nanculef et al., 2020).

    For a softmax it is the probability that labels drawn for both documents are equal. Sigmoids of several labels can
    exceed 1 together, and s is at most 1.
    """
    return (probabilities @ probabilities.T).clamp(max=1)


def labelled_pairs(labels: Tensor) -> Tensor:
    """Return whether both documents of a pair have labels and differ, bool [n, n]; labels y [n, C]."""
    return distinct_pairs(labels.any(dim=1))


def distinct_pairs(documents: Tensor) -> Tensor:
    """Return which pairs consist of two different ones of the chosen documents (bool [n]), bool [n, n]."""
    return (documents[:, None] & documents).fill_diagonal_(False)


def pair_weights(similarity: Tensor, pairs: Tensor, balanced: bool = True) -> Tensor:
    """Return weights w_ij of pairs that sum to 1, so that sum_ij w_ij L_ij is a mean; all 0 without a pair.

    plain      w_ij = 1 / N over the N pairs
    balanced   w_ij = s_ij / (2 sum s) + (1 - s_ij) / (2 sum (1 - s)): half for similar pairs and half for others, of
               which C equal classes have C - 1 times as many; a kind that the batch lacks leaves its half unused

    Args:
        similarity: s [n, n] in [0, 1]; it gets no gradient from here.
        pairs: Pairs that count, bool [n, n].
        balanced: Whether similar pairs weigh half.
    """
    counted = pairs.to(similarity.dtype)
    if not balanced:
        return counted / counted.sum().clamp(min=1)
    alike, others = counted * similarity.detach(), counted * (1 - similarity.detach())
    tiny = torch.finfo(similarity.dtype).tiny
    return alike / (2 * alike.sum()).clamp(min=tiny) + others / (2 * others.sum()).clamp(min=tiny)


def centred(codes: Tensor) -> Tensor:
    """Return codes [n, m] minus their mean.

    A component that all documents share raises every inner product, but does not change a bit with a threshold at the
    median.
    """
    return codes - codes.mean(dim=0)


def pair_logistic(codes: Tensor, similarity: Tensor) -> Tensor:
    """Return - log p(s_ij | z_i, z_j) = log(1 + e^theta_ij) - s_ij theta_ij, theta_ij = z_i . z_j / 2, [n, n].

    Args:
        codes: z [n, m].
        similarity: s [n, n] in [0, 1].
    """
    theta = codes @ codes.T / 2
    return F.softplus(theta) - similarity * theta


def pair_cosine(codes: Tensor, similarity: Tensor) -> Tensor:
    """Return (cos(z_i, z_j) - (2 s_ij - 1))^2, [n, n]; arguments as of :func:`pair_logistic`."""
    normed = F.normalize(codes, dim=1)
    return (normed @ normed.T - (2 * similarity - 1)).square()


def pair_contrastive(distances: Tensor, similarity: Tensor, margin: float) -> Tensor:
    """Return s_ij d_ij + (1 - s_ij) max(0, margin - d_ij), [n, n].

    Args:
        distances: d [n, n], not negative.
        similarity: s [n, n] in [0, 1].
        margin: Distance from which dissimilar documents do not repel each other.
    """
    return similarity * distances + (1 - similarity) * F.relu(margin - distances)


def pair_signed(distances: Tensor, similarity: Tensor) -> Tensor:
    """Return (2 s_ij - 1) d_ij, [n, n]: without a margin, bounded from below where distances are from above."""
    return (2 * similarity - 1) * distances


def pair_likelihood(log_probability: Tensor, similarity: Tensor) -> Tensor:
    """Return - s log p - (1 - s) log(1 - p), [n, n], from log p_ij <= 0, the log probability of being similar."""
    # 1 - p loses all its digits near p = 1, where a pair of unlike documents would get an endless gradient.
    certain = log_probability.clamp(max=-1e-4)
    return -similarity * log_probability - (1 - similarity) * torch.log(-torch.expm1(certain))


def gaussian_affinity(mean: Tensor) -> Tensor:
    """Return - || mu_i - mu_j ||^2 / m, the log of a Gaussian kernel, [n, n], of mu [n, m]."""
    return -squared_distances(mean, mean) / mean.shape[1]


def bhattacharyya_affinity(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log of the Bhattacharyya coefficient of two Gaussian posteriors, [n, n] (Bhattacharyya, 1943).

    log BC_ij = sum_k  1/2 log(2 s_ik s_jk / (s_ik^2 + s_jk^2))  -  (mu_ik - mu_jk)^2 / (4 (s_ik^2 + s_jk^2))

    Args:
        mean: mu [n, m].
        log_variance: log s^2 [n, m].
    """
    variance = log_variance.exp()
    total = variance[:, None] + variance
    overlap = math.log(2) + (log_variance[:, None] + log_variance) / 2 - torch.log(total)
    return (overlap / 2 - (mean[:, None] - mean).square() / (4 * total)).sum(dim=2)


def wasserstein_distances(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return squared 2-Wasserstein distances || mu_i - mu_j ||^2 + || s_i - s_j ||^2 of diagonal Gaussians, [n, n].

    Args:
        mean: mu [n, m].
        log_variance: log s^2 [n, m].
    """
    std = torch.exp(log_variance / 2)
    return squared_distances(mean, mean) + squared_distances(std, std)


def row_inner_products(codes: Tensor, similarity: Tensor, pairs: Tensor) -> Tensor:
    """Return || (x_i . x_j - m (2 s_ij - 1))_j ||, a norm of each document's row of X X^T - m (2 S - 1); [n].

    Similar documents get the inner product m of equal signs, dissimilar ones - m of opposite signs.

    Args:
        codes: X [n, m], around -1 and 1.
        similarity: S [n, n] in [0, 1].
        pairs: Pairs that count, bool [n, n].
    """
    error = codes @ codes.T - codes.shape[1] * (2 * similarity - 1)
    return torch.linalg.vector_norm(torch.where(pairs, error, 0.0), dim=1)


def random_triplets(
    distances: Tensor, similarity: Tensor, pairs: Tensor, draws: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Return max(0, d(i, i+) - d(i, i-) + margin) of a random positive and a random negative of each anchor i, [n].

    It is returned with the mask of the anchors that have both, bool [n]; the others' loss is 0.

    Args:
        distances: d [n, n].
        similarity: s [n, n]: a positive has s > 0, a negative s = 0.
        pairs: Pairs that count, bool [n, n].
        draws: U(0, 1), [n, n], equal in all workers: the positive and the negative are those with the largest.
        margin: Margin.
    """
    positives, negatives = pairs & (similarity > 0), pairs & (similarity == 0)
    found = positives.any(dim=1) & negatives.any(dim=1)
    chosen = [draws.masked_fill(~kind, -1.0).argmax(dim=1, keepdim=True) for kind in (positives, negatives)]
    near, far = (distances.gather(1, index).squeeze(1) for index in chosen)
    return torch.where(found, F.relu(near - far + margin), 0.0), found
