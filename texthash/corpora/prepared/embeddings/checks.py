"""What a vector has to be: of the width of the others, finite, and not zero, which has no direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.arguments import shown
from texthash.errors import UsageError

_ROWS = 8192
REMEDY = "leave the row out, or compute its vector again."


def flaw_of(vectors: NDArray) -> tuple[int, str] | None:
    """Return the first row of vectors [N, D] that cannot be used, and what is wrong with it; None if there is none.

    They are used in single precision: a larger number is infinite there, and a smaller one zero.
    """
    for start in range(0, len(vectors), _ROWS):
        with np.errstate(over="ignore", under="ignore"):
            part = vectors[start : start + _ROWS].astype(np.float32, copy=False)
        finite = np.isfinite(part)
        bad = ~finite.all(axis=1) | ~part.any(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            if finite[row].all():
                return start + row, "is zero, which has no direction"
            place = int(np.argmin(finite[row]))
            return start + row, f"has {part[row, place]} at position {place}, which is no finite number"
    return None


def flaw_of_one(vector: Sequence[float]) -> str | None:
    """Return what is wrong with a vector of finite numbers in single precision; None if nothing is."""
    flaw = flaw_of(np.asarray([vector], np.float64))
    return flaw and flaw[1]


def count_of(values: Any) -> int:
    """Return the number N of vectors.

    Raises:
        UsageError: They are no sequence, column or array.
    """
    try:
        return len(values)
    except TypeError:
        raise UsageError(f"vectors is {shown(values)}, no table of numbers.", REMEDY) from None


def as_vectors(values: Any, width: int | None = None) -> NDArray[np.float32]:
    """Return vectors as an array, float32 [N, D].

    Args:
        values: An array [N, D], or a sequence or a column of N vectors.
        width: Width D that they have to have; None allows any.

    Raises:
        UsageError: They are no numbers or not of one width, or one of them is not finite or zero.
    """
    rows = values if isinstance(values, list | tuple) else ()
    if np.ma.is_masked(values) or any(np.ma.is_masked(row) for row in rows if isinstance(row, np.ma.MaskedArray)):
        raise UsageError("the vectors have masked values, under which there may be any number.", REMEDY)
    try:
        array = np.asarray(values)
        if array.dtype == object and array.ndim == 1:  # a column of vectors of pandas or Arrow
            array = np.asarray(array.tolist())
        numbers = array.dtype.kind in "fiu"
        with np.errstate(over="ignore"):  # what is beyond single precision becomes infinite, and is refused as such
            vectors = array.astype(np.float32) if numbers else np.empty(0, np.float32)
    except (ValueError, TypeError, RuntimeError):  # ragged, or a tensor of torch with a gradient
        numbers = False
    if not numbers or vectors.ndim != 2 or not vectors.shape[1]:
        shape = f"of shape {array.shape}" if numbers else "no table of numbers"
        raise UsageError(
            f"vectors is {shape}.", f"give numbers of the shape [N, {width or 'width'}], one row a vector."
        )
    if width is not None and vectors.shape[1] != width:
        raise UsageError(
            f"these are vectors of {vectors.shape[1]} numbers, the model has learned from vectors of {width}.",
            "give those of the embedder that made the model's vectors.",
        )
    if flaw := flaw_of(vectors):
        raise UsageError(f"vectors[{flaw[0]}] {flaw[1]}.", REMEDY)
    return vectors
