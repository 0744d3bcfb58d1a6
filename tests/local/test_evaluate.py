"""Figures against all orders of tied documents."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

import texthash
from tests.local.conftest import LABELS, TEXTS
from texthash.errors import UsageError
from texthash.hamming.codes import unpack

SOME = [0, 1, 13, 14, 15, 2]
GRADES = {"0": 2, "13": 1, "15": 3}


def orders(model: texthash.Hasher, query: str) -> list[list[int]]:
    """Return every order of the documents in which no nearer one comes after a farther one."""
    distances = (unpack(model.encode([query])) != unpack(model.encode([TEXTS[row] for row in SOME]))).sum(axis=1)
    kept = [order for order in permutations(range(len(SOME))) if (np.diff(distances[list(order)]) >= 0).all()]
    return [[SOME[place] for place in order] for order in kept]


def ndcg(order: list[int], k: int) -> float:
    """Gain 2^g - 1 or g is the library's choice; this is the linear one."""
    gains = [GRADES.get(str(row), 0) for row in order]
    discount = 1 / np.log2(np.arange(2, len(gains) + 2))
    return float(np.dot(gains[:k], discount[:k]) / np.dot(sorted(gains, reverse=True)[:k], discount[:k]))


@pytest.mark.parametrize("query", ["open a file", "sort numbers", "read numbers"])
def test_figures_are_those_of_all_orders_of_ties(model, query):
    documents = {str(row): TEXTS[row] for row in SOME}
    figures = texthash.evaluate(model, {"q": query}, documents, {"q": GRADES}, k=[3])
    every = orders(model, query)
    for name, of_order in {
        "ndcg_at_3": lambda order: ndcg(order, 3),
        "p_at_3": lambda order: np.mean([str(row) in GRADES for row in order[:3]]),
        "recall_at_3": lambda order: sum(str(row) in GRADES for row in order[:3]) / len(GRADES),
        "mrr": lambda order: 1 / (1 + min(place for place, row in enumerate(order) if str(row) in GRADES)),
    }.items():
        found = [of_order(order) for order in every]
        assert figures[name].expected == pytest.approx(np.mean(found)), name
        assert figures[name].best == pytest.approx(max(found)), name
        assert figures[name].worst == pytest.approx(min(found)), name
    assert figures.queries == 1
    assert "ndcg_at_3" in repr(figures)


def test_queries_without_a_relevant_document_are_left_out(model):
    judged = {"0": [str(row) for row, label in enumerate(LABELS) if label == "file"], "1": []}
    figures = texthash.evaluate(model, ["open a file", "sort"], TEXTS, judged, k=[5])
    assert figures.queries == 1
    with pytest.raises(UsageError, match="none of 1 queries"):
        texthash.evaluate(model, ["sort"], TEXTS, {})


def test_grades_below_0_are_not_relevant_as_in_files(model):
    graded = {"0": {"0": 12, "1": 1, "2": -1}, "1": {"3": -2}}
    figures = texthash.evaluate(model, ["sort an array", "sort"], TEXTS, graded, k=[3])
    assert figures == texthash.evaluate(model, ["sort an array", "sort"], TEXTS, {"0": {"0": 12, "1": 1}}, k=[3])
    assert figures.queries == 1


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ({"7": ["0"]}, "judges 1 queries that are not given, such as '7'"),
        ({"0": ["x"]}, "names the document 'x'"),
        ({"0": {"1": 101}}, "=101 is not a grade"),
        ({"0": {"1": float("-inf")}}, "=-inf is not a grade"),
        ({"0": {"1": 0.5}}, "=0.5 is not a grade"),
        ({"0": {"1": float("nan")}}, "=nan is not a grade"),
        ({"0": {"1": float("inf")}}, "=inf is not a grade"),
        ({"0": {"1": None}}, "=None is not a grade"),
        ({"0": {"1": "1"}}, "='1' is not a grade"),
        ([["1"]], "qrels is a list, not a mapping"),
        ({"0": 1}, r"qrels\['0'\]=1 is no list of ids"),
    ],
    ids=str,
)
def test_judgements_that_cannot_be_are_refused(model, qrels, message):
    with pytest.raises(UsageError, match=message):
        texthash.evaluate(model, ["sort"], TEXTS, qrels)
