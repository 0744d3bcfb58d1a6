"""Ridge regression from sparse rows: a linear map that stands in for what only training documents have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def ridge(
    rows: csr_matrix, targets: NDArray[np.floating], penalty: float, intercept: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return W [V, K] and b [K] of min ||X W + b - Y||_F^2 + lambda ||W||_F^2 (Hoerl & Kennard, 1970).

    They are found by conjugate gradients, which need no matrix of V x V.

    Args:
        rows: X [N, V].
        targets: Y [N, K].
        penalty: lambda, above 0.
        intercept: Whether there is b; it is 0 otherwise.
    """
    from sklearn.linear_model import Ridge  # takes a second to import, which would delay every search

    model = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-5, fit_intercept=intercept)
    fitted = model.fit(rows, np.asarray(targets, np.float64))
    matrix = np.atleast_2d(fitted.coef_).T.astype(np.float32)
    return matrix, np.broadcast_to(np.asarray(fitted.intercept_, np.float32), matrix.shape[1:]).copy()
