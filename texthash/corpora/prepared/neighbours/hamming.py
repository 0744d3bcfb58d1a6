"""Exact nearest neighbours of binary codes by Hamming distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.neighbours.search import Neighbours
from texthash.hamming.codes import check_codes, to_words
from texthash.hamming.kernels import Words, top_k


@dataclass(frozen=True)
class HammingSearch:
    """Codes ready to be searched: words uint64 [w, N] and their width."""

    words: Words
    bits: int

    @classmethod
    def of(cls, codes: NDArray[np.uint8]) -> HammingSearch:
        """Prepare packed codes, uint8 [N, bits / 8]."""
        return cls(to_words(codes), check_codes(codes))

    @property
    def documents(self) -> int:
        return int(self.words.shape[1])

    def nearest(self, start: int, stop: int, k: int) -> Neighbours:
        distances, rows = top_k(self.words, self.words[:, start:stop], k + 1)
        # Of the k + 1 nearest one goes: the document itself, or the last where enough equal codes stand before it.
        goes = rows == np.arange(start, stop)[:, None]
        goes[~goes.any(axis=1), -1] = True
        near = rows[~goes].reshape(-1, k)
        weights = 1.0 - distances[~goes].reshape(-1, k).astype(np.float32) / np.float32(self.bits)
        return near.astype(np.int32), weights.astype(np.float32)
