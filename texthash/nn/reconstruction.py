"""Reconstruction: likelihood of the words of a document given its code."""

from __future__ import annotations

import torch
from torch import Tensor

from texthash.nn.bags import Bag


def word_log_likelihood(logits: Tensor, bag: Bag, weights: Tensor | None = None) -> Tensor:
    """Return sum_{w in d} a_w log softmax(logits)_w for each document, over the words that occur only.

    All a_w are 1 in VDSH (Chaidaroon & Fang, 2017), and tf-idf weights in Doc2hash (Zhang & Zhu, 2019); they can also
    be counts.

    Args:
        logits: Scores of all words, [B, V].
        bag: Documents.
        weights: a_w of each entry [nnz]; None counts every distinct word once.

    Returns:
        Tensor [B].
    """
    logits = logits.float()
    occurring = logits[bag.document, bag.indices] - torch.logsumexp(logits, dim=1)[bag.document]
    if weights is not None:
        occurring = occurring * weights
    return occurring.new_zeros(logits.shape[0]).index_add_(0, bag.document, occurring)


def word_shares(bag: Bag) -> Tensor:
    """Return the share x_w / sum_w x_w of each entry in its document's weight, [nnz].

    With these as weights a_w, the reconstruction is a cross entropy of two distributions over words, independent of the
    length of the document.
    """
    totals = bag.values.new_zeros(len(bag.offsets)).index_add_(0, bag.document, bag.values)
    return bag.values / totals[bag.document]
