"""Distillation: codes whose scores order the documents of a batch as the similarities of a teacher do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from texthash.nn.projections import joint_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


_BLOCK = 8192  # documents
_KEPT = 128  # words of a document and its neighbours


class Teacher:
    """Similarities of training documents: cosines of their words, their vectors, or both.

    Args:
        words: Weighted words of the documents [N, V]; None: they do not count.
        dense: Vectors of the documents [N, D], which may be mapped from a file; None: they do not count.
        share: Share of the vectors where both count.
    """

    def __init__(self, words: csr_matrix | None, dense: NDArray[np.float32] | None, share: float) -> None:
        self._words, self._dense, self._share = words, dense, share

    def similarities(self, rows: Tensor) -> Tensor:
        """Return the similarities of documents, int64 [R], to each other, float32 [R, R]."""
        places = rows.cpu().numpy()
        words, dense = (None if given is None else given[places] for given in (self._words, self._dense))
        x = joint_rows(words, dense, self._share)
        product = x @ x.T if isinstance(x, np.ndarray) else (x @ x.T).toarray()
        if dense is None:  # words are weighted, and of any length
            lengths = np.sqrt(np.maximum(np.diagonal(product), np.finfo(np.float32).tiny))
            product = product / lengths / lengths[:, None]
        return torch.from_numpy(np.asarray(product, np.float32)).to(rows.device)


def add_neighbours(words: csr_matrix, near: NDArray[np.int32], similarities: NDArray, weight: float) -> csr_matrix:
    """Return documents with the words of their neighbours, float32 [N, V], each at length 1.

    y_i = v_i / |v_i| + w u_i / |u_i|,  u_i = sum_n s_in v_n / |v_n|

    A document of few words, such as a title, is so similar to documents that say the same in other words. Of each
    document the 128 words of most weight are kept.

    Args:
        words: Weighted words v of the documents [N, V].
        near: Rows of the neighbours of each document [N, k].
        similarities: s [N, k], at least 0; 0 where there is no neighbour.
        weight: w of the neighbours' words.
    """
    from scipy.sparse import csr_matrix, vstack

    words, parts = _at_length_one(words), []
    for start in range(0, len(near), _BLOCK):
        rows, strength = near[start : start + _BLOCK], similarities[start : start + _BLOCK]
        indptr = np.arange(0, rows.size + 1, rows.shape[1])
        links = csr_matrix((strength.ravel(), rows.ravel(), indptr), shape=(len(rows), len(near)))
        own = words[start : start + _BLOCK]
        parts.append(_at_length_one(_largest(csr_matrix(own + weight * _at_length_one(links @ words)), _KEPT)))
    return vstack(parts, format="csr")


def _at_length_one(rows: csr_matrix) -> csr_matrix:
    from scipy.sparse import diags

    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return (diags(1 / np.where(lengths > 0, lengths, 1)) @ rows).tocsr().astype(np.float32)


def _largest(rows: csr_matrix, count: int) -> csr_matrix:
    """Return rows with their largest values alone."""
    sizes = np.diff(rows.indptr)
    row = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-rows.data, row))
    kept = np.zeros(len(rows.data), bool)
    kept[order] = np.arange(len(order)) - np.repeat(rows.indptr[:-1], sizes) < count
    rows.data[~kept] = 0
    rows.eliminate_zeros()
    return rows


def ranking_divergence(similarities: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Return the mean over documents of KL(P || Q), how far a student's order of the others is from a teacher's.

    P_i = softmax_j(s_ij / tau) and Q_i = softmax_j(y_ij) over all documents j of the batch other than i.

    Args:
        similarities: s [B, B] of the teacher.
        scores: y [B, B] of the student, with a document i as the query.
        temperature: tau of the teacher; the lower, the more the nearest documents count.

    Returns:
        Scalar, at least 0; 0 where y = s / tau + a constant of each row.
    """
    alone = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    hidden = torch.finfo(scores.dtype).min
    wanted = torch.log_softmax((similarities / temperature).masked_fill(alone, hidden), dim=1)
    found = torch.log_softmax(scores.masked_fill(alone, hidden), dim=1)
    # A document itself has probability 0 on both sides.
    return (wanted.exp() * (wanted - found).masked_fill(alone, 0.0)).sum(dim=1).mean()
