"""Encoder and decoder of word sequences: convolutions to a vector, and transposed convolutions from it.

Values of both are centred on zero. With ReLU features and max pooling, or with codes decoded from [0, 1], the component
that all documents share is far larger than their differences, and the first steps collapse all codes into one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texthash.nn.decoders import WordDecoder
from texthash.nn.encoders import xavier_linear


class SequenceEncoder(nn.Module):
    """e_t = E_{w_t};  c_t = tanh(sum_k W_k e_{t+k} + b);  h = ReLU(W n^{-1/2} sum_t c_t + b) for n words.

    Padding is masked: the code of a document does not depend on the padding of its batch.

    Args:
        words: Size V of the vocabulary.
        embedding: Width E of word vectors.
        channels: Number C of filters.
        window: Width of a filter in words, odd.
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
            tokens: Word ids, int64 [B, T].
            weights: Weight of each word, float [B, T]; 0 for padding and for removed words.
        """
        embedded = F.embedding(tokens, self.words) * weights[:, :, None]
        mask = (weights > 0)[:, None, :]
        features = torch.tanh(self.convolution(embedded.transpose(1, 2))) * mask
        pooled = features.sum(dim=2) / mask.sum(dim=2).clamp(min=1).sqrt()
        return self.dropout(F.relu(self.hidden(pooled)))


class SequenceDecoder(WordDecoder):
    """Decoder from a code to a distribution over words at each position of a text (Zhang et al., 2017).

    2 z - 1 -> Linear [C, ceil(T / 4)] -> ReLU -> two transposed convolutions of stride 2 -> x_t in R^E, t < T
    logits_t = x_t R^T + b

    Args:
        bits: Width m of the code, whose bits are in [0, 1].
        words: Size V of the vocabulary.
        embedding: Width E of the output layer's input.
        channels: Number C of filters.
        length: Number T of positions.
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
        codes = 2 * codes - 1  # centred on zero, so that codes need not represent what all documents share
        start = F.relu(self.start(codes)).unflatten(1, (self.up.in_channels, -1))
        return self.top(F.relu(self.up(start))).transpose(1, 2)[:, : self.length] + self.skip(codes)[:, None, :]

    def log_likelihood(
        self, codes: Tensor, tokens: Tensor, mask: Tensor, places: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Estimate sum_t log softmax(logits_t)_{w_t} over the words of each document.

            sum_t x_t . R_{w_t} + b_{w_t}  -  n / |S| sum_{t in S} log sum_w exp(logits_t)_w

        S are positions of the n words, drawn uniformly: a sum over the vocabulary at each position of each document
        would dominate the cost. The estimate is unbiased; its variance comes only from the differences of these sums
        between positions.

        Args:
            codes: Codes [B, m].
            tokens: Word ids, int64 [B, T'], T' at most T.
            mask: Mask of the words, false for padding, bool [B, T'].
            places: Number of positions drawn for each document; a document without words has none.
            generator: Random generator of the positions.

        Returns:
            Tensor [B].
        """
        x = self(codes)
        words = F.embedding(tokens, self.weight)
        scores = ((x[:, : tokens.shape[1]] * words).sum(dim=2) + self.bias[tokens]).float() * mask
        lengths = mask.sum(dim=1)
        u = torch.rand(len(codes), places, generator=generator, device=codes.device)
        drawn = (u * lengths[:, None]).long().clamp(max=tokens.shape[1] - 1)
        drawn_x = x.gather(1, drawn[:, :, None].expand(-1, -1, x.shape[2]))
        logits = F.linear(drawn_x, self.weight, self.bias).float()
        # log_softmax computes logsumexp in one fused pass over [B, places, V].
        norms = logits[:, :, 0] - torch.log_softmax(logits, dim=2)[:, :, 0]
        return scores.sum(dim=1) - norms.mean(dim=1) * lengths
