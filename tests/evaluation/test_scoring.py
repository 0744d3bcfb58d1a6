"""Figures of codes against plain loops over documents, and what no figure may depend on."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from texthash.config import EvaluationConfig
from texthash.errors import ModelMismatchError, UsageError
from texthash.evaluation.scoring import Relevance, Scores, expected, score

CONFIG = EvaluationConfig(k=10, curve=(1, 10, 50, 5000))


def label_sets(sets: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *(len(one) for one in sets)]).astype(np.int64)
    return indptr, np.array([label for one in sets for label in sorted(one)], np.int32)


class Case:
    """Codes that follow their labels loosely: two labels a document at most, one query in ten with none."""

    def __init__(self, bits: int = 16, queries: int = 40, documents: int = 300, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        centres = generator.integers(0, 256, (6, bits // 8), dtype=np.uint8)

        def draw(count: int) -> tuple[np.ndarray, list[set[int]]]:
            labels = [set(generator.choice(6, generator.integers(1, 3), replace=False).tolist()) for _ in range(count)]
            noise = np.packbits(generator.random((count, bits)) < 0.2, axis=1)
            return centres[[min(one) for one in labels]] ^ noise, labels

        self.query_codes, self.query_labels = draw(queries)
        self.codes, self.labels = draw(documents)
        for query in range(0, queries, 10):
            self.query_labels[query] = set()

    def score(self) -> Scores:
        relevance = Relevance(label_sets(self.query_labels), label_sets(self.labels))
        return score(self.query_codes, self.codes, relevance, CONFIG)

    def gains(self, query: int) -> np.ndarray:
        return np.array([len(self.query_labels[query] & one) for one in self.labels])

    def distances(self, query: int) -> np.ndarray:
        return np.unpackbits(self.query_codes[query] ^ self.codes, axis=1).sum(axis=1).astype(int)


def test_expected_figures_are_the_mean_over_shuffled_databases():
    case, generator = Case(), np.random.default_rng(1)
    got = case.score()
    precision, average, ndcg = [], [], []
    for query in range(40):
        gains, distances = case.gains(query), case.distances(query)
        if not gains.any():
            continue
        orders = np.argsort(distances + generator.random((300, 300)) * 0.5, axis=1)
        ranked = gains[orders]
        hit = ranked > 0
        precision.append(hit[:, :10].mean())
        average.append(((np.cumsum(hit, axis=1) / np.arange(1, 301)) * hit).sum(axis=1).mean() / hit[0].sum())
        discount = 1 / np.log2(np.arange(2, 12))
        ndcg.append((ranked[:, :10] @ discount).mean() / (np.sort(gains)[::-1][:10] @ discount))
    assert got.metrics["p_at_10"] == pytest.approx(np.mean(precision), abs=0.003)
    assert got.metrics["map"] == pytest.approx(np.mean(average), abs=0.003)
    assert got.metrics["ndcg_at_10"] == pytest.approx(np.mean(ndcg), abs=0.003)


def test_radius_and_distances_are_plain_counts():
    case = Case()
    got = case.score()
    ball, empty, near, far = [], [], [], []
    for query in range(40):
        relevant, distances = case.gains(query) > 0, case.distances(query)
        if not relevant.any():
            continue
        inside = relevant[distances <= 2]
        ball.append(inside.mean() if inside.size else 0.0)
        empty.append(inside.size == 0)
        near.append(distances[relevant].mean())
        far.append(distances[~relevant].mean())
    assert got.metrics["radius2_precision"] == pytest.approx(np.mean(ball))
    assert got.metrics["radius2_empty_rate"] == pytest.approx(np.mean(empty))
    assert got.metrics["distance_relevant"] == pytest.approx(np.mean(near))
    assert got.metrics["distance_other"] == pytest.approx(np.mean(far))


def test_queries_without_relevant_documents_are_counted_not_averaged():
    got = Case().score()
    assert (got.metrics["queries"], got.metrics["queries_skipped"], got.metrics["documents"]) == (36, 4, 300)
    assert np.flatnonzero(np.isnan(got.per_query)).tolist() == [0, 10, 20, 30]
    assert got.metrics["p_at_10"] == pytest.approx(np.nanmean(got.per_query))


def test_the_order_of_the_database_changes_nothing():
    case = Case()
    before = case.score()
    order = np.random.default_rng(2).permutation(300)
    case.codes, case.labels = case.codes[order], [case.labels[i] for i in order]
    after = case.score()
    assert after.metrics == pytest.approx(before.metrics, abs=1e-12)
    np.testing.assert_allclose(after.per_query, before.per_query, atol=1e-12)


def test_blocks_of_queries_change_nothing(monkeypatch):
    whole = Case().score()
    monkeypatch.setattr("texthash.evaluation.scoring._CELLS", 1000)
    parts = Case().score()
    assert parts.metrics == pytest.approx(whole.metrics, abs=1e-12)
    assert parts.curves == whole.curves


def test_expected_precision_is_the_figure_of_the_whole_score():
    case = Case()
    relevance = Relevance(label_sets(case.query_labels), label_sets(case.labels))
    alone = expected(case.query_codes, case.codes, relevance, 10)
    assert alone == pytest.approx(case.score().metrics["p_at_10"], abs=1e-12)


def test_curve_leaves_out_cuts_beyond_the_database():
    curves = Case().score().curves
    assert curves["k"] == [1, 10, 50]
    assert all(
        low <= middle <= high
        for low, middle, high in zip(*(curves[n] for n in ("p_worst", "p", "p_best")), strict=True)
    )
    assert curves["radius_recall"][-1] == 1.0
    assert len(curves["radius_precision"]) == 17


def test_equal_codes_have_the_prevalence_at_every_cut():
    case = Case()
    case.codes[:], case.query_codes[:] = 5, 5
    got = case.score()
    known = [query for query in range(40) if case.query_labels[query]]
    prevalence = np.mean([(case.gains(query) > 0).mean() for query in known])
    assert got.metrics["p_at_10"] == pytest.approx(prevalence, abs=1e-12)
    assert got.curves["p"] == pytest.approx([prevalence] * 3, abs=1e-12)
    assert got.metrics["radius2_precision"] == pytest.approx(prevalence, abs=1e-12)


def test_what_does_not_fit_is_named():
    case = Case()
    queries, database = label_sets(case.query_labels), label_sets(case.labels)
    with pytest.raises(ModelMismatchError, match="39 codes for 40 queries"):
        score(case.query_codes[1:], case.codes, Relevance(queries, database), CONFIG)
    with pytest.raises(ModelMismatchError, match="16 bits where 24"):
        score(case.query_codes, np.zeros((300, 3), np.uint8), Relevance(queries, database), CONFIG)
    with pytest.raises(UsageError, match="none of 40 queries"):
        score(case.query_codes, case.codes, Relevance(label_sets([set()] * 40), database), CONFIG)


def test_answers_under_all_orders_of_ties():
    """Recall, hits and MRR of one or several answers, against every permutation of seven documents."""
    codes = np.array([[0], [1], [1], [1], [3], [3], [7]], np.uint8)  # distances 0 1 1 1 2 2 3 from the code 0
    answers = [{2}, {4}, {1, 5}, {1, 2, 3}, {0, 6}]
    queries = np.zeros((len(answers), 1), np.uint8)
    distances = np.unpackbits(codes, axis=1).sum(axis=1).astype(int)
    orders = [order for order in permutations(range(7)) if (np.diff(distances[list(order)]) >= 0).all()]
    got = score(
        queries,
        codes,
        Relevance.answers(label_sets(answers), 7),
        EvaluationConfig(k=3, curve=(1, 2, 3)),
        measure="recall",
    )

    def over_orders(figure):
        values = np.array([[figure(order, wanted) for order in orders] for wanted in answers])
        return {"": values.mean(), "_best": values.max(axis=1).mean(), "_worst": values.min(axis=1).mean()}

    def check(name, figure):
        for edge, value in over_orders(figure).items():
            assert got.metrics[name + edge] == pytest.approx(value, abs=1e-12), name + edge

    check("mrr", lambda order, wanted: 1 / (1 + min(order.index(document) for document in wanted)))
    for k in (1, 3, 10):
        check(f"recall_at_{k}", lambda order, wanted, k=k: len(wanted & set(order[:k])) / len(wanted))
        check(f"hit_at_{k}", lambda order, wanted, k=k: bool(wanted & set(order[:k])))
    for place, k in enumerate(got.curves["k"]):
        expected_there = over_orders(lambda order, wanted, k=k: len(wanted & set(order[: int(k)])) / len(wanted))
        for edge, value in expected_there.items():
            assert got.curves["recall" + edge][place] == pytest.approx(value, abs=1e-12)
    assert got.per_query.mean() == pytest.approx(got.metrics["recall_at_3"])
    alone = expected(queries, codes, Relevance.answers(label_sets(answers), 7), 3, measure="recall")
    assert alone == pytest.approx(got.metrics["recall_at_3"], abs=1e-12)
