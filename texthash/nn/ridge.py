"""Ridge regression from sparse rows: a linear map that stands in for what only training documents have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def ridge(
    rows: csr_matrix, targets: NDArray[np.floating], penalty: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return W [V, K] and b [K] of min ||X W + b - Y||_F^2 + lambda ||W||_F^2 (Hoerl & Kennard, 1970).

    They are found by conjugate gradients, which need no matrix of V x V.

    Args:
        rows: X [N, V].
        targets: Y [N, K].
        penalty: lambda, above 0.
    """
    from sklearn.linear_model import Ridge  # takes a second to import, which would delay every search

    fitted = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-5).fit(rows, np.asarray(targets, np.float64))
    return np.atleast_2d(fitted.coef_).T.astype(np.float32), np.atleast_1d(fitted.intercept_).astype(np.float32)
