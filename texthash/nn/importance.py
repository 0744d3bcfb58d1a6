"""Importance of words: one weight a word, learned, that scales it in the encoder's input and in the decoder.

A word of importance 0 is read by neither the encoder nor the decoder (RBSH; Hansen et al., 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from texthash.nn.bags import Bag, Words
from texthash.nn.decoders import WordDecoder


class ImportanceDecoder(WordDecoder):
    """Linear decoder scaled by the importance of words, logits = z (i * G)^T + b, i in R^V.

    G in R^{V x m} is free, or factored, G = E U + u with word vectors E in R^{V x d} (RBSH). The importance is the
    decoder's parameter, and :meth:`weigh` applies the same one to the input of an encoder.

    Args:
        bits: Width m of the code.
        words: Size V of the vocabulary.
        width: Dimension d of the word vectors; None for a free G.
        lowest: Lower bound l of the initial importance, uniform in [l, 1].
    """

    def __init__(self, bits: int, words: int, width: int | None = None, lowest: float = 0.1) -> None:
        super().__init__(words)
        self.importance = nn.Parameter(torch.empty(words).uniform_(lowest, 1.0))
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width or bits, words)))
        self.factors = nn.Linear(width, bits) if width else None

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes [B, m] to logits [B, V]."""
        vectors: Tensor = self.weight
        if self.factors is not None:
            # [m, d] [d, V] once takes m / B of the time of [B, d] [d, V], for a batch of B codes.
            vectors = torch.addmm(self.factors.bias[:, None], self.factors.weight, vectors)
        return torch.addmm(self.bias, codes, vectors * self.importance)

    def weigh(self, bag: Bag) -> Words:
        """Return the bag with the values x * i."""
        return Words(bag.indices, bag.offsets, bag.values * self.importance[bag.indices], bag.document)
