"""Documents that a filter keeps, as a mask over their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Selection:
    """Documents of one version of a shard that fulfil a condition.

    Attributes:
        first: Number of the document of the first entry of ``kept``.
        kept: True for each number from ``first`` on whose document exists and fulfils the condition, bool.
    """

    first: int
    kept: NDArray[np.bool_]

    @classmethod
    def of_rows(cls, numbers: Numbers, rows: NDArray[np.bool_]) -> Selection:
        """Return the selection of some documents.

        Args:
            numbers: Document numbers, int64 [N], ascending.
            rows: True for each that is kept, bool [N].
        """
        if not len(numbers):
            return cls(0, np.zeros(0, np.bool_))
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            return cls(first, rows)
        kept = np.zeros(last - first + 1, np.bool_)
        kept[numbers - first] = rows
        return cls(first, kept)

    def __len__(self) -> int:
        """Return the number of kept documents."""
        return int(np.count_nonzero(self.kept))

    @property
    def numbers(self) -> Numbers:
        """Numbers of the kept documents, int64, ascending."""
        return np.flatnonzero(self.kept) + self.first

    def of(self, numbers: Numbers, *, ascending: bool = False) -> NDArray[np.bool_]:
        """Return which documents are kept, bool [N].

        Args:
            numbers: Document numbers, int64 [N], all different; of others than those of the shard none is kept.
            ascending: Whether ``numbers`` are known to be ascending, which may save work.
        """
        if not len(numbers) or not len(self.kept):
            return np.zeros(len(numbers), np.bool_)
        ends = int(numbers[0]), int(numbers[-1])
        end = self.first + len(self.kept)
        if ascending and len(numbers) == len(self.kept) and ends == (self.first, end - 1):
            return self.kept
        if self.first <= int(numbers.min()) and int(numbers.max()) < end:
            return self.kept[numbers - self.first]
        inside = (numbers >= self.first) & (numbers < end)
        found = np.zeros(len(numbers), np.bool_)
        found[inside] = self.kept[numbers[inside] - self.first]
        return found

    def with_rows(self, numbers: Numbers, rows: NDArray[np.bool_], without: Numbers) -> Selection:
        """Return the selection without some documents and then with others.

        Args:
            numbers: Numbers of other documents, int64 [N].
            rows: True for each of them that is kept, bool [N].
            without: Numbers of documents that do not exist any more, or are replaced by ``numbers``, int64.
        """
        both = np.concatenate([numbers, np.asarray([self.first] if len(self.kept) else [], np.int64)])
        if not len(both):
            return self
        first = int(both.min())
        end = max(int(both.max()) + 1, self.first + len(self.kept))
        kept = np.zeros(end - first, np.bool_)
        kept[self.first - first : self.first - first + len(self.kept)] = self.kept
        gone = without[(without >= first) & (without < end)]
        kept[gone - first] = False
        kept[numbers - first] = rows
        return Selection(first, kept)
