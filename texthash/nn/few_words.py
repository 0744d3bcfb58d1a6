"""Documents of which a few words are left, as in a query or a title."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from texthash.nn.bags import Bag

LEAST = 3  # words that are left, if there are as many


def few_words(bag: Bag, probability: float, generator: Generator | None = None) -> Tensor:
    """Return the weights of the words of documents of which some have only a few words left, float32 [nnz].

    With the given probability n words of a document are left, drawn at random, n = 3 (N / 3)^u of its N words for a
    random u in [0, 1): as often 3 to 6 words as 6 to 12. A document keeps its Euclidean length.

    Args:
        bag: B documents.
        probability: Probability of a document to lose words.
        generator: Source of the random numbers.
    """
    values, document, device = bag.values, bag.document, bag.values.device
    sizes = torch.bincount(document, minlength=len(bag.offsets))
    chances = torch.rand(len(values) + 2 * len(sizes), generator=generator, dtype=torch.float64, device=device)
    of_words, of_documents, shares = chances.split([len(values), len(sizes), len(sizes)])
    drawn = LEAST * (sizes / LEAST).clamp(min=1) ** shares
    left = torch.where(of_documents < probability, drawn.ceil(), sizes)
    # Documents are in order, so that only words of the same document change places.
    place = torch.empty_like(document)
    place[(document + of_words).argsort()] = torch.arange(len(values), device=device)
    kept = torch.where(place - bag.offsets[document] < left[document], values, 0.0)

    def lengths(weights: Tensor) -> Tensor:
        return torch.zeros(len(sizes), dtype=weights.dtype, device=device).index_add_(0, document, weights**2).sqrt()

    scale = lengths(values) / lengths(kept).clamp(min=torch.finfo(values.dtype).tiny)
    return kept * scale[document]
