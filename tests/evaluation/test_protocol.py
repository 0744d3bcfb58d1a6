"""The protocol on a small real corpus with real methods."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
import torch

from texthash.config import CorpusConfig, Edition, EvaluationConfig, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import UsageError
from texthash.evaluation.baselines.cosine import activation_cosine, float_cosine_reference
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.results import Evaluation
from texthash.methods.registry import build
from texthash.models.encoding import activations_of, split_batches
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

CONFIG = EvaluationConfig(k=20, curve=(1, 5, 20, 100))


@pytest.fixture(scope="module")
def hasher(small_corpus):
    method = build("itq", small_corpus.shape, 16)
    return Hasher.of(fit(method, small_corpus.train, TrainingConfig()).method, small_corpus)


@pytest.fixture(scope="module")
def evaluation(small_corpus, hasher):
    return EvaluationProtocol(small_corpus, CONFIG).evaluate_validation(hasher)


def test_validation_queries_against_train(small_corpus, evaluation):
    assert (evaluation.corpus, evaluation.edition, evaluation.split) == ("small", "random60", "validation")
    assert len(evaluation.query_codes) == len(small_corpus.validation) == len(evaluation.query_labels)
    assert len(evaluation.database_codes) == len(small_corpus.train)
    assert evaluation.metrics["documents"] == len(small_corpus.train)
    names = {"p_at_20", "p_at_20_worst", "p_at_20_best", "map", "ndcg_at_20", "recall_at_20", "radius2_precision"}
    assert names | {"radius2_empty_rate", "mrr", "queries_skipped"} <= set(evaluation.metrics)
    assert evaluation.metrics["p_at_20"] == pytest.approx(np.nanmean(evaluation.per_query))
    assert evaluation.flat()["codes/bit_balance"] == evaluation.diagnostics["bit_balance"]


def test_learned_codes_beat_chance_and_the_reference_is_above_both(small_corpus, evaluation):
    labels = small_corpus.train.labels
    chance = float(np.square(np.asarray(labels.mean(axis=0))).sum())
    reference = float_cosine_reference(small_corpus, k=20)
    assert chance + 0.1 < evaluation.metrics["p_at_20"] < reference + 0.05
    assert chance + 0.2 < reference < 1


def test_float_reference_equals_a_plain_ranking(small_corpus, monkeypatch):
    monkeypatch.setattr("texthash.evaluation.baselines.cosine._CELLS", 5000)  # several blocks
    similarity = (small_corpus.validation.matrix() @ small_corpus.train.matrix().T).toarray()
    relevant = (small_corpus.validation.labels.astype(int) @ small_corpus.train.labels.T.astype(int)).toarray() > 0
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(20):  # the tie order of a database in random order
        order = generator.permutation(similarity.shape[1])
        top = np.argsort(-similarity[:, order], axis=1, kind="stable")[:, :20]
        drawn.append(np.take_along_axis(relevant[:, order], top, axis=1).mean(axis=1)[relevant.any(axis=1)].mean())
    assert float_cosine_reference(small_corpus, k=20) == pytest.approx(np.mean(drawn), abs=2e-3)


def test_the_cosine_of_activations_equals_a_plain_ranking(small_corpus, hasher):
    method = hasher.method
    vectors = {}
    for split in (small_corpus.train, small_corpus.validation):
        margins = activations_of(method, split_batches(method, split)) - method.binarizer.thresholds
        vectors[split.name] = torch.nn.functional.normalize(margins).detach().numpy()
    similarity = vectors["validation"] @ vectors["train"].T
    relevant = (small_corpus.validation.labels.astype(int) @ small_corpus.train.labels.T.astype(int)).toarray() > 0
    top = np.argsort(-similarity, axis=1)[:, :20]
    precision = np.take_along_axis(relevant, top, axis=1).mean(axis=1)[relevant.any(axis=1)].mean()
    assert activation_cosine(method, small_corpus, k=20) == pytest.approx(precision, abs=1e-3)


def test_validator_is_the_validation_figure_and_travels(small_corpus, hasher, evaluation):
    validator = EvaluationProtocol(small_corpus, CONFIG).validator()
    expected = evaluation.metrics["p_at_20"]
    assert validator(hasher.method) == pytest.approx(expected, abs=1e-12)
    sent = pickle.dumps(validator)
    assert len(sent) < 2000
    assert pickle.loads(sent)(hasher.method) == pytest.approx(expected, abs=1e-12)


def test_models_can_be_chosen_by_another_figure(small_corpus, hasher, evaluation):
    for name in ("map", "ndcg_at_20", "mrr", "radius2_precision"):
        protocol = EvaluationProtocol(small_corpus, EvaluationConfig(k=20, selection_metric=name))
        assert protocol.metric == name
        assert protocol.validator()(hasher.method) == pytest.approx(evaluation.metrics[name])
    with pytest.raises(UsageError, match=r"selection_metric=maps: there is no such metric.*\n.*did you mean 'map'"):
        EvaluationProtocol(small_corpus, EvaluationConfig(selection_metric="maps"))


def test_training_does_not_begin_to_select_where_nothing_is_relevant(small_documents, tmp_path):
    rows = tmp_path / "rows.jsonl"
    with rows.open("w") as file:
        for number, document in enumerate(small_documents[::10]):  # no label is in two documents
            file.write(json.dumps({"text": document.text, "label": f"label-{number}"}) + "\n")
    config = CorpusConfig(name="apart", path=str(rows), edition=Edition(vocabulary_size=100))
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))
    method = build("lsh", corpus.shape, 16)
    with pytest.raises(UsageError, match="queries has a relevant document"):
        fit(method, corpus.train, TrainingConfig(), validate=EvaluationProtocol(corpus, CONFIG).validator())


def test_validate_gives_the_metrics(small_corpus, hasher, evaluation):
    assert EvaluationProtocol(small_corpus, CONFIG).validate(hasher) == evaluation.metrics


def test_test_is_released_once_per_study(small_corpus, hasher):
    protocol = EvaluationProtocol(small_corpus, CONFIG)
    first = protocol.evaluate_test_once(hasher, "itq-16-s0")
    assert first.split == "test"
    assert len(first.query_codes) == len(small_corpus.split("test"))
    with pytest.raises(UsageError, match="already used for the experiment 'itq-16-s0'"):
        protocol.evaluate_test_once(hasher, "itq-16-s0")
    again = protocol.evaluate_test_once(hasher, "itq-16-s1")
    assert again.metrics == first.metrics


def test_a_failed_release_spends_nothing(small_corpus, hasher):
    class Broken:
        def encode_split(self, split, role="document"):
            raise RuntimeError("out of memory")

    protocol = EvaluationProtocol(small_corpus, CONFIG)
    with pytest.raises(RuntimeError, match="out of memory"):
        protocol.evaluate_test_once(Broken(), "study")
    assert protocol.evaluate_test_once(hasher, "study").split == "test"


def test_both_roles_are_asked_for(small_corpus, hasher):
    asked = []

    class Spy:
        def encode_split(self, split, role="document"):
            asked.append((split.name, role))
            return hasher.encode_split(split, role)

    EvaluationProtocol(small_corpus, CONFIG).validate(Spy())
    assert sorted(asked) == [("train", "document"), ("validation", "query")]


def test_collapsed_codes_are_warned_about(small_corpus):
    class Constant:
        def encode_split(self, split, role="document"):
            return np.zeros((len(split), 4), np.uint8)

    found = EvaluationProtocol(small_corpus, CONFIG).evaluate_validation(Constant())
    assert found.collapse in found.warnings
    assert "collapsed" in found.collapse


def test_collapse_is_judged_by_the_queries_which_training_has_not_seen(small_corpus, hasher):
    class Memory:
        def encode_split(self, split, role="document"):
            codes = hasher.encode_split(split, role)
            return codes if split.name == "train" else np.zeros_like(codes)

    found = EvaluationProtocol(small_corpus, CONFIG).evaluate_validation(Memory())
    assert found.collapse is not None
    assert found.diagnostics["entropy"] > 0.5
    assert EvaluationProtocol(small_corpus, CONFIG).evaluate_validation(hasher).collapse is None


def test_more_hits_than_documents_are_warned_about(small_corpus, hasher):
    n = len(small_corpus.train)
    found = EvaluationProtocol(small_corpus, EvaluationConfig(k=n + 1)).evaluate_validation(hasher)
    assert any(f"k={n + 1} exceeds the {n} documents" in warning for warning in found.warnings)
    assert found.metrics[f"p_at_{n + 1}"] < 1
    exact = EvaluationProtocol(small_corpus, EvaluationConfig(k=n)).evaluate_validation(hasher)
    assert not any("documents: missing" in warning for warning in exact.warnings)


def test_saved_evaluation_comes_back_whole(evaluation, tmp_path):
    directory = evaluation.save(tmp_path / "evaluation")
    loaded = Evaluation.load(directory)
    assert loaded == evaluation
    for name in ("per_query", "query_codes", "database_codes", "query_labels"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(evaluation, name))
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation"]
    with pytest.raises(UsageError, match="never overwritten"):
        evaluation.save(directory)
    (directory / "per_query.npy").unlink()
    with pytest.raises(UsageError, match=r"per_query\.npy missing"):
        Evaluation.load(directory)


def test_figures_that_do_not_exist_are_null_in_json(evaluation, tmp_path):
    changed = Evaluation(**{**vars(evaluation), "metrics": {**evaluation.metrics, "distance_other": math.nan}})
    assert json.loads(changed.to_json())["metrics"]["distance_other"] is None
    assert math.isnan(Evaluation.load(changed.save(tmp_path / "e")).metrics["distance_other"])
