"""Training on texts at hand with the questions that they answer."""

from __future__ import annotations

import numpy as np
import pytest

import texthash
from texthash.errors import UsageError
from texthash.hamming import kernels

TREES = ["oak", "elm", "fir", "ash", "yew", "box", "bay", "fig", "bee", "cow", "dog", "cat"]
TEXTS = [f"{one} {two} {two}" for one in TREES for two in TREES]
QUESTIONS = [f"tell of {two} {one}" for one in TREES for two in TREES]
FEW = {"tower_epochs": 4, "epochs": 4, "dropout": 0.0, "batch_size": 32}


def test_a_question_finds_its_text_among_the_nearest(tmp_path):
    model = texthash.train("bpr", TEXTS, queries=QUESTIONS, bits=64, params=FEW)
    again = texthash.load(model.save(tmp_path / "model"))
    documents, asked = again.encode(TEXTS), again.encode(QUESTIONS, role="query")
    ranks = [
        np.argsort(kernels.distances(asked[row : row + 1], documents)[0]).tolist().index(row) for row in range(144)
    ]
    assert np.median(ranks) < 30, "of 144 texts"


def test_a_text_may_have_several_questions_or_none():
    queries = [[q, f"{q} please"] if row % 3 else None for row, q in enumerate(QUESTIONS)]
    assert texthash.train("dshc", TEXTS, queries=queries, bits=16, epochs=1).bits == 16


def test_no_question_among_the_texts_that_are_held_out_keeps_the_last_epoch():
    queries = [None] * 144
    queries[3] = queries[77] = queries[140] = "which tree"
    model = texthash.train("bpr", TEXTS, queries=queries, bits=16, epochs=1, validation=0.1, seed=1)
    assert model.bits == 16


@pytest.mark.parametrize("queries", [None, [None] * 144, [[]] * 144])
def test_a_method_that_learns_from_questions_needs_some(queries):
    with pytest.raises(UsageError, match=r"bpr learns from questions .* there is no question") as error:
        texthash.train("bpr", TEXTS, queries=queries)
    assert "queries" in error.value.remedy


def test_there_is_one_entry_for_each_text():
    with pytest.raises(UsageError, match="there are 2 queries for 144 texts"):
        texthash.train("bpr", TEXTS, queries=["one", "two"])
