"""Rows of different lengths in flat arrays: row i has the entries from ``indptr[i]`` to ``indptr[i + 1]``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def indptr_of(lengths: Sequence[int] | NDArray) -> NDArray[np.int64]:
    """Convert row lengths [N] to ``indptr`` [N + 1]."""
    result = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=result[1:])
    return result


def take_rows(indptr: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ``indptr`` of selected rows, and the positions of their entries in the flat array."""
    starts = np.asarray(indptr[rows])
    part = indptr_of(np.asarray(indptr[rows + 1]) - starts)
    return part, np.arange(part[-1]) + np.repeat(starts - part[:-1], np.diff(part))


def filtered(indptr: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the ``indptr`` after removing the entries that are not ``kept``."""
    return indptr_of(kept)[indptr]


def from_arrow(column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray]:
    """Return ``indptr`` and flat values of a list column without nulls, which may be a slice."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    offsets = column.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], column.flatten().to_numpy(zero_copy_only=False)


def to_arrow(indptr: NDArray[np.int64], values: NDArray[np.int32]) -> pa.ListArray:
    """Return a list<int32> column, of at most 2^31 entries."""
    return pa.ListArray.from_arrays(pa.array(indptr.astype(np.int32)), pa.array(values.astype(np.int32)))
