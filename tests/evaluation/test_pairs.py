"""A pair corpus from its documents to figures: methods learn from documents, questions are asked of all of them."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from texthash.config import Config, CorpusConfig, Edition, EvaluationConfig, SplitRule, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.pairs import Queries
from texthash.corpora.readers import pycode
from texthash.evaluation.baselines.cosine import float_cosine_reference
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.relevance import judged_queries
from texthash.evaluation.results import Evaluation
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.reporting.plots import precision_figure
from texthash.reporting.report import ReportedRun, report
from texthash.training.loop import fit

CONFIG = EvaluationConfig(k=100, curve=(1, 10, 100))
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def pair_corpus(tmp_path_factory):
    """Functions of scikit-learn and what they say they do; one question is asked of documents of several splits."""
    folder = tmp_path_factory.mktemp("pairs")
    documents = list(pycode.documents_in(pycode.package_folders(), packages=("sklearn",)))[:600]
    rows = folder / "rows.jsonl"
    with rows.open("w") as file:
        for number, document in enumerate(documents):
            queries = [*document.queries, *(["Whatever this does."] if number % 3 == 0 else [])]
            queries = [] if number % 20 == 1 else queries
            row = {"id": document.id, "text": document.text, "labels": document.labels, "queries": queries}
            file.write(json.dumps(row) + "\n")
    edition = Edition(split=SplitRule(kind="random"), vocabulary_size=2000, token_pattern=r"(?u)[^\W\d_]{2,}")
    config = CorpusConfig(name="functions", path=str(rows), edition=edition, shards=2)
    return PreparedCorpus.open(prepare_corpus(config, StateDir(folder / "home")))


def fitted(corpus, name, bits, **training):
    protocol = EvaluationProtocol(corpus, CONFIG)
    result = fit(
        build(name, corpus.shape, bits), corpus.train, TrainingConfig(**training), validate=protocol.validator()
    )
    return result, Hasher.of(result.method, corpus)


@pytest.mark.parametrize(("name", "training"), [("lsh", {}), ("itq", {}), ("nash", {"epochs": 2})])
def test_a_method_trains_on_documents_and_is_judged_by_questions(pair_corpus, name, training):
    protocol = EvaluationProtocol(pair_corpus, CONFIG)
    result, hasher = fitted(pair_corpus, name, 64, **training)
    found = protocol.evaluate_validation(hasher)
    assert protocol.metric == found.main == "recall_at_100"
    assert found.metrics["recall_at_100"] == pytest.approx(result.best_validation, abs=1e-12)
    assert len(found.database_codes) == sum(pair_corpus.manifest.documents.values()) == found.metrics["documents"]
    chance = 100 / found.metrics["documents"]
    assert found.metrics["recall_at_100"] > 1.5 * chance
    names = [f"{metric}_at_{k}" for metric in ("recall", "hit") for k in (1, 10, 100)] + ["mrr"]
    for metric in names:
        low, middle, high = (found.metrics[metric + edge] for edge in ("_worst", "", "_best"))
        assert 0 <= low <= middle <= high <= 1
    assert protocol.evaluate_test_once(hasher, name).split == "test"


def test_who_asks_what_of_whom(pair_corpus):
    texts, ids, asked = {}, [], {}
    for split in map(pair_corpus.split, SPLITS):
        ids += split.ids
        asked[split.name] = [row for table in Queries(split).documents() for row in table.to_pylist()]
        for row in asked[split.name]:
            texts.setdefault(row["text"], []).append(row["id"])
    for name, earlier in (("validation", ["train"]), ("test", ["train", "validation"])):
        found = judged_queries(pair_corpus, name)
        known = {row["text"] for split in earlier for row in asked[split]}
        wanted = list(dict.fromkeys(row["text"] for row in asked[name] if row["text"] not in known))
        assert [asked[name][row]["text"] for row in found.query_rows] == wanted
        assert "Whatever this does." not in wanted
        assert found.left_out == (f"Questions of {name} left out, since earlier splits have them too: 1.",)
        indptr, relevant = found.relevance.queries
        for place, text in enumerate(wanted):
            assert {ids[i] for i in relevant[indptr[place] : indptr[place + 1]]} == set(texts[text])
    train = judged_queries(pair_corpus, "train")
    whatever = [asked["train"][row]["text"] for row in train.query_rows].index("Whatever this does.")
    indptr, relevant = train.relevance.queries
    assert {ids[i] for i in relevant[indptr[whatever] : indptr[whatever + 1]]} == set(texts["Whatever this does."])
    assert len(texts["Whatever this does."]) > 100


def test_figures_equal_a_plain_count_of_ranks(pair_corpus):
    """8-bit codes are all ties: every rank of a question's bucket is equally likely."""
    _, hasher = fitted(pair_corpus, "itq", 8)
    found = EvaluationProtocol(pair_corpus, CONFIG).evaluate_validation(hasher)
    database = np.concatenate([hasher.encode_split(pair_corpus.split(name)) for name in SPLITS])
    ids = [id_ for name in SPLITS for id_ in pair_corpus.split(name).ids]
    rows = [row for table in Queries(pair_corpus.validation).documents() for row in table.to_pylist()]
    rows = [row for row in rows if row["text"] != "Whatever this does."]
    codes = hasher.encode([row["text"] for row in rows], role="query")
    reciprocal, first, hundred = [], [], []
    for row, code in zip(rows, codes, strict=True):
        distance = np.unpackbits(code ^ database, axis=1).sum(axis=1)
        own = distance[ids.index(row["id"])]
        nearer, tied = int((distance < own).sum()), int((distance == own).sum())
        ranks = np.arange(nearer + 1, nearer + tied + 1)
        reciprocal.append((1 / ranks).mean())
        first.append((ranks <= 1).mean())
        hundred.append((ranks <= 100).mean())
    assert found.metrics["queries"] == len(rows)
    assert found.metrics["mrr"] == pytest.approx(np.mean(reciprocal), abs=1e-12)
    assert found.metrics["recall_at_1"] == pytest.approx(np.mean(first), abs=1e-12)
    assert found.metrics["recall_at_100"] == pytest.approx(np.mean(hundred), abs=1e-12)
    np.testing.assert_array_equal(found.query_codes, codes)


