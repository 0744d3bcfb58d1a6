"""Ridge regression from sparse rows, beside the normal equations of dense ones."""

import numpy as np
import pytest
from scipy import sparse

from texthash.nn import ridge as module
from texthash.nn.ridge import ridge

ROWS, WORDS, TARGETS, PENALTY = 300, 1100, 7, 0.3  # more words than the columns of one block


@pytest.mark.parametrize("words_at_once", [0, WORDS])
def test_it_solves_the_normal_equations_at_once_and_by_conjugate_gradients(monkeypatch, words_at_once):
    monkeypatch.setattr(module, "_SOLVED_AT_ONCE", words_at_once)
    random = np.random.default_rng(0)
    rows = sparse.random(ROWS, WORDS, 0.02, "csr", np.float32, random)
    targets = random.normal(size=(ROWS, TARGETS)).astype(np.float32)
    before = targets.copy()
    matrix, offset = ridge(rows, targets, PENALTY, intercept=False)
    dense = rows.toarray().astype(np.float64)
    expected = np.linalg.solve(dense.T @ dense + PENALTY * np.eye(WORDS), dense.T @ targets)
    np.testing.assert_allclose(matrix, expected, atol=2e-4 * np.abs(expected).max())
    assert (matrix.dtype, matrix.shape, offset.shape) == (np.float32, (WORDS, TARGETS), (TARGETS,))
    assert not offset.any()
    np.testing.assert_array_equal(targets, before)
