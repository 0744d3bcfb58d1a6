"""Incremental checksum of the codes of an index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texthash.hamming.codes import to_words

_BLOCK = 1 << 14
_UNKNOWN = np.uint64(0xA5A5A5A55A5A5A5A)


class Checksum:
    """Incremental checksum of a set of rows (number, code, known words) in any order.

    It is the sum, modulo 2**64, of a hash of each row: the finaliser of splitmix64 over the number and the 64-bit words
    of the code. Adding or removing a row adds or subtracts its hash. It detects damage, not manipulation.

    Args:
        value: Checksum to continue from, in hexadecimal.
    """

    def __init__(self, value: str = "0") -> None:
        self._sum = int(value, 16)

    def add(self, numbers: NDArray[np.int64], codes: NDArray[np.uint8], known: NDArray[np.bool_]) -> None:
        """Add rows: numbers int64 [N], codes uint8 [N, bits / 8], known words bool [N]."""
        self._sum = (self._sum + _hash_sum(numbers, codes, known)) % 2**64

    def remove(self, numbers: NDArray[np.int64], codes: NDArray[np.uint8], known: NDArray[np.bool_]) -> None:
        """Remove rows that were added before."""
        self._sum = (self._sum - _hash_sum(numbers, codes, known)) % 2**64

    def __str__(self) -> str:
        return f"{self._sum:016x}"


def _hash_sum(numbers: NDArray[np.int64], codes: NDArray[np.uint8], known: NDArray[np.bool_]) -> int:
    total = 0
    for first in range(0, len(numbers), _BLOCK):  # whose intermediate results stay in the cache of a core
        block = slice(first, first + _BLOCK)
        mixed = _mixed(numbers[block].astype(np.uint64))
        mixed[~known[block]] ^= _UNKNOWN  # The hash of a row with a known word is the same as in older releases.
        for word in to_words(codes[block]):
            mixed = _mixed(mixed ^ word)
        total += int(mixed.sum(dtype=np.uint64))
    return total


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
