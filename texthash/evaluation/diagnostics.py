"""Diagnostics of a set of codes, without labels: balance, correlation and use of the bits."""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from texthash.errors import UsageError
from texthash.hamming.codes import unpack

_BLOCK = 65_536  # documents unpacked at once
_DEAD = 0.01  # a bit is dead when it is set in less than this share of documents, or in more than the rest

# Codes have collapsed when one of these limits is crossed; see collapse_warning.
LEAST_ENTROPY = 0.5  # mean entropy of a bit, in bits: that of a bit set in 11% of the documents
MOST_DEAD = 0.25  # share of dead bits
LARGEST_BUCKET = 0.1  # share of the documents with one code
LEAST_EFFECTIVE = 1 / 3  # entropy of the whole code, as a share of its maximum for this width and number of documents
FEWEST_DOCUMENTS = 100  # below this number the limits above are not applied
FEWEST_OF_ALL = 3  # smallest number of documents whose codes, if nearly all equal, have collapsed
NEARLY_ALL = 0.9  # share of the documents with one code, applied below FEWEST_DOCUMENTS


def share_of_ones(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of documents in which each bit is set, float64 [bits]; 0.5 is balanced."""
    ones, _ = _moments(codes)
    return ones


def diagnose(codes: NDArray[np.uint8]) -> dict[str, float]:
    """Return quality measures of packed codes, uint8 [N, bits/8], N >= 1.

    Returns:
        ``bit_balance``: mean of |2p - 1| over bits, with p the share of ones; 0 is balanced, 1 constant.
        ``bit_correlation``: mean absolute correlation of two different bits; a constant bit counts as 0 (and as dead).
        ``bit_dependence``: ||S'S/N - I||_F / bits of the codes in -1/+1: imbalance and correlation in one number.
        ``entropy``: mean entropy of a bit, 0 to 1. ``effective_bits``: empirical entropy of the whole code,
        at most min(bits, log2 N).
        ``unique_codes``, ``unique_ratio``: number of distinct codes, and that number over N;
        ``unique_ratio_uniform``: expected ratio of uniformly drawn codes, 2^bits (1 - exp(-N / 2^bits)) / N.
        ``collision_rate``: probability that two documents drawn with replacement share a code.
        ``largest_bucket``: share of documents with the most frequent code. ``dead_bits``: bits with p < 0.01 or > 0.99.

    Raises:
        UsageError: There are no codes.
    """
    documents, bits = codes.shape[0], codes.shape[1] * 8
    ones, together = _moments(codes)
    deviation = np.sqrt(ones * (1 - ones))
    scale = np.outer(deviation, deviation)
    covariance = together - np.outer(ones, ones)
    correlation = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 1e-12)
    np.fill_diagonal(correlation, 0.0)
    signs = 4 * together - 2 * ones[:, None] - 2 * ones[None, :] + 1  # S'S/N
    np.fill_diagonal(signs, 0.0)

    frequency = _bucket_sizes(codes) / documents
    return {
        "bit_balance": float(np.abs(2 * ones - 1).mean()),
        "bit_correlation": float(np.abs(correlation).sum() / (bits * (bits - 1))),
        "bit_dependence": float(np.linalg.norm(signs) / bits),
        "entropy": float(_entropy_of_bits(ones).mean()),
        "effective_bits": float(max(0.0, -(frequency * np.log2(frequency)).sum())),
        "unique_codes": float(frequency.size),
        "unique_ratio": frequency.size / documents,
        "unique_ratio_uniform": _uniform_ratio(documents, bits),
        "collision_rate": float((frequency**2).sum()),
        "largest_bucket": float(frequency.max()),
        "dead_bits": float(((ones < _DEAD) | (ones > 1 - _DEAD)).sum()),
    }


def collapse_warning(
    diagnostics: dict[str, float], bits: int, documents: int, allow_few_codes: bool = False
) -> str | None:
    """Return a warning when the codes have lost most of their capacity, else None.

    There are four criteria. Two concern single bits: their mean entropy is below 0.5 bits, or a quarter of them is
    dead. Two concern whole codes: a tenth of the documents shares one, or their entropy is below a third of its maximum
    for this width and number of documents. Thresholds at the median of train balance the bits even of noise, so a
    collapsed posterior of a method with such thresholds may pass unnoticed; only retrieval metrics reveal it.

    Args:
        diagnostics: Result of :func:`diagnose` on documents that were not used in training.
        bits: Width of the codes.
        documents: Number of documents diagnosed. Below 100 the only criterion is whether nearly all share one code.
        allow_few_codes: True for a method that learned from labels: it may map a class to one code, so only the
            criteria of single bits apply.
    """
    signs = _signs(diagnostics, bits, documents, allow_few_codes)
    if not signs:
        return None
    return (
        "The codes have collapsed: "
        + "; ".join(signs)
        + ". Lower the learning rate, or the weight of the term that pulls codes together (KL, quantisation), or raise "
        "balance or noise."
    )


def _signs(diagnostics: dict[str, float], bits: int, documents: int, allow_few_codes: bool) -> list[str]:
    """Return the criteria of collapse that the codes meet, in words."""
    if documents < FEWEST_DOCUMENTS:
        share = diagnostics["largest_bucket"]
        equal = share == 1 if allow_few_codes else share >= NEARLY_ALL
        return [f"{share:.0%} of the {documents} documents share one code"] * (equal and documents >= FEWEST_OF_ALL)
    signs = []
    if diagnostics["entropy"] < LEAST_ENTROPY:
        signs.append(f"a bit carries {diagnostics['entropy']:.2f} bits of entropy on average")
    if diagnostics["dead_bits"] >= bits * MOST_DEAD:
        signs.append(f"{diagnostics['dead_bits']:.0f} of {bits} bits are the same in 99% of the documents")
    if not allow_few_codes:
        if diagnostics["largest_bucket"] >= LARGEST_BUCKET:
            signs.append(f"{diagnostics['largest_bucket']:.0%} of the documents share one code")
        possible = min(bits, math.log2(documents))
        if diagnostics["effective_bits"] < possible * LEAST_EFFECTIVE:
            signs.append(f"the codes carry {diagnostics['effective_bits']:.1f} bits where {possible:.1f} are possible")
    return signs


def _moments(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of ones [bits], and the share of documents in which two bits are both set [bits, bits]."""
    if codes.ndim != 2 or codes.shape[0] == 0 or codes.shape[1] == 0:
        raise UsageError(
            f"there are no codes to diagnose: shape {codes.shape}.", "pass packed codes, uint8 [N, bits/8]."
        )
    bits = codes.shape[1] * 8
    together = np.zeros((bits, bits))
    for start in range(0, len(codes), _BLOCK):
        block = unpack(codes[start : start + _BLOCK]).astype(np.float32)  # counts up to 65,536 are exact in float32
        together += block.T @ block
    together /= len(codes)
    return np.diag(together).copy(), together


def _uniform_ratio(documents: int, bits: int) -> float:
    """Return 2^bits (1 - exp(-N / 2^bits)) / N; only N / 2^bits is formed, because 2^1024 overflows float64."""
    load = math.ldexp(float(documents), -bits)
    return -math.expm1(-load) / load if load > sys.float_info.min else 1.0


def _bucket_sizes(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of documents of each distinct code."""
    rows = np.ascontiguousarray(codes).view(np.dtype((np.void, codes.shape[1])))[:, 0]
    return np.unique(rows, return_counts=True)[1]


def _entropy_of_bits(ones: NDArray[np.float64]) -> NDArray[np.float64]:
    return (entr(ones) + entr(1 - ones)) / math.log(2)
