"""Words of an index in memory that its processes share, where a dictionary takes a hundred bytes a word in each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_MOST_KEPT = 100_000
_ABSENT = -1


class StoredTerms(Mapping[str, int]):
    """Positions of distinct words, by bisection; those that were looked up are kept.

    Args:
        words: The words, by position.
        order: Positions by ascending word, int32 [T]: :meth:`order_of`.
    """

    def __init__(self, words: pa.StringArray, order: NDArray[np.int32]) -> None:
        _, offsets, self._bytes = words.buffers()
        self._words = words
        self._order = order
        first = words.offset
        self._offsets = np.frombuffer(offsets, np.int32)[first : first + len(words) + 1]
        self._kept: dict[str, int] = {}

    @staticmethod
    def order_of(words: pa.StringArray) -> NDArray[np.int32]:
        """Return the positions of words by ascending word, int32 [T]; the order is that of their bytes in UTF-8."""
        return pc.sort_indices(words).to_numpy().astype(np.int32)

    def __len__(self) -> int:
        return len(self._words)

    def __iter__(self) -> Iterator[str]:
        for word in self._words:
            yield word.as_py()

    def get(self, word: str, default: Any = None) -> Any:
        """Return the position of a word, or the default."""
        found = self._position(word)
        return default if found == _ABSENT else found

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self._position(word) != _ABSENT

    def __getitem__(self, word: str) -> int:
        found = self._position(word)
        if found == _ABSENT:
            raise KeyError(word)
        return found

    def _position(self, word: str) -> int:
        found = self._kept.get(word)
        if found is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            found = self._kept[word] = self._find(word.encode("utf-8", "surrogatepass"))
        return found

    def _find(self, wanted: bytes) -> int:
        place = bisect_left(self._order, wanted, key=self._word)
        if place == len(self._order):
            return _ABSENT
        position = int(self._order[place])
        return position if self._word(position) == wanted else _ABSENT

    def _word(self, position: int) -> bytes:
        start, end = self._offsets[position : position + 2].tolist()
        return self._bytes[start:end].to_pybytes()
