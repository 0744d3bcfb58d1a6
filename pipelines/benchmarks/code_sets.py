"""Codes for search benchmarks: random, learned ones from a file, or clusters around learned ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from texthash.errors import UsageError
from texthash.hamming.codes import check_codes
from texthash.index.memory.multi_index import MultiIndex

Codes = NDArray[np.uint8]
Kind = Literal["random", "file", "clustered"]

NEIGHBOURS = 13
_SAMPLE = 256
_NEAREST = 10
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class CodeSet:
    """Codes to search, and queries of the same distribution that are not among them."""

    kind: Kind
    codes: Codes
    queries: Codes

    @property
    def bits(self) -> int:
        return 8 * self.codes.shape[1]


def random_codes(documents: int, bits: int, queries: int, seed: int) -> CodeSet:
    """Return codes of independent, unbiased bits, which are the hardest to search."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (documents, bits // 8), dtype=np.uint8)
    return CodeSet("random", codes, random.integers(0, 256, (queries, bits // 8), dtype=np.uint8))


def learned_codes(path: Path, documents: int | None, queries: int, seed: int) -> CodeSet:
    """Return the codes of a file; the queries are some of them, removed from the others.

    Raises:
        UsageError: The file holds no codes, or too few.
    """
    random = np.random.default_rng(seed)
    codes = _load(path, queries + 1)
    order = random.permutation(len(codes))
    rest = np.sort(order[queries:][:documents])
    return CodeSet("file", codes[rest], codes[order[:queries]])


def clustered_codes(path: Path, documents: int | None, queries: int, seed: int) -> CodeSet:
    """Return each code of a file with 13 artificial neighbours; queries are further neighbours.

    Each bit of a neighbour differs from the code with the frequency with which it differs between nearest neighbours in
    the file, so that the codes have the structure of learned codes of a larger corpus.

    Raises:
        UsageError: The file holds no codes, or too few.
    """
    random = np.random.default_rng(seed)
    centres = _load(path, _NEAREST + 1)
    if documents is not None:
        centres = centres[random.permutation(len(centres))[: max(_NEAREST + 1, documents // (NEIGHBOURS + 1))]]
    rates = _flip_rates(centres, random)
    parts = [centres, *(part for _ in range(NEIGHBOURS) for part in _flipped(centres, rates, random))]
    asked = centres[random.integers(0, len(centres), queries)]
    return CodeSet("clustered", np.concatenate(parts)[:documents], np.concatenate([*_flipped(asked, rates, random)]))


def _flip_rates(codes: Codes, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the frequency with which each bit differs between a code and its 10 nearest others, float64 [bits]."""
    sample = codes[random.integers(0, len(codes), _SAMPLE)]
    hits = MultiIndex(codes, np.arange(len(codes))).search(sample, _NEAREST, offset=1)
    differing = np.concatenate([code ^ codes[rows] for code, rows in zip(sample, hits.numbers, strict=True)])
    rates: NDArray[np.float64] = np.unpackbits(differing, axis=1).mean(axis=0)
    return rates


def _flipped(codes: Codes, rates: NDArray[np.float64], random: np.random.Generator) -> Iterator[Codes]:
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        some = codes[start : start + _ROWS_AT_ONCE]
        yield some ^ np.packbits(random.random((len(some), len(rates)), np.float32) < rates, axis=1)


def _load(path: Path, least: int) -> Codes:
    try:
        codes: Codes = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as codes: {error}", "create it by `benchmark.py codes`.") from error
    check_codes(codes, name=f"codes of {path}")
    if len(codes) < least:
        raise UsageError(f"{path} has {len(codes)} codes, but {least} are needed.", "give a larger file.")
    return codes
