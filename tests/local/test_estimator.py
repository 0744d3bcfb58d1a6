"""The transformer inside scikit-learn."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from tests.local.conftest import LABELS, TEXTS
from texthash import TextHasher


def test_bits_are_the_unpacked_codes():
    bits = TextHasher(method="lsh", bits=8).fit(TEXTS)
    packed = TextHasher(method="lsh", bits=8, packed=True).fit(TEXTS)
    assert (np.packbits(bits.transform(TEXTS), axis=1) == packed.transform(TEXTS)).all()
    assert bits.get_feature_names_out().tolist() == [f"bit{n}" for n in range(8)]
    assert packed.get_feature_names_out().tolist() == ["byte0"]
    assert bits.n_features_out_ == bits.transform(["sort"]).shape[1]


def test_it_is_a_step_of_a_pipeline_and_of_a_grid_search():
    pipeline = make_pipeline(TextHasher(method="itq", bits=8), LogisticRegression())
    search = GridSearchCV(pipeline, {"texthasher__method": ["itq", "lsh"]}, cv=2).fit(TEXTS, LABELS)
    assert search.score(TEXTS, LABELS) > 0.9


def test_it_is_a_good_estimator():
    estimator = TextHasher(bits=64, params={"hidden": 9})
    assert clone(estimator).get_params() == estimator.get_params()
    assert estimator.set_params(bits=8).bits == 8
    with pytest.raises(NotFittedError):
        estimator.transform(TEXTS)
    assert "bits=8" in repr(estimator)


# Those of scikit-learn's checks that give no matrix of numbers to an estimator: its own selection leaves one of them.
CHECKS = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_mixin_order,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_set_params,
    estimator_checks.check_valid_tag_types,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks_of_scikit_learn(check):
    check("TextHasher", TextHasher(method="lsh", bits=8))


def test_scikit_learn_checks_what_it_selects():
    estimator_checks.check_estimator(TextHasher(method="lsh", bits=8))


def test_a_fitted_estimator_is_pickled():
    fitted = TextHasher(method="itq", bits=8).fit(TEXTS)
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.transform(TEXTS) == fitted.transform(TEXTS)).all()
    assert (fitted.fit_transform(TEXTS) == fitted.transform(TEXTS)).all()
