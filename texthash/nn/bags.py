"""Documents as sparse bags of words: the interface of a batch, and a record of bags that are made from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Bag(Protocol):
    """B documents in compressed sparse rows.

    Attributes:
        indices: Word ids of all documents, concatenated; int64 [nnz].
        offsets: Start of each document in ``indices``; int64 [B].
        values: Weight of each word; float32 [nnz].
        document: Document of each entry, 0..B-1; int64 [nnz].
    """

    @property
    def indices(self) -> Tensor: ...

    @property
    def offsets(self) -> Tensor: ...

    @property
    def values(self) -> Tensor: ...

    @property
    def document(self) -> Tensor: ...


@dataclass(frozen=True)
class Words:
    """A :class:`Bag` by its four arrays."""

    indices: Tensor
    offsets: Tensor
    values: Tensor
    document: Tensor
