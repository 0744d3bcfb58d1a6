"""Encoder of word sequences by wide convolutions and k-max pooling (Kalchbrenner et al., 2014).

e_t = [E_{w_t}; P_t], the vector of a word and of its position
c   = sum_k W_k e_{t+k} + b at every place that a filter touches: n + w - 1 of n words
h   = tanh(k-max c): of each filter the k largest values, in the order of the text
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def k_max(values: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
    """Return the k largest values of each row and channel in their order, then zeros.

    Args:
        values: [B, C, T].
        lengths: Number of values of each row, int64 [B]; the others are padding.
        counts: k of each row, int64 [B].

    Returns:
        Tensor [B, C, max k].
    """
    places = torch.arange(values.shape[2], device=values.device)
    padded = values.masked_fill(places >= lengths[:, None, None], -torch.inf)
    width = int(counts.max())
    kept = torch.minimum(counts, lengths)[:, None, None]
    _, order = padded.topk(min(width, values.shape[2]), dim=2)
    rank = torch.arange(order.shape[2], device=values.device)
    # Beyond the k largest of a row: behind all others, where zeros are.
    order = torch.where(rank < kept, order, values.shape[2]).sort(dim=2).values
    chosen = F.pad(values, (0, 1)).gather(2, order) * (order < values.shape[2])
    return F.pad(chosen, (0, width - chosen.shape[2]))


class KMaxEncoder(nn.Module):
    """Two wide convolutions; dynamic k-max pooling after the first, max(k, ceil(n / 2)), k-max after the second.

    Args:
        words: Size V of the vocabulary.
        embedding: Width E of word vectors.
        position: Width of position vectors; 0 for none.
        length: Number of positions.
        channels: Numbers of filters of the two convolutions.
        window: Width w of a filter, in words.
        top: k of the last pooling.
        dropout: Probability of dropping an output in training.

    Attributes:
        width: Width of the output, k times the filters of the second convolution.
    """

    def __init__(
        self,
        words: int,
        embedding: int,
        *,
        position: int,
        length: int,
        channels: tuple[int, int],
        window: int,
        top: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.words = nn.Parameter(0.1 * torch.randn(words, embedding))
        self.positions = nn.Parameter(0.1 * torch.randn(length, position))
        self.first = nn.Conv1d(embedding + position, channels[0], window, padding=window - 1)
        self.second = nn.Conv1d(channels[0], channels[1], window, padding=window - 1)
        self.dropout = nn.Dropout(dropout)
        self.window, self.top, self.width = window, top, top * channels[1]

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map word numbers [B, T], T at most the number of positions, with mask [B, T] to [B, width]."""
        positions = self.positions[: tokens.shape[1]].expand(len(tokens), -1, -1)
        embedded = torch.cat([F.embedding(tokens, self.words), positions], dim=2) * mask[:, :, None]
        lengths = mask.sum(dim=1)
        touched = lengths + self.window - 1
        kept = (lengths / 2).ceil().long().clamp(min=self.top)
        hidden = torch.tanh(k_max(self.first(embedded.transpose(1, 2)), touched, kept))
        # What was chosen of a short text is followed by zeros, which the second convolution may touch.
        places = torch.arange(hidden.shape[2], device=hidden.device)
        found = torch.minimum(touched, kept)
        hidden = hidden * (places < found[:, None, None])
        found = found + self.window - 1
        top = k_max(self.second(hidden), found, torch.full_like(found, self.top))
        return self.dropout(torch.tanh(top).flatten(1))
