"""The fit of the cost model: that of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from texthash.index.memory.cost_model import non_negative_fit


@pytest.mark.parametrize("seed", range(40))
def test_the_fit_is_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, wanted = rng.normal(size=(20, 3)), rng.normal(size=20)
    assert non_negative_fit(columns, wanted) == pytest.approx(nnls(columns, wanted)[0], abs=1e-9)


def test_one_observation_and_none_that_helps() -> None:
    one = non_negative_fit(np.array([[2.0, 1.0, 1.0]]), np.ones(1))
    assert (one >= 0).all()
    assert np.array([2.0, 1.0, 1.0]) @ one == pytest.approx(1)
    assert non_negative_fit(-np.ones((3, 2)), np.ones(3)).tolist() == [0, 0]
