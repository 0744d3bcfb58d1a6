"""Asymmetric scores: real values of a query against the bits of documents, in NumPy alone.

    score = sum_b a_b (2 bit_b - 1)

Bits are summed in twos, in fours and in bytes, and these in their order, here and in the compiled loop of
:meth:`texthash.hamming.multi_index.BitOrder.add_scores`. So a score depends neither on the other codes of a call nor
on who computes it, as it would by a matrix product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.codes import check_codes

_TWO_SIGNS = np.array([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])  # of the first bit and the second


def sums_of_four(values: NDArray[np.floating], bits: int) -> NDArray[np.float64]:
    """Return what the 16 values of each four bits add to a score, float64 [Q, bits / 4, 16].

    Args:
        values: Values of the queries, [Q, bits].
        bits: Width of the codes.

    Raises:
        ModelMismatchError: The queries have another width.
        TexthashError: A value is not finite.
    """
    if values.shape[1:] != (bits,):
        raise ModelMismatchError(
            f"the queries have {values.shape[-1]} values, the codes {bits} bits.",
            "encode the query with the model of the index.",
        )
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise TexthashError("a value of the query is not finite", "train the model again.")
    twos = found[:, ::2, np.newaxis] * _TWO_SIGNS[0] + found[:, 1::2, np.newaxis] * _TWO_SIGNS[1]
    sums: NDArray[np.float64] = twos[:, ::2, :, np.newaxis] + twos[:, 1::2, np.newaxis, :]
    return sums.reshape(len(found), -1, 16)


def asymmetric(activations: NDArray[np.floating], codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the asymmetric scores of codes for one query, float64 [N].

    Args:
        activations: Activations of the query minus the thresholds, [bits].
        codes: Codes, uint8 [N, bits / 8], most significant bit first.

    Raises:
        ModelMismatchError: The codes have another width than the query.
        TexthashError: An activation is not finite.

    >>> asymmetric(np.array([4.0, 2, 1, 0, 0, 0, 0, 0]), np.array([[0b11000000], [0b00100000]], np.uint8))
    array([ 5., -5.])
    """
    check_codes(codes, len(activations))
    (halves,) = sums_of_four(activations[np.newaxis], len(activations))
    table = (halves[::2, :, None] + halves[1::2, None, :]).reshape(-1, 256)
    scores: NDArray[np.float64] = np.zeros(len(codes))
    for own, bytes_of in zip(table, codes.T, strict=True):
        scores += own[bytes_of]
    return scores
