"""Reconstruction: how well a code predicts the words of its document."""

from __future__ import annotations

import torch
from torch import Tensor

from texthash.nn.bags import Bag


def word_log_likelihood(logits: Tensor, bag: Bag, weights: Tensor | None = None) -> Tensor:
    """sum_{w in d} a_w log softmax(logits)_w for each document, over the words that occur only: all a_w = 1 as in VDSH
    (Chaidaroon & Fang, 2017), weights of tf-idf as in Doc2hash (Zhang & Zhu, 2019), or counts.

    Args:
        logits: [B, V] scores of all words.
        bag: The documents.
        weights: a_w of each entry [nnz]; None counts every distinct word once.

    Returns:
        Tensor [B].
    """
    logits = logits.float()
    occurring = logits[bag.document, bag.indices] - torch.logsumexp(logits, dim=1)[bag.document]
    if weights is not None:
        occurring = occurring * weights
    return occurring.new_zeros(logits.shape[0]).index_add_(0, bag.document, occurring)
