"""Metrics of lists with scores: against the plain metric over every order of ties, scikit-learn and trec_eval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from texthash.errors import UsageError
from texthash.evaluation.retrieval.ranked import Cuts, Ranked, bucketed, by_query

Plain = Callable[[list[int], list[int]], float]
CUTS = Cuts(ndcg=(1, 3), mrr=(2,), recall=(3, 9), success=(1, 3), precision=(3,))


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[int, float], dict[int, int]]:
    """Scores of up to 6 listed documents of 8, and grades of some documents, at least one of them relevant."""
    listed = draw(st.lists(st.integers(0, 7), max_size=6, unique=True))
    scores = {number: draw(st.sampled_from([0.5, 0.25, -1.0])) for number in listed}
    grades = draw(
        st.dictionaries(st.integers(0, 7), st.integers(-1, 3)).filter(lambda of: any(g > 0 for g in of.values()))
    )
    return scores, grades


def ranked(scores: dict[int, float]) -> Ranked:
    return Ranked(np.array(list(scores), np.int64), np.array(list(scores.values()), np.float64))


def dcg(gains: list[int], k: int, exponential: bool) -> float:
    return sum((2**g - 1 if exponential else g) / math.log2(rank + 1) for rank, g in enumerate(gains[:k], 1))


def average_precision(gains: list[int], ideal: list[int]) -> float:
    found = [rank for rank, g in enumerate(gains, 1) if g]
    return sum(number / rank for number, rank in enumerate(found, 1)) / len(ideal)


PLAIN: dict[str, Plain] = {
    "ndcg_at_1": lambda gains, ideal: dcg(gains, 1, False) / dcg(ideal, 1, False),
    "ndcg_at_3": lambda gains, ideal: dcg(gains, 3, False) / dcg(ideal, 3, False),
    "mrr_at_2": lambda gains, ideal: next((1 / rank for rank, g in enumerate(gains[:2], 1) if g), 0.0),
    "recall_at_3": lambda gains, ideal: sum(g > 0 for g in gains[:3]) / len(ideal),
    "recall_at_9": lambda gains, ideal: sum(g > 0 for g in gains) / len(ideal),
    "success_at_1": lambda gains, ideal: float(any(gains[:1])),
    "success_at_3": lambda gains, ideal: float(any(gains[:3])),
    "r_precision": lambda gains, ideal: sum(g > 0 for g in gains[: len(ideal)]) / len(ideal),
    "p_at_3": lambda gains, ideal: sum(g > 0 for g in gains[:3]) / 3,
    "p_at_3_ceiling": lambda gains, ideal: min(len(ideal), 3) / 3,
    "map": average_precision,
}


def over_all_orders(scores: dict[int, float], grades: dict[int, int], plain: Plain) -> tuple[float, float, float]:
    ideal = sorted((g for g in grades.values() if g > 0), reverse=True)
    orders = [sorted(order, key=lambda number: -scores[number]) for order in itertools.permutations(scores)]
    values = [plain([max(grades.get(number, 0), 0) for number in order], ideal) for order in orders]
    return float(np.mean(values)), max(values), min(values)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_metric_is_the_mean_over_all_orders_of_equal_scores(case):
    scores, grades = case
    found = by_query([bucketed(ranked(scores), grades)], CUTS)
    assert found.keys() == PLAIN.keys()
    for name, plain in PLAIN.items():
        got = [float(value[0]) for value in found[name]]
        assert got == pytest.approx(over_all_orders(scores, grades, plain), abs=1e-9), name


@settings(max_examples=50, deadline=None)
@given(cases())
def test_the_exponential_gain_is_that_of_every_order(case):
    scores, grades = case
    found = by_query([bucketed(ranked(scores), grades)], CUTS._replace(gain="exponential"))["ndcg_at_3"]
    plain = over_all_orders(scores, grades, lambda gains, ideal: dcg(gains, 3, True) / dcg(ideal, 3, True))
    assert [float(value[0]) for value in found] == pytest.approx(plain, abs=1e-12)


def test_queries_of_different_shapes_are_averaged_together_and_those_without_a_relevant_document_are_left_out():
    one, other = bucketed(ranked({0: 1.0, 1: 1.0}), {1: 3}), bucketed(ranked({2: 1.0}), {2: 1, 4: 1})
    found = by_query([one, bucketed(ranked({0: 1.0}), {0: 0}), other])
    assert found["recall_at_10"].expected.tolist() == pytest.approx([1.0, np.nan, 0.5], nan_ok=True)
    assert found["recall_at_10"].mean()[0] == 0.75
    assert len(by_query([])["map"].expected) == 0


def test_ties_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    grades, scores = rng.integers(0, 4, (20, 60)), rng.integers(0, 9, (20, 60)) / 7
    cases = zip(grades, scores, strict=True)
    histograms = [bucketed(Ranked(np.arange(60), s), dict(enumerate(g.tolist()))) for g, s in cases]
    found = by_query(histograms)["ndcg_at_10"].expected
    assert found.mean() == pytest.approx(ndcg_score(grades, scores, k=10), abs=1e-12)


def test_lists_without_ties_are_those_of_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(0)
    grades = [{int(d): int(rng.integers(-1, 4)) for d in rng.permutation(300)[:40]} for _ in range(30)]
    lists = [Ranked(rng.permutation(300)[:200], rng.random(200)) for _ in range(30)]
    found = by_query([bucketed(*case) for case in zip(lists, grades, strict=True)])
    names = {
        "ndcg_cut_10": "ndcg_at_10",
        "recall_10": "recall_at_10",
        "recall_100": "recall_at_100",
        "recall_1000": "recall_at_1000",
        "success_10": "success_at_10",
        "Rprec": "r_precision",
        "P_10": "p_at_10",
        "map": "map",
    }
    qrels = {str(q): {str(d): g for d, g in of.items()} for q, of in enumerate(grades)}
    run = {str(q): dict(zip(map(str, of.documents), of.scores.tolist(), strict=True)) for q, of in enumerate(lists)}
    measures = {"ndcg_cut.10", "recall.10,100,1000", "success.10", "Rprec", "P.10", "map"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    for their_name, name in names.items():
        expected = [theirs[str(q)][their_name] for q in range(30)]
        assert found[name].expected.tolist() == pytest.approx(expected, abs=1e-6), name


def test_what_cannot_be_ranked_is_named():
    with pytest.raises(UsageError, match="not a number"):
        bucketed(Ranked(np.array([0]), np.array([np.nan])), {0: 1})
    with pytest.raises(UsageError, match="grade of 101"):
        bucketed(ranked({0: 1.0}), {0: 101})
