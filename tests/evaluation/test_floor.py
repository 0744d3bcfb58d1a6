"""What stands beside a model: the figures of methods without learning, and a warning where these are better."""

from __future__ import annotations

import numpy as np
import pytest

from texthash.config import Config, EvaluationConfig, MethodConfig, TrainingConfig
from texthash.evaluation.baselines import floor
from texthash.evaluation.baselines.cosine import float_cosine
from texthash.evaluation.baselines.floor import with_floor
from texthash.evaluation.metrics import mean
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.experiments.experiment import Experiment
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

CONFIG = EvaluationConfig(k=20)


def hasher_of(name, corpus, bits=16, **training):
    method = build(name, corpus.shape, bits)
    return Hasher.of(fit(method, corpus.train, TrainingConfig(**training)).method, corpus)


def test_the_floor_is_what_each_method_reaches_by_itself(small_corpus):
    hasher = hasher_of("itq", small_corpus)
    plain = EvaluationProtocol(small_corpus, CONFIG).evaluate_validation(hasher)
    found = with_floor(plain, small_corpus, hasher).references
    assert list(found) == ["random", "tfidf cosine", "sublinear_tfidf cosine", "bm25 cosine", "itq 16"]
    shares = np.asarray(small_corpus.train.labels.mean(axis=0)).ravel()
    prevalence = np.mean([shares[row.indices[0]] for row in small_corpus.validation.labels])
    assert found["random"] == pytest.approx(prevalence)
    assert found["tfidf cosine"] == pytest.approx(mean(float_cosine(small_corpus, 20)))
    rows = [small_corpus.validation.matrix("bm25"), small_corpus.train.matrix("bm25")]
    queries, database = (m.toarray() / np.linalg.norm(m.toarray(), axis=1, keepdims=True) for m in rows)
    near = np.argsort(-(queries @ database.T), axis=1, kind="stable")[:, :20]
    labels = [split.labels.toarray().argmax(axis=1) for split in (small_corpus.validation, small_corpus.train)]
    assert found["bm25 cosine"] == pytest.approx((labels[1][near] == labels[0][:, None]).mean(), abs=5e-3)
    assert found["itq 16"] == pytest.approx(plain.metrics["p_at_20"])


def test_a_model_below_the_floor_is_warned_about_and_one_above_is_not(small_corpus):
    protocol = EvaluationProtocol(small_corpus, CONFIG)
    for hasher, warned in (
        (hasher_of("nash", small_corpus, epochs=1), True),
        (hasher_of("itq", small_corpus), False),
        (hasher_of("lsh", small_corpus), False),
    ):
        evaluation = with_floor(protocol.evaluate_validation(hasher), small_corpus, hasher)
        below = [warning for warning in evaluation.warnings if "below the floor" in warning]
        assert bool(below) == warned, evaluation
        if below:
            assert f"itq 16 ({evaluation.references['itq 16']:.4f})" in below[0]


def test_a_sample_of_the_queries_is_said_and_the_model_is_compared_on_it(small_corpus, monkeypatch):
    monkeypatch.setattr(floor, "QUERIES", 50)
    hasher = hasher_of("itq", small_corpus)
    evaluation = with_floor(EvaluationProtocol(small_corpus, CONFIG).evaluate_validation(hasher), small_corpus, hasher)
    assert f"50 of {len(small_corpus.validation)} queries" in " ".join(evaluation.warnings)
    own = evaluation.references["itq 16"]
    assert f"on these the model has p_at_20 {own:.4f}" in " ".join(evaluation.warnings)


def test_train_logs_and_reports_the_floor(small_config, small_corpus, tmp_path):
    config = Config(corpus=small_config, method=MethodConfig(name="lsh", bits=16), evaluation=CONFIG)
    study = Experiment(config, StateDir(tmp_path), small_corpus)
    model = study.train(0)
    found = study.evaluate(model, test=False)["validation"]
    logged = model.run._client.get_run(model.run.server_id).data.metrics
    assert logged["floor/itq_16"] == pytest.approx(found.references["itq 16"])
    assert logged["floor/random"] == pytest.approx(found.references["random"])
    assert study.evaluate(model, test=False)["validation"].references == found.references, "kept with the evaluation"
    report = study.report([model], model.run).with_name("report.md").read_text(encoding="utf-8")
    for name, value in found.references.items():
        assert f"| {name} |  |  | {value:.4f} |" in report


def test_a_width_that_itq_cannot_have_is_left_out(small_corpus):
    hasher = hasher_of("lsh", small_corpus, bits=1024)
    evaluation = EvaluationProtocol(small_corpus, CONFIG).evaluate_validation(hasher)
    assert list(with_floor(evaluation, small_corpus, hasher).references) == [
        "random",
        "tfidf cosine",
        "sublinear_tfidf cosine",
        "bm25 cosine",
    ]