def test_both_roles_are_asked_for(pair_corpus):
    _, hasher = fitted(pair_corpus, "lsh", 16)
    asked = []

    class Spy:
        def encode_split(self, split, role="document"):
            asked.append((split.name, role, len(split)))
            return hasher.encode_split(split, role)

    EvaluationProtocol(pair_corpus, CONFIG).validate(Spy())
    documents = [(name, "document", len(pair_corpus.split(name))) for name in SPLITS]
    assert sorted(asked) == sorted([("validation-queries", "query", len(Queries(pair_corpus.validation))), *documents])


def test_the_validator_travels(pair_corpus):
    result, _ = fitted(pair_corpus, "lsh", 16)
    validator = pickle.loads(pickle.dumps(EvaluationProtocol(pair_corpus, CONFIG).validator()))
    assert validator(result.method) == pytest.approx(result.best_validation, abs=1e-12)


def test_an_evaluation_is_kept_and_reported(pair_corpus, tmp_path):
    protocol = EvaluationProtocol(pair_corpus, CONFIG)
    evaluations = [protocol.evaluate_validation(fitted(pair_corpus, "lsh", bits)[1]) for bits in (8, 16)]
    saved = Evaluation.load(evaluations[0].save(tmp_path / "evaluation"))
    assert saved == evaluations[0]
    assert saved.measure == "recall"
    runs = [ReportedRun("lsh", one, Config(), label_names=pair_corpus.label_names) for one in evaluations]
    page = report(runs)
    assert "recall@100 [worst, best]" in page.html
    assert "MRR" in page.markdown
    assert "documents of all splits" in page.markdown
    assert "P@100" not in page.markdown
    assert f"{saved.metrics['recall_at_100']:.4f}" in page.markdown
    assert any("earlier splits have them too: 1" in text for text in saved.warnings)
    axes = precision_figure({"one": saved}).axes[0]
    assert axes.get_ylabel() == "recall at k"
    assert page.save(tmp_path / "report").exists()


def test_the_float_reference_is_recall_too(pair_corpus, monkeypatch):
    monkeypatch.setattr("texthash.evaluation.baselines.cosine._CELLS", 20_000)  # several blocks
    found = judged_queries(pair_corpus, "validation")
    database = np.concatenate([split.matrix().toarray() for split in found.database])
    similarity = found.queries.matrix()[found.query_rows].toarray() @ database.T
    indptr, relevant = found.relevance.queries
    own = similarity[np.arange(len(similarity)), relevant[indptr[:-1]]][:, None]
    assert (np.diff(indptr) == 1).all()
    nearer, tied = (similarity > own + 1e-6).sum(axis=1), (np.abs(similarity - own) <= 1e-6).sum(axis=1)
    expected = np.clip((100 - nearer) / tied, 0, 1).mean()
    assert float_cosine_reference(pair_corpus, k=100) == pytest.approx(expected, abs=2e-3)
