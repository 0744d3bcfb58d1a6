"""What is measured where no document has a label: one half of its words has to find the other."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from texthash.config import Config, CorpusConfig, EvaluationConfig, MethodConfig, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.halves import halves
from texthash.errors import UsageError
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.experiments.experiment import Experiment
from texthash.methods.registry import build
from texthash.models.encoding import encode_split
from texthash.paths import StateDir
from texthash.training.loop import fit


@pytest.fixture(scope="module")
def bare_config(small_rows, tmp_path_factory):
    """The small corpus without its labels."""
    path = tmp_path_factory.mktemp("bare") / "bare.jsonl"
    rows = [json.loads(line) for line in small_rows.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return CorpusConfig(name="bare", path=str(path), shards=2)


@pytest.fixture(scope="module")
def bare_corpus(bare_config, tmp_path_factory):
    return PreparedCorpus.open(prepare_corpus(bare_config, StateDir(tmp_path_factory.mktemp("home"))))


def words_of(split, row):
    indptr, tokens = split.tokens
    return tokens[indptr[row] : indptr[row + 1]]


def test_halves_are_all_words_of_a_document_and_the_same_each_time(bare_corpus):
    whole = bare_corpus.validation
    first, second = halves(whole)
    again, _ = halves(whole)
    assert len(first) == len(second) > 200
    for row, number in enumerate(first.rows):
        one, other, every = words_of(first, row), words_of(second, row), words_of(whole, number)
        assert len(one)
        assert len(other)
        assert sorted([*one, *other]) == sorted(every)
        assert (one == words_of(again, row)).all()
    indptr, numbers, counts = first.counts
    assert counts.sum() == len(first.tokens[1])
    assert (np.bincount(words_of(first, 3))[numbers[indptr[3] : indptr[4]]] == counts[indptr[3] : indptr[4]]).all()
    assert first.texts[3].split() == [bare_corpus.vocabulary.terms[word] for word in words_of(first, 3)]
    assert len(halves(whole, most=10)[0]) == 10


def test_the_figure_is_the_chance_of_the_other_half_to_be_among_ten(bare_corpus):
    method = fit(build("itq", bare_corpus.shape, 8), bare_corpus.train, TrainingConfig()).method
    first, second = halves(bare_corpus.validation)
    queries, others = encode_split(method, first), encode_split(method, second)
    database = np.concatenate([encode_split(method, bare_corpus.train), others])
    near = np.bitwise_count(queries[:, None] ^ database[None]).sum(axis=2)
    own = near[np.arange(len(queries)), len(bare_corpus.train) + np.arange(len(queries))][:, None]
    nearer, tied = (near < own).sum(axis=1), (near == own).sum(axis=1)
    expected = np.clip((10 - nearer) / tied, 0, 1).mean()
    protocol = EvaluationProtocol(bare_corpus)
    assert protocol.metric == "halves_hit_at_10"
    validator = pickle.loads(pickle.dumps(protocol.validator()))
    assert validator(method) == pytest.approx(expected, abs=1e-9)
    random = fit(build("lsh", bare_corpus.shape, 8), bare_corpus.train, TrainingConfig()).method
    assert validator(random) < 0.7 * expected, "codes that were fitted to the corpus find more"


def test_it_can_be_chosen_where_there_are_labels_and_only_it_where_there_are_none(small_corpus, bare_corpus):
    config = EvaluationConfig(selection_metric="halves_hit_at_10")
    method = fit(build("lsh", small_corpus.shape, 16), small_corpus.train, TrainingConfig()).method
    labelled = EvaluationProtocol(small_corpus, config)
    assert labelled.metric == "halves_hit_at_10"
    assert 0 < labelled.validator()(method) < 1
    with pytest.raises(UsageError, match=r"selection_metric=map: there is no such metric.*\n.*halves_hit_at_10"):
        EvaluationProtocol(bare_corpus, EvaluationConfig(selection_metric="map"))


def test_the_best_epoch_is_kept_logged_and_reported_without_labels(bare_config, bare_corpus, tmp_path):
    training = TrainingConfig(epochs=4, batch_size=64)
    config = Config(corpus=bare_config, method=MethodConfig(name="nash", bits=16), training=training)
    study = Experiment(config, StateDir(tmp_path), bare_corpus)
    model = study.train(0)
    figures = [epoch.validation for epoch in model.history if epoch.terms]
    assert len(figures) == 4
    assert model.validation == max(figures)
    found = study.evaluate(model, test=True)
    assert found["validation"].metrics["hit_at_10"] == pytest.approx(model.validation, abs=1e-9)
    logged = model.run._client.get_run(model.run.server_id).data.metrics
    assert logged["val/halves_hit_at_10"] == pytest.approx(model.validation, abs=1e-9)
    assert "test/halves_hit_at_10" in logged
    assert not [name for name in logged if name.endswith(("/map", "/p_at_100"))], "these rest on labels"
    page = study.report([model], model.run)
    assert "other half: recall@100" in page.with_name("report.md").read_text(encoding="utf-8")
