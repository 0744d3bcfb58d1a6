"""Ridge regression from sparse rows: a linear map that stands in for what only training documents have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_SOLVED_AT_ONCE = 12_000  # words, of which a matrix of all pairs takes 576 MB
_COLUMNS = 1000


def ridge(
    rows: csr_matrix, targets: NDArray[np.floating], penalty: float, intercept: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return W [V, K] and b [K] of min ||X W + b - Y||_F^2 + lambda ||W||_F^2 (Hoerl & Kennard, 1970).

    Without b, and with up to 12,000 words, by the normal equations (X^T X + lambda I) W = X^T Y, which for hundreds of
    targets take an eighth of the time of conjugate gradients. Those need no matrix of V x V.

    Args:
        rows: X [N, V].
        targets: Y [N, K].
        penalty: lambda, above 0.
        intercept: Whether there is b; it is 0 otherwise.
    """
    if not intercept and rows.shape[1] <= _SOLVED_AT_ONCE:
        return _solved_at_once(rows, targets, penalty), np.zeros(targets.shape[1], np.float32)
    from sklearn.linear_model import Ridge  # takes a second to import, which would delay every search

    model = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-5, fit_intercept=intercept)
    fitted = model.fit(rows, np.asarray(targets, np.float64))
    matrix = np.atleast_2d(fitted.coef_).T.astype(np.float32)
    return matrix, np.broadcast_to(np.asarray(fitted.intercept_, np.float32), matrix.shape[1:]).copy()


def _solved_at_once(rows: csr_matrix, targets: NDArray[np.floating], penalty: float) -> NDArray[np.float32]:
    from scipy.linalg import cho_factor, cho_solve

    single = rows.astype(np.float32)
    columns, words = single.tocsc(), single.shape[1]
    gram = np.empty((words, words), np.float32)
    for start in range(0, words, _COLUMNS):  # the product as a sparse matrix would be larger than as a dense one
        some = slice(start, start + _COLUMNS)
        gram[some] = (columns[:, some].T @ single).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    known = single.T @ np.asarray(targets, np.float32)
    # The transpose of a symmetric matrix is the matrix itself, in the order in which it is solved in place.
    factor = cho_factor(gram.T, overwrite_a=True, check_finite=False)
    found: NDArray[np.float32] = cho_solve(factor, known, overwrite_b=True, check_finite=False)
    return found
