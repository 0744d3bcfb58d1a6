"""Decoders from a code to a distribution over words."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WordDecoder(nn.Module):
    """Decoder whose logits have a bias b over the words.

    With b at the log frequencies of the words (:meth:`start_at`), codes only have to explain how a document differs
    from the average, instead of which words are common.

    Args:
        words: Size V of the vocabulary.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(words))

    @torch.no_grad()
    def start_at(self, documents_with_word: Tensor) -> None:
        """Set b_w to the log of the share of word w, from the number [V] of documents with it."""
        counts = documents_with_word.to(self.bias.dtype)
        self.bias.copy_(torch.log(counts / counts.sum()))


class SoftmaxDecoder(WordDecoder):
    """Linear decoder, logits = z E + b, E in R^{m x V}: every bit has a vector over the vocabulary.

    Source: Chaidaroon & Fang, 2017.

    Args:
        bits: Width m of the code.
        words: Size V of the vocabulary.
        std: Standard deviation of the initial E; None for Xavier-uniform.
    """

    def __init__(self, bits: int, words: int, std: float | None = None) -> None:
        super().__init__(words)
        weight = torch.empty(bits, words)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(weight) if std is None else weight.normal_(std=std))

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes [B, m] to logits [B, V]."""
        return torch.addmm(self.bias, codes, self.weight)


class TopicDecoder(WordDecoder):
    """Decoder with topics, t = z T, logits = t W + b.

    A bit activates a topic T_j in R^d, and words are predicted from the sum of the active ones (Ye et al., 2020). The
    width d is independent of the code, so a few bits can use d word vectors. T starts orthonormal (in its columns if
    d < m): from U(0, 1) all topics start alike, and codes collapse.

    Args:
        bits: Number m of topics, one per bit.
        words: Size V of the vocabulary.
        width: Dimension d of a topic.
        average: Use t = z T / max(1, sum_j z_j), the mean of the active topics, instead of their sum.
    """

    def __init__(self, bits: int, words: int, width: int = 100, average: bool = False) -> None:
        super().__init__(words)
        self.average = average
        self.topics = nn.Parameter(nn.init.orthogonal_(torch.empty(bits, width)))
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, words)))

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes [B, m] to logits [B, V]."""
        if self.average:
            codes = codes / codes.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.addmm(self.bias, codes @ self.topics, self.weight)
