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
