"""ITQ: real values of queries, which are centred by half of the mean, and words taught by vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from texthash.config import TrainingConfig
from texthash.errors import UsageError
from texthash.io.records import DIGEST
from texthash.methods.registry import build
from texthash.models.files import RECORD, WEIGHTS
from texthash.models.hasher import Hasher
from texthash.models.query_encoder import QueryEncoder
from texthash.training.loop import fit

TEXTS = ["sort the values of an array", "read a table from a file"]


@pytest.fixture(scope="module")
def hasher(small_corpus):
    return Hasher.of(
        fit(build("itq", small_corpus.shape, 16), small_corpus.train, TrainingConfig()).method, small_corpus
    )


def test_half_of_the_projected_mean_is_added_to_the_centred_values(hasher, small_corpus):
    values = hasher.read(TEXTS, role="query").values
    mean = np.asarray(hasher.method.rows_of(small_corpus.train).mean(axis=0)).ravel()
    projected = mean @ torch.cat(hasher.method.projection.weights).numpy()
    centred = hasher.pre_threshold_margins(values)
    np.testing.assert_allclose(hasher.query_values(values), centred + projected / 2, atol=1e-5)
    np.testing.assert_array_equal(hasher.binarize(values), np.packbits(centred > 0, axis=1))


def test_saved_models_keep_it_and_those_of_earlier_versions_centre_queries_as_documents(hasher, tmp_path):
    saved = hasher.save(tmp_path / "model")
    expected = hasher.query_values(hasher.read(TEXTS, role="query").values)
    for texts in (TEXTS, TEXTS * 40):  # a few are encoded by numpy
        np.testing.assert_allclose(QueryEncoder.open(saved).read(texts).margins[:2], expected, atol=1e-5)
    weights = load_file(saved / WEIGHTS)
    del weights["kept_mean"]
    save_file(weights, saved / WEIGHTS)
    record = json.loads((saved / RECORD).read_text())
    for member in ("files", DIGEST):
        record.pop(member, None)
    (saved / RECORD).write_text(json.dumps(record))
    earlier = Hasher.load(saved)
    values = earlier.read(TEXTS, role="query").values
    np.testing.assert_array_equal(earlier.query_values(values), earlier.pre_threshold_margins(values))
    np.testing.assert_allclose(QueryEncoder.open(saved).read(TEXTS).margins, earlier.query_values(values), atol=1e-5)


def test_words_taught_by_vectors_follow_their_products_without_an_encoder(encoded_shape, small_corpus, tmp_path):
    method = build("itq", encoded_shape, 16, {"teacher": "features"})
    assert not method.reads_features
    hasher = Hasher.of(fit(method, small_corpus.train, TrainingConfig()).method, small_corpus)
    plain = Hasher.of(fit(build("itq", encoded_shape, 16), small_corpus.train, TrainingConfig()).method, small_corpus)
    vectors = small_corpus.train.dense(encoded_shape.encoder)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    products = (vectors - vectors.mean(axis=0)) @ (vectors - vectors.mean(axis=0)).T

    def values_of(model):
        projection = model.method.projection
        words = small_corpus.train.matrix(model.method.inputs.weighting)
        return words @ projection.weight.numpy() + projection.bias.numpy()

    def agreement(model):
        values = values_of(model)
        return np.corrcoef((values @ values.T).ravel(), products.ravel())[0, 1]

    assert agreement(hasher) > agreement(plain) + 0.1
    assert abs((values_of(hasher) > 0).mean(axis=0) - 0.5).max() < 0.01, "as many ones as zeros"
    saved = hasher.save(tmp_path / "model")
    values = hasher.read(TEXTS, role="query").values
    np.testing.assert_allclose(QueryEncoder.open(saved).read(TEXTS).margins, hasher.query_values(values), atol=1e-5)


def test_a_teacher_needs_vectors_and_an_input_of_words(encoded_shape, small_corpus):
    with pytest.raises(UsageError, match=r"method\.params\.teacher=features: itq learns from vectors"):
        build("itq", small_corpus.shape, 16, {"teacher": "features"})
    with pytest.raises(UsageError, match="which input=both reads"):
        build("itq", encoded_shape, 16, {"teacher": "features", "input": "both"})
