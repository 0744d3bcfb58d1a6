"""Re-rankers: methods that keep a matrix of bits of each document, one row a word, and score it against a question.

There is no code of a document and no Hamming distance: candidates that another search found are scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.io.ragged import indptr_of, take_rows


@dataclass(frozen=True)
class TokenCodes:
    """Bits of the words of N documents, one document behind the other: bits / 8 bytes a word.

    Attributes:
        indptr: Start of each document in ``codes``, int64 [N + 1].
        codes: Packed bits of the words, uint8 [words, bits / 8].
    """

    indptr: NDArray[np.int64]
    codes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: NDArray[np.integer]) -> TokenCodes:
        """Return those of chosen documents, in the order of ``rows``."""
        indptr, entries = take_rows(self.indptr, np.asarray(rows, np.int64))
        return TokenCodes(indptr, self.codes[entries])

    @classmethod
    def join(cls, parts: list[TokenCodes]) -> TokenCodes:
        """Return those of several batches, one behind the other; there is at least one."""
        lengths = np.concatenate([np.diff(part.indptr) for part in parts])
        return cls(indptr_of(lengths), np.concatenate([part.codes for part in parts]))


@runtime_checkable
class Reranker(Protocol):
    """Method that scores candidates by the bits of their words."""

    def token_codes(self, batch: Batch) -> TokenCodes:
        """Return the bits that are kept of documents."""
        ...

    def scores(self, query: Batch, document: TokenCodes) -> Tensor:
        """Return the scores of Q questions with D documents each, float32 [Q, D]; higher is better."""
        ...
