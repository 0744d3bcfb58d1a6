"""Severity of mistakes against all orders of tied documents, and against a plain ranking of real codes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.test_metrics import BITS, agree, over_all_orders
from texthash.config import EvaluationConfig
from texthash.corpora.label_tree import LabelTree
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.evaluation import metrics
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.scoring import Relevance
from texthash.evaluation.severity import mistake_severity, severity
from texthash.methods.registry import build
from texthash.models.encoding import calibrate
from texthash.models.hasher import Hasher

FAR, GROUP, LABEL = 0, 1, 2  # what a document shares with the query


def histogram(distances, kinds, least):
    return np.bincount([d for d, kind in zip(distances, kinds, strict=True) if kind >= least], minlength=BITS + 1)[None]


def plain(ranked, k):
    mistakes = [kind for kind in ranked[:k] if kind < LABEL]
    return mistakes.count(FAR) / max(1, len(mistakes))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, BITS), st.integers(FAR, LABEL)), min_size=1, max_size=6), st.integers(1, 8))
def test_severity_equals_all_orders(documents, k):
    distances, kinds = (list(values) for values in zip(*documents, strict=True))
    tied = mistake_severity(*(histogram(distances, kinds, least) for least in (FAR, LABEL, GROUP)), k)
    if LABEL not in kinds:
        assert all(np.isnan(value).all() for value in tied)
        return
    mean, most, least = over_all_orders(distances, kinds, lambda ranked: plain(ranked, k))
    agree(metrics.Tied(-tied.expected, -tied.best, -tied.worst), (-mean, -least, -most))


def test_groups_of_queries_and_documents_are_numbered_alike():
    """Also where the queries lack a label that comes first."""
    tree = LabelTree.of(["a.1", "a.2", "b.1", "c"], {"a.1": "a", "a.2": "a", "b.1": "b"})
    queries = np.array([0, 1]), np.array([2], np.int32)
    documents = np.array([0, 2, 3, 4, 5]), np.array([0, 1, 2, 3, 1], np.int32)
    codes = np.zeros((4, 1), np.uint8)
    found = severity(codes[:1], codes, Relevance(queries, documents), tree, k=4)
    assert found == {"severity_at_4": 1.0, "severity_at_4_best": 1.0, "severity_at_4_worst": 1.0}
    related = np.array([0, 1]), np.array([0], np.int32)
    found = severity(codes[:1], codes, Relevance(related, documents), tree, k=4)
    assert found["severity_at_4"] == pytest.approx(2 / 3), "one relevant, one of its group, two of others"


def test_an_evaluation_with_a_tree_has_the_severity_of_its_codes(small_corpus):
    names = small_corpus.label_names
    tree = dict.fromkeys(names[:4], "first") | dict.fromkeys(names[4:7], "second")  # the last one is a group of its own
    corpus = PreparedCorpus(small_corpus.path, replace(small_corpus.manifest, label_parents=tree))
    method = build("lsh", corpus.shape, 16)
    calibrate(method, corpus.train)
    found = EvaluationProtocol(corpus, EvaluationConfig(k=20)).evaluate_validation(Hasher.of(method, corpus))
    assert (
        "severity_at_20" not in EvaluationProtocol(small_corpus).evaluate_validation(Hasher.of(method, corpus)).metrics
    )
    bits = [np.unpackbits(codes, axis=1).astype(int) for codes in (found.query_codes, found.database_codes)]
    label = [split.labels.toarray().argmax(axis=1) for split in (corpus.validation, corpus.train)]
    group = [np.array([0, 0, 0, 0, 1, 1, 1, 2])[of] for of in label]
    orders = []
    for seed in range(40):
        shuffled = np.random.default_rng(seed).permutation(len(bits[1]))
        values = []
        for q in range(len(bits[0])):
            distance = np.abs(bits[1][shuffled] - bits[0][q]).sum(axis=1)
            first = shuffled[np.argsort(distance, kind="stable")[:20]]
            wrong, far = label[1][first] != label[0][q], group[1][first] != group[0][q]
            values.append(far.sum() / max(1, wrong.sum()))
        orders.append(np.mean(values))
    assert found.metrics["severity_at_20"] == pytest.approx(np.mean(orders), abs=5 * np.std(orders) / 40**0.5)
    assert found.metrics["severity_at_20_best"] < min(orders)
    assert max(orders) < found.metrics["severity_at_20_worst"]
