"""Centres of classes of codes, and the documents that lie apart from their own or near another one (DHSH, 2025)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texthash.nn.matching import squared_distances

_LEAST = 1e-4  # of a squared distance: the root of less has no finite gradient, or one of rounding alone


def euclidean_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return ||x_a - y_b||, [A, B], at least 0.01, with no gradient below."""
    return squared_distances(x, y).clamp(min=_LEAST).sqrt()


class ClassCentres(nn.Module):
    """Centres and radii of the classes of the training documents, from a memory of each document's latest code.

    c_y = mean of the codes h of the documents with label y,  R_y = mean + lambda std of their distances ||h - c_y||

    A document with several labels counts in each class. Hard documents, and the loss that moves them (De-confusing Hard
    Samples, ICASSP 2025, as re-implemented in the survey's repository):

    within     further than R_y from the centre of each of its labels:  max(0, d_own - d_other + margin), with the
               nearest of its own centres and the nearest of the others
    between    nearer than R_o to the centre of a class o that it is not in:  max(0, d_own - d_o + margin), for each o

    Args:
        rows: Row of the document of each (document, label) pair, int64 [E].
        classes: Label of the same pairs, int64 [E].
        documents: Number N of training documents.
        labels: Number C of labels.
        bits: Length m of the code.
        spread: Number lambda of standard deviations in the radius.
    """

    rows: Tensor
    classes: Tensor
    codes: Tensor
    centres: Tensor
    radii: Tensor
    fitted_in: Tensor

    def __init__(self, rows: Tensor, classes: Tensor, documents: int, labels: int, bits: int, spread: float) -> None:
        super().__init__()
        self.spread = spread
        self.register_buffer("rows", rows)
        self.register_buffer("classes", classes)
        self.register_buffer("codes", torch.full((documents, bits), -1, dtype=torch.int8))  # -1: not seen yet
        self.register_buffer("centres", torch.zeros(labels, bits))
        self.register_buffer("radii", torch.full((labels,), float("nan")))  # of a class that has no centre
        self.register_buffer("fitted_in", torch.tensor(-1))

    @torch.no_grad()
    def write(self, rows: Tensor, codes: Tensor) -> None:
        """Store the codes [B, m] in {0, 1} of the training documents ``rows`` [B]."""
        self.codes[rows] = codes.round().to(self.codes.dtype)

    @torch.no_grad()
    def fit(self, epoch: int) -> None:
        """Compute centres and radii from the codes that are stored, once in an epoch."""
        if int(self.fitted_in) == epoch:
            return
        self.fitted_in.fill_(epoch)
        seen = self.codes[self.rows, 0] >= 0
        rows, classes = self.rows[seen], self.classes[seen]
        codes = self.codes[rows].to(self.centres.dtype)
        counts = torch.bincount(classes, minlength=len(self.centres))
        divisor = counts.clamp(min=1).to(codes.dtype)
        self.centres.zero_().index_add_(0, classes, codes).div_(divisor[:, None])
        distances = (codes - self.centres[classes]).square().sum(dim=1).sqrt()
        mean = torch.zeros_like(divisor).index_add_(0, classes, distances) / divisor
        variance = torch.zeros_like(divisor).index_add_(0, classes, (distances - mean[classes]).square()) / divisor
        self.radii.copy_(torch.where(counts > 0, mean + self.spread * variance.sqrt(), float("nan")))

    def hard(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return which documents are hard within their class, bool [n], and between which others, bool [n, C].

        Args:
            codes: h [n, m].
            labels: y [n, C]; a document without labels is never hard.
        """
        return self._hard(euclidean_distances(codes, self.centres), labels > 0)

    def _hard(self, distances: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        known = ~self.radii.isnan()
        outside = distances > self.radii
        within = (own & known).any(dim=1) & (outside | ~own | ~known).all(dim=1)
        between = (own & known).any(dim=1, keepdim=True) & ~own & (distances < self.radii)
        return within & (~own & known).any(dim=1), between

    def loss(self, codes: Tensor, labels: Tensor, margin: float) -> Tensor:
        """Return the mean loss of the hard cases, 0 without any; a scalar. Arguments as of :meth:`hard`."""
        distances = euclidean_distances(codes, self.centres)
        own, known = labels > 0, ~self.radii.isnan()
        within, between = self._hard(distances, own)
        nearest_own = distances.masked_fill(~own | ~known, torch.inf).min(dim=1).values
        nearest_other = distances.masked_fill(own | ~known, torch.inf).min(dim=1).values
        # Selected before they are subtracted: a document without labels is infinitely far from its own centre.
        of_within = F.relu(nearest_own[within] - nearest_other[within] + margin).sum()
        documents, classes = between.nonzero(as_tuple=True)
        of_between = F.relu(nearest_own[documents] - distances[documents, classes] + margin).sum()
        return (of_within + of_between) / (within.sum() + between.sum()).clamp(min=1)
