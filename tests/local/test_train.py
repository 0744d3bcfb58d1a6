"""Training on texts at hand."""

from __future__ import annotations

import numpy as np
import pytest

import texthash
from tests.local.conftest import LABELS, TEXTS
from texthash.config import Edition
from texthash.errors import TexthashError, UsageError


def test_a_seed_makes_a_model_repeatable_and_another_one_another():
    codes = [texthash.train("nash", TEXTS, bits=16, epochs=1, seed=seed).encode(TEXTS) for seed in (3, 3, 4)]
    assert (codes[0] == codes[1]).all()
    assert (codes[0] != codes[2]).any()


def test_hyper_parameters_labels_and_the_edition_reach_the_method():
    model = texthash.train(
        "vdsh_s",
        TEXTS,
        bits=8,
        labels=LABELS,
        params={"hidden": 7},
        epochs=1,
        edition=Edition(name="mine", stop_words=None),
    )
    assert model.method.hyperparameters["hidden"] == 7
    assert model.method.shape.labels == 2
    assert "an" in model.vocabulary.terms
    assert model.edition.name == "mine"


def test_texts_without_labels_need_no_warning(capsys):
    texthash.train("itq", TEXTS, bits=8)
    assert "label" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "nsah"}, "nash"),
        ({"params": {"hiden": 7}}, "hidden"),
        ({"bits": 12}, "bits"),
        ({"texts": TEXTS[:2]}, "texts: 2 given"),
        ({"validation": 0}, "validation=0"),
        ({"validation": 1.0}, "validation=1.0"),
        ({"epochs": 0}, "epochs"),
        ({"texts": ["", " ", "!"]}, "."),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_training(arguments, message):
    settings = {"method": "nash", "texts": TEXTS, **arguments}
    with pytest.raises(TexthashError, match=message):
        texthash.train(settings.pop("method"), settings.pop("texts"), **settings)


def test_labels_of_another_number_are_refused():
    with pytest.raises(UsageError, match="1 labels for"):
        texthash.train("nash", TEXTS, labels=["a"])


def test_few_texts_train_too():
    model = texthash.train("lsh", ["sort numbers", "open files", "sort files"], bits=8)
    assert model.encode(["sort"]).dtype == np.uint8
