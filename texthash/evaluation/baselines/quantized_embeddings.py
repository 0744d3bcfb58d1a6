"""Codes from the quantized vectors of a sentence encoder, without a learned hash function: a baseline.

sign           b = 1[x > 0], all D dimensions (sentence-transformers' ``ubinary``)
centred_sign   b = 1[x > c], c the mean of train
prefix         b = 1[x_1..m > 0]: the first m dimensions, for encoders trained as Matryoshka (Kusupati et al., 2022)
itq            b = 1[(x - c) W R > 0], W the first m principal components of train, R their rotation
               (Gong & Lazebnik, 2011; :mod:`texthash.methods.itq`)
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.errors import UsageError
from texthash.hamming.codes import pack
from texthash.methods.base import Role
from texthash.methods.itq import itq_rotation
from texthash.nn.spectral import principal_components

Cut = Literal["sign", "centred_sign", "prefix", "itq"]
WHOLE: tuple[Cut, ...] = ("sign", "centred_sign")
"""Quantizers with one bit for every dimension."""
_ITERATIONS = 50


class QuantizedEmbeddings:
    """Quantizer of the vectors of a prepared corpus, fitted to train alone.

    Args:
        corpus: Prepared corpus with stored vectors of the encoder (``texthash.corpora.prepared.embeddings``).
        encoder: Name of the sentence encoder.
        cut: Rule that turns vectors into bits.
        bits: Length of the code; None for one bit per dimension.
        seed: Random seed of ITQ's initial rotation.

    Raises:
        UsageError: There are more bits than dimensions, or no code can have that number of bits.
        CorpusError: The corpus has no vectors of that encoder.
    """

    def __init__(self, corpus: PreparedCorpus, encoder: str, cut: Cut, bits: int | None = None, seed: int = 0) -> None:
        train = corpus.train.dense(encoder)
        width = train.shape[1]
        self.encoder, self.cut, self.bits = encoder, cut, bits or width
        if self.bits > width or self.bits % 8 or (cut in WHOLE and self.bits != width):
            allowed = f"{width}" if cut in WHOLE else f"a multiple of 8 up to {width}"
            raise UsageError(
                f"{cut} of {encoder}'s {width} dimensions gives no code of {self.bits} bits.", f"use {allowed} bits."
            )
        self._projection = np.eye(width, self.bits, dtype=np.float32)
        self._centre = np.zeros(self.bits, np.float32)
        if cut == "centred_sign":
            self._centre = train.mean(axis=0)
        elif cut == "itq":
            directions, centre = principal_components(np.asarray(train), self.bits)
            rotation, _ = itq_rotation(train @ directions - centre, _ITERATIONS, seed)
            self._projection, self._centre = directions @ rotation, centre @ rotation

    def quantize(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return packed codes, uint8 [N, bits/8], of vectors [N, width]."""
        return pack(vectors @ self._projection > self._centre)

    def encode_split(self, split: Split, role: Role = "document") -> NDArray[np.uint8]:
        """Return packed codes of a split, uint8 [len(split), bits/8], in its order."""
        return self.quantize(split.dense(self.encoder))
