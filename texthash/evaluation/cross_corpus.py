"""A trained model on documents of another corpus than it was trained on: what is left of it under a shift of domain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Role
from texthash.models.hasher import Hasher

_TEXTS = 1024


class RawTextEncoder:
    """Encodes splits of any corpus from their raw text, as the service would.

    Words and their weights are those that the model was trained with, so a text may hold few that it knows: the share
    of documents without any is counted.

    Args:
        hasher: The trained model.

    Attributes:
        documents: How many have been encoded.
        unknown: How many of them hold no word of the model's vocabulary; they have the code of an empty document.
    """

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self.documents = self.unknown = 0

    def encode_split(self, split: Split, role: Role = "document") -> NDArray[np.uint8]:
        """Packed codes, uint8 [len(split), bits/8], in the order of the split."""
        return np.concatenate([np.zeros((0, self.hasher.bits // 8), np.uint8), *self._blocks(split, role)])

    def _blocks(self, split: Split, role: Role) -> Iterator[NDArray[np.uint8]]:
        for table in split.documents(_TEXTS):
            values, known, _ = self.hasher.read(table["text"].to_pylist(), role)
            self.documents += len(known)
            self.unknown += int((~known).sum())
            yield self.hasher.binarize(values)
