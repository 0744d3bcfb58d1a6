"""Encoding of another corpus than the model was trained on, to measure how well it transfers to a new domain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Role
from texthash.models.hasher import Hasher

_BATCH = 1024  # texts


class RawTextEncoder:
    """Encoder of the splits of any corpus from their raw text, as in the service.

    Vocabulary and weights are the model's own, so a text of another domain may hold few known words; documents without
    any are counted.

    Args:
        hasher: Trained model.

    Attributes:
        documents: Number of documents encoded so far.
        unknown: Number of those without a word of the model's vocabulary; their code is that of an empty document.
    """

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self.documents = self.unknown = 0

    def encode_split(self, split: Split, role: Role = "document") -> NDArray[np.uint8]:
        """Return packed codes, uint8 [len(split), bits/8], in the order of the split."""
        return np.concatenate([np.zeros((0, self.hasher.bits // 8), np.uint8), *self._blocks(split, role)])

    def _blocks(self, split: Split, role: Role) -> Iterator[NDArray[np.uint8]]:
        for table in split.documents(_BATCH):
            values, known, *_ = self.hasher.read(table["text"].to_pylist(), role)
            self.documents += len(known)
            self.unknown += int((~known).sum())
            yield self.hasher.binarize(values)
