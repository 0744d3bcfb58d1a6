"""What every part asks of a batch: its documents as sparse bags of words."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Bag(Protocol):
    """B documents in compressed sparse rows.

    Attributes:
        indices: Word ids of all documents, one after the other; int64 [nnz].
        offsets: Where each document starts in ``indices``; int64 [B].
        values: Weight of each word; float32 [nnz].
        document: The document, 0..B-1, to which each entry belongs; int64 [nnz].
    """

    @property
    def indices(self) -> Tensor: ...

    @property
    def offsets(self) -> Tensor: ...

    @property
    def values(self) -> Tensor: ...

    @property
    def document(self) -> Tensor: ...
