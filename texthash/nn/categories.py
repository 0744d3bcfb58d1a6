"""Semantics from categories: a code has to predict the labels of its document (the survey's tag SFC)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texthash.errors import TexthashError
from texthash.nn.encoders import xavier_linear
from texthash.nn.schedules import linear_ramp


class LabelHead(nn.Module):
    """Linear classifier from codes to labels, with its loss.

    single label   L = - log softmax(z W + b)_y
    multi-label    L = - sum_c [ y_c log sigma(z W + b)_c + (1 - y_c) log(1 - sigma(z W + b)_c) ]

    Args:
        features: Width m of the code.
        labels: Number C of labels.
        multi_label: True if a document may have several labels.
        weight: Final weight w_y.
        ramp: Share of training over which w_y rises from 0.

    Raises:
        TexthashError: The corpus has fewer than two labels.
    """

    def __init__(self, features: int, labels: int, multi_label: bool, weight: float = 1.0, ramp: float = 0.0) -> None:
        super().__init__()
        check_labels(labels)
        self.multi_label, self.weight, self.ramp = multi_label, weight, ramp
        self.map = xavier_linear(features, labels)

    def weight_at(self, fraction: float) -> float:
        """Return w_y at a share of training, 0 to 1."""
        return linear_ramp(fraction, 0.0, self.weight, over=self.ramp)

    def loss(self, codes: Tensor, labels: Tensor, labelled: Tensor, count: Tensor | None = None) -> Tensor:
        """Return the mean of L over the labelled documents of a batch; 0 if there are none.

        Args:
            codes: Codes z [B, m].
            labels: Labels y [B, C], 0 or 1.
            labelled: Mask of the documents with labels, bool [B].
            count: Divisor of the sum; None for the number of labelled documents. Workers that average gradients pass
                the mean number of labelled documents per worker, so that every document has the same weight.
        """
        logits = self.map(codes)
        if self.multi_label:
            each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(dim=1)
        else:
            each = F.cross_entropy(logits, labels, reduction="none")
        divisor = labelled.sum() if count is None else count
        return torch.where(labelled, each, 0.0).sum() / torch.where(divisor > 0, divisor, 1)


def check_labels(labels: int) -> None:
    """Check that a method can learn from the labels of a corpus, of which there are ``labels``.

    Raises:
        TexthashError: There are fewer than two.
    """
    if labels < 2:
        raise TexthashError(
            f"a method that learns from labels needs two of them or more, and was given {labels}.",
            "give labels (labels=[...] of texthash.train), a corpus with labels, or choose another method.",
        )
