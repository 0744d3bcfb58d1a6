"""Encoder and decoder of word sequences: convolutions up to a vector, transposed convolutions down from it.

Both keep to values around zero. Where features are ReLU and pooled by their maxima, or codes are decoded from [0, 1],
what all documents have in common is far larger than what tells them apart: the first steps drive all codes to one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texthash.nn.decoders import WordDecoder
from texthash.nn.encoders import xavier_linear


class SequenceEncoder(nn.Module):
    """e_t = E_{w_t};  c_t = tanh(sum_k W_k e_{t+k} + b);  h = ReLU(W n^{-1/2} sum_t c_t + b) for n words.

    Only words that the mask names are seen: the code of a document does not depend on how far its batch is padded.

    Args:
        words: Size V of the vocabulary.
        embedding: Width E of word vectors.
        channels: Number C of filters.
        window: Words under a filter, odd.
        hidden: Width H of the output.
        dropout: Probability of dropping an output in training.
    """

    def __init__(self, words: int, embedding: int, channels: int, window: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.randn(words, embedding))
        self.convolution = nn.Conv1d(embedding, channels, window, padding=window // 2)
        self.hidden = xavier_linear(channels, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, weights: Tensor) -> Tensor:
        """Map word numbers [B, T] to [B, H].

        Args:
            tokens: int64 [B, T].
            weights: How much each counts, float [B, T]; 0 for padding and for words that are taken out.
        """
        embedded = F.embedding(tokens, self.words) * weights[:, :, None]
        there = (weights > 0)[:, None, :]
        features = torch.tanh(self.convolution(embedded.transpose(1, 2))) * there
        pooled = features.sum(dim=2) / there.sum(dim=2).clamp(min=1).sqrt()
        return self.dropout(F.relu(self.hidden(pooled)))


class SequenceDecoder(WordDecoder):
    """From a code to a distribution over words at each place of a text (Zhang et al., 2017).

    2 z - 1 -> Linear [C, ceil(T / 4)] -> ReLU -> two transposed convolutions of stride 2 -> x_t in R^E, t < T
    logits_t = x_t R^T + b

    Args:
        bits: Width m of the code, whose bits are in [0, 1].
        words: Size V of the vocabulary.
        embedding: Width E before the words.
        channels: Number C of filters.
        length: Places T.
    """

    def __init__(self, bits: int, words: int, embedding: int, channels: int, length: int) -> None:
        super().__init__(words)
        self.length = length
        self.start = xavier_linear(bits, channels * -(-length // 4))
        self.up = nn.ConvTranspose1d(channels, channels, 4, stride=2, padding=1)
        self.top = nn.ConvTranspose1d(channels, embedding, 4, stride=2, padding=1)
        self.skip = xavier_linear(bits, embedding)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(words, embedding)))

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes [B, m] to x [B, T, E]."""
        codes = 2 * codes - 1  # around zero, so that what all documents have in common is no matter of their codes
        start = F.relu(self.start(codes)).unflatten(1, (self.up.in_channels, -1))
        return self.top(F.relu(self.up(start))).transpose(1, 2)[:, : self.length] + self.skip(codes)[:, None, :]

    def log_likelihood(
        self, codes: Tensor, tokens: Tensor, mask: Tensor, places: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """sum_t log softmax(logits_t)_{w_t} over the words of each document,

            sum_t x_t . R_{w_t} + b_{w_t}  -  n / |S| sum_{t in S} log sum_w exp(logits_t)_w

        S are places of the n words, drawn with equal chances: a sum over all words at each place of each document would
        be most of the work. The estimate is without bias, and chance touches only how these sums differ among places.

        Args:
            codes: [B, m].
            tokens: int64 [B, T'], T' at most T.
            mask: Which of them are words, bool [B, T'].
            places: How many to draw of each document; a document without words has none.
            generator: Source of the places.

        Returns:
            Tensor [B].
        """
        x = self(codes)
        words = F.embedding(tokens, self.weight)
        told = ((x[:, : tokens.shape[1]] * words).sum(dim=2) + self.bias[tokens]).float() * mask
        lengths = mask.sum(dim=1)
        u = torch.rand(len(codes), places, generator=generator, device=codes.device)
        drawn = (u * lengths[:, None]).long().clamp(max=tokens.shape[1] - 1)
        drawn_x = x.gather(1, drawn[:, :, None].expand(-1, -1, x.shape[2]))
        logits = F.linear(drawn_x, self.weight, self.bias).float()
        # logsumexp(logits) by the one fused pass over [B, places, V] that there is.
        norms = logits[:, :, 0] - torch.log_softmax(logits, dim=2)[:, :, 0]
        return told.sum(dim=1) - norms.mean(dim=1) * lengths
