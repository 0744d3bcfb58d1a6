"""Two towers: where they start, what counts as a negative, and input from which they cannot learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from texthash.config import Config, CorpusConfig, Edition, SplitRule, TrainingConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.stored import META
from texthash.corpora.prepared.negatives import hard_negatives
from texthash.corpora.prepared.pairs import Queries
from texthash.errors import CorpusError, ModelMismatchError, UsageError
from texthash.experiments.experiment import Experiment
from texthash.methods.base import Progress
from texthash.methods.registry import build, get_method, methods
from texthash.methods.towers import TwoTowers
from texthash.models.encoding import activations_of, split_batches
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

BITS, WIDTH = 16, 20
NAMES = [name for name, cls in methods().items() if issubclass(cls, TwoTowers)]
SHORT = TrainingConfig(epochs=1, batch_size=64)


@pytest.fixture
def with_vectors(pair_corpus):
    """Stores vectors of documents and questions, as of an encoder with a digest; gives the name of their source."""

    def store(digest):
        folder = pair_corpus.cache / "features" / "made"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / META).write_text(json.dumps({"encoder": f"made@{digest}", "width": WIDTH}))
        for split in map(pair_corpus.split, ("train", "validation", "test")):
            for side in (split, Queries(split)):
                rng = np.random.default_rng(len(side))
                np.save(folder / f"{side.name}.npy", rng.standard_normal((len(side), WIDTH)).astype(np.float32))
        return "made"

    return store


def made(folder, rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{i}", **row}) + "\n" for i, row in enumerate(rows)))
    edition = Edition(name="e", split=SplitRule(kind="given"), min_df=1, max_df=1.0)
    config = CorpusConfig(name="made", path=str(path), edition=edition, shards=1)
    return PreparedCorpus.open(prepare_corpus(config, StateDir(folder / "home")))


def test_towers_start_from_the_iterative_quantization_of_the_documents(pair_corpus):
    method = build("bpr", pair_corpus.shape, BITS)
    method.start(pair_corpus.train)
    assert torch.equal(method.query_tower.weight, method.document_tower.weight)
    itq = fit(
        build("itq", pair_corpus.shape, BITS, {"weighting": method.weighting}), pair_corpus.train, TrainingConfig()
    ).method
    ours, theirs = (activations_of(m, split_batches(m, pair_corpus.validation)) for m in (method, itq))
    assert ((ours > 0) == (theirs > 0)).float().mean() > 0.9, "the same up to the number of iterations"


def test_every_document_that_answers_a_question_is_known(pair_corpus, tmp_path):
    words = ["apple", "bread", "cloud", "drink", "earth", "flame"]
    rows = [{"text": f"{w} {v}", "split": "train", "queries": ["which apple", w]} for w in words for v in words]
    rows += [{"text": "apple", "split": split, "queries": ["what"]} for split in ("validation", "test")]
    corpus = made(tmp_path, rows)
    method = build("bpr", corpus.shape, 8)
    method.setup(corpus.train)
    texts = [row["text"] for table in Queries(corpus.train).documents() for row in table.to_pylist()]
    seen = 0
    for seed in range(3):
        for batch in batches(corpus.train, 12, method.inputs, shuffle_seed=seed):
            _, _, answers = method.pairs(batch, Progress(step=0, total=1))
            documents = [*batch.rows.tolist(), *batch.negative.rows.tolist()]
            for i, question in enumerate(batch.query.rows.tolist()):
                expected = [texts[question] in rows[row]["queries"] for row in documents]
                assert answers[i].tolist() == expected
                seen += texts[question] == "which apple"
    assert seen > 10, "which all documents answer"


@pytest.mark.parametrize("name", NAMES)
def test_pairs_of_which_no_question_has_a_negative_are_learned(name, tmp_path):
    """Every question has words of its own document alone, so that BM25 finds no other."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        own = [f"word{chr(97 + number % 26)}{chr(97 + number // 26)}{i}".replace("0", "x") for i in "xyz"]
        split = ("train", "train", "train", "validation", "test")[number % 5]
        rows.append({"text": " ".join([*own, f"common{chr(97 + rng.integers(9))}"]), "split": split})
        rows[-1]["queries"] = [own[0]]
    corpus = made(tmp_path, rows)
    assert (hard_negatives(corpus.train, 3) == -1).all()
    result = fit(build(name, corpus.shape, 8), corpus.train, TrainingConfig(epochs=2, batch_size=16))
    assert all(np.isfinite(value) for report in result.history for value in report.terms.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_question_without_a_known_word_is_encoded_and_learned_from(name, tmp_path):
    trees = ["oak", "elm", "fir", "ash", "yew", "box", "bay", "fig"]
    rows = [
        {"text": f"{one} {two} tree", "split": split, "queries": ["zzz"] if one == two else []}
        for one in trees
        for two in trees
        for split in ("train", "validation", "test")
    ]
    corpus = made(tmp_path, rows)
    method = fit(build(name, corpus.shape, 8), corpus.train, SHORT).method
    codes = Hasher.of(method, corpus).encode_split(Queries(corpus.validation), "query")
    assert codes.shape == (8, 1)
    assert (codes == codes[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_without_questions_is_refused(name, small_corpus, tmp_path):
    with pytest.raises(CorpusError, match="has no queries: the corpus is not a pair corpus") as error:
        fit(build(name, small_corpus.shape, BITS), small_corpus.train, SHORT)
    assert "queries" in error.value.remedy


@pytest.mark.parametrize("name", NAMES)
def test_vectors_have_to_be_there_and_of_the_encoder_of_the_model(name, pair_corpus, with_vectors):
    with pytest.raises(UsageError, match=rf"input=features: {name} reads vectors, and the corpus has none"):
        build(name, pair_corpus.shape, BITS, {"input": "features"})
    source = with_vectors("a1b2c3d4e5f6")
    shape = pair_corpus.shape_with(source)
    for read in ("features", "both"):
        method = fit(build(name, shape, BITS, {"input": read}), pair_corpus.train, SHORT).method
        hasher = Hasher.of(method, pair_corpus)
        for split, role in ((pair_corpus.validation, "document"), (Queries(pair_corpus.validation), "query")):
            assert hasher.encode_split(split, role).shape == (len(split), BITS // 8)
    with_vectors("f6e5d4c3b2a1")
    with pytest.raises(ModelMismatchError, match="vectors by made@f6e5d4c3b2a1, not by made@a1b2c3d4e5f6"):
        hasher.encode_split(pair_corpus.validation)


def test_an_experiment_reports_recall_of_the_answers(pair_corpus, tmp_path):
    method = {"name": "bpr", "bits": 32, "params": {"tower_epochs": 1, "epochs": 2, "batch_size": 64}}
    config = Config().derive(corpus=pair_corpus.manifest.config.model_dump(), method=method)
    study = Experiment(config, StateDir(tmp_path), pair_corpus)
    model = study.train(0)
    found = study.evaluate(model, test=False)["validation"]
    assert found.main == "recall_at_100"
    assert found.metrics["recall_at_100"] == pytest.approx(model.validation)
    assert found.metrics["recall_at_100"] > 1.5 * 100 / found.metrics["documents"]


def test_cards_say_what_stands_in_for_the_papers_encoder():
    assert NAMES
    for name in NAMES:
        card = get_method(name).card
        assert card.fidelity in ("code, other encoder", "reconstructed")
        assert card.supervision == "pairs"
        assert any("not trained" in d or "frozen" in d for d in card.deviations)
