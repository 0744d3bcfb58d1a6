"""Losses of scores of questions and passages: the passage that answers a question has to score above the others.

Scores are [B, P], of which the answer of question i is the passage of column i, 0 <= i < B <= P: the answers of all
questions of a batch come first, and further passages, such as hard negatives, follow. ``answers`` [B, P] marks *every*
passage that is known to answer a question; those other than its own are neither rewarded nor punished. A loss over
several workers passes gathered scores.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def in_batch_softmax(scores: Tensor, answers: Tensor) -> Tensor:
    """Return -(1/B) sum_i log [ exp s_ii / sum_{j = i or j not in A_i} exp s_ij ] (Karpukhin et al., DPR, 2020).

    Args:
        scores: s [B, P].
        answers: Mask of the passages A_i that answer question i, bool [B, P].

    Returns:
        Scalar.
    """
    own = scores.diagonal()
    counted = scores.masked_fill(~(_wrong(answers) | _own(answers)), -math.inf)
    return (torch.logsumexp(counted, dim=1) - own).mean()


def in_batch_hinge(scores: Tensor, answers: Tensor, margin: float) -> Tensor:
    """Return the mean over all i and all j not in A_i of max(0, alpha - s_ii + s_ij) (Yamada et al., BPR, 2021).

    Args:
        scores: s [B, P].
        answers: Mask of the passages A_i that answer question i, bool [B, P].
        margin: alpha.

    Returns:
        Scalar; 0 if every passage answers every question.
    """
    wrong = _wrong(answers)
    falls_short = torch.relu(margin - scores.diagonal()[:, None] + scores)
    return torch.where(wrong, falls_short, 0.0).sum() / wrong.sum().clamp(min=1)


def triplet_hinge(right: Tensor, wrong: Tensor, margin: float) -> Tensor:
    """Return the mean of max(0, m - s+ + s-) over scores of right and wrong answers of the same questions, [B] each."""
    return torch.relu(margin - right + wrong).mean()


def _own(answers: Tensor) -> Tensor:
    """Return the mask of the passage of each question, bool [B, P]."""
    own = torch.zeros_like(answers)
    own.diagonal().fill_(True)
    return own


def _wrong(answers: Tensor) -> Tensor:
    """Return the mask of the passages that do not answer, bool [B, P]."""
    return ~(answers | _own(answers))
