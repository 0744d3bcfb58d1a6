"""Methods that project words, vectors of the documents, or both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import VECTORS
from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.errors import TexthashError, UsageError
from texthash.hamming.codes import unpack
from texthash.methods.base import HashMethod
from texthash.methods.itq import itq_rotation, rotated_components
from texthash.methods.registry import build
from texthash.models.encoding import activations_of
from texthash.models.hasher import Hasher
from texthash.nn.spectral import principal_components
from texthash.training.loop import fit

METHODS = ("itq", "lsh", "pcah", "sign")
BITS = 16


def fitted(corpus: PreparedCorpus, name: str, bits: int = BITS, **params: object) -> HashMethod:
    return fit(build(name, corpus.shape_with(VECTORS), bits, params), corpus.train, TrainingConfig()).method


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def features_of(corpus: PreparedCorpus, split: str) -> np.ndarray:
    return unit(np.array(corpus.split(split).dense(VECTORS), np.float64))


@pytest.mark.parametrize("read", ["words", "features", "both"])
@pytest.mark.parametrize("name", METHODS)
def test_what_was_learned_is_what_is_loaded(
    vector_corpus: PreparedCorpus, name: str, read: str, tmp_path: Path
) -> None:
    hasher = Hasher.of(fitted(vector_corpus, name, input=read), vector_corpus)
    again = Hasher.load(hasher.save(tmp_path / "model"))
    assert again.method.shape.encoder == VECTORS
    split = vector_corpus.validation
    codes = hasher.encode_split(split)
    np.testing.assert_array_equal(again.encode_split(split), codes)
    texts = [text for table in split.documents() for text in table["text"].to_pylist()]
    vectors = np.array(split.dense(VECTORS))
    given = None if read == "words" else vectors
    np.testing.assert_array_equal(again.binarize(again.read(texts, features=given).values), codes)
    if read == "features":
        np.testing.assert_array_equal(again.encode_vectors(vectors), codes)
        # The length of a vector does not matter, nor do the other vectors of the call.
        np.testing.assert_array_equal(again.encode_vectors(vectors[:1] * 1e3), codes[:1])


@pytest.mark.parametrize("read", ["words", "features", "both"])
def test_the_seed_and_nothing_else_decides(vector_corpus: PreparedCorpus, read: str) -> None:
    for name in METHODS:
        one, two = (fitted(vector_corpus, name, input=read) for _ in range(2))
        for key, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[key]), (name, key)


def test_pcah_and_itq_of_vectors_are_those_of_the_plain_formulas(vector_corpus: PreparedCorpus) -> None:
    train, queries = features_of(vector_corpus, "train"), features_of(vector_corpus, "validation")
    centre = train.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((train - centre).T))
    leading = vectors[:, ::-1][:, :BITS]
    expected = (queries - centre) @ leading
    found = values_of(fitted(vector_corpus, "pcah", input="features"), vector_corpus)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)

    directions, offset = principal_components(train.astype(np.float32), BITS)
    rotation, _ = itq_rotation(train.astype(np.float32) @ directions - offset, 50)
    found = values_of(fitted(vector_corpus, "itq", input="features"), vector_corpus)
    np.testing.assert_allclose(found, (queries @ directions - offset) @ rotation, atol=1e-4)


def values_of(method: HashMethod, corpus: PreparedCorpus, split: str = "validation") -> np.ndarray:
    return activations_of(method, batches(corpus.split(split), 64, method.inputs)).numpy()


def test_the_first_block_is_rotated_as_if_nothing_followed(vector_corpus: PreparedCorpus) -> None:
    rows = features_of(vector_corpus, "train").astype(np.float32)
    whole, centre = rotated_components(rows, 16, 20, [0] * 8 + [1] * 8)
    part, own = rotated_components(rows, 8, 20)
    np.testing.assert_allclose(whole[:, :8], part, atol=1e-5)
    np.testing.assert_allclose(centre[:8], own, atol=1e-5)
    np.testing.assert_allclose(whole.T @ whole, np.eye(16), atol=1e-4)


@pytest.mark.parametrize("center", [True, False])
def test_sign_is_the_sign(vector_corpus: PreparedCorpus, center: bool) -> None:
    train, queries = features_of(vector_corpus, "train"), features_of(vector_corpus, "validation")
    cut = train.mean(axis=0) if center else np.zeros(24)
    method = fitted(vector_corpus, "sign", 24, input="features", center=center)
    codes = Hasher.of(method, vector_corpus).encode_split(vector_corpus.validation)
    np.testing.assert_array_equal(unpack(codes), queries > cut)
    prefix = fitted(vector_corpus, "sign", 8, input="features", center=center)
    codes = Hasher.of(prefix, vector_corpus).encode_split(vector_corpus.validation)
    np.testing.assert_array_equal(unpack(codes), queries[:, :8] > cut[:8])


def test_sign_of_words_is_of_the_most_frequent(vector_corpus: PreparedCorpus) -> None:
    method = fitted(vector_corpus, "sign", 8, center=False)
    order = np.argsort(-vector_corpus.vocabulary.document_frequency, kind="stable")[:8]
    has = vector_corpus.validation.matrix("counts")[:, order].toarray() > 0
    np.testing.assert_array_equal(unpack(Hasher.of(method, vector_corpus).encode_split(vector_corpus.validation)), has)


def test_both_is_the_weighted_mean_of_two_cosines(vector_corpus: PreparedCorpus) -> None:
    share = 0.3
    method = build("pcah", vector_corpus.shape_with(VECTORS), BITS, {"input": "both", "feature_share": share})
    rows = method.rows_of(vector_corpus.validation)
    words = unit(vector_corpus.validation.matrix(method.inputs.weighting).toarray().astype(np.float64))
    features = features_of(vector_corpus, "validation")
    expected = (1 - share) * words @ words.T + share * features @ features.T
    np.testing.assert_allclose((rows @ rows.T).toarray(), expected, atol=1e-5)
    weights = torch.cat(method.projection.weights).numpy()
    np.testing.assert_allclose(values_of(method, vector_corpus), rows @ weights, atol=1e-4)


def test_codes_of_vectors_find_what_the_vectors_find(vector_corpus: PreparedCorpus) -> None:
    train, queries = features_of(vector_corpus, "train"), features_of(vector_corpus, "validation")
    exact = np.argsort(-(queries @ train.T), axis=1)[:, :50]
    hits = {}
    for read in ("words", "features", "both"):
        hasher = Hasher.of(fitted(vector_corpus, "itq", input=read), vector_corpus)
        codes = [unpack(hasher.encode_split(split)) for split in (vector_corpus.train, vector_corpus.validation)]
        near = np.argsort((codes[1][:, None] != codes[0][None]).sum(axis=2), axis=1, kind="stable")[:, :50]
        hits[read] = np.mean([len({*a} & {*b}) for a, b in zip(near, exact, strict=True)]) / 50
    assert min(hits["features"], hits["both"]) > 1.5 * hits["words"]
    assert hits["features"] > 0.4


def test_what_cannot_be_is_refused(vector_corpus: PreparedCorpus, small_corpus: PreparedCorpus) -> None:
    shape = vector_corpus.shape_with(VECTORS)
    with pytest.raises(UsageError, match=r"itq reads vectors, and the corpus has none") as error:
        build("itq", small_corpus.shape, BITS, {"input": "features"})
    assert "column:NAME" in error.value.remedy
    with pytest.raises(UsageError, match="32 bits are more than the 24 coordinates") as error:
        build("sign", shape, 32, {"input": "features"})
    assert "24 bits or fewer" in error.value.remedy
    with pytest.raises(UsageError, match="4 coordinates"):
        build(
            "sign", CorpusShape(vocabulary=9, labels=0, documents=9, dense=4, encoder="npy:x"), 8, {"input": "features"}
        )
    with pytest.raises(TexthashError, match="32 principal components cannot be computed"):
        fit(build("itq", shape, 32, {"input": "features"}), vector_corpus.train, TrainingConfig())
    fitted(vector_corpus, "itq", 24, input="features")  # as many as the vectors are wide


def test_vectors_are_checked_and_texts_without_one_refused(vector_hasher: Path, small_hasher: Path) -> None:
    hasher = Hasher.load(vector_hasher)
    vectors = np.ones((3, 24), np.float32)
    for wrong, message in (
        (np.ones((3, 23)), "vectors of 23 numbers, the model has learned from vectors of 24"),
        (np.ones(24), r"of shape \(24,\)"),
        ([[1.0] * 24, [1.0] * 23], "no table of numbers"),
        (np.array([["a"] * 24]), "no table of numbers"),
        (np.where(np.arange(72).reshape(3, 24) == 30, np.nan, 1), r"vectors\[1\] has nan at position 6"),
        (np.where(np.arange(72).reshape(3, 24) == 71, 1e300, 1), r"vectors\[2\] has inf at position 23"),
        (vectors * [[1], [0], [1]], r"vectors\[1\] is zero"),
    ):
        with pytest.raises(UsageError, match=message):
            hasher.encode_vectors(wrong)
    with pytest.raises(UsageError, match=r"vectors of your own \(column:embedding\)"):
        hasher.encode(["a text"])
    with pytest.raises(UsageError, match="3 vectors for 2 texts"):
        hasher.read(["a", "b"], features=vectors)
    with pytest.raises(UsageError, match="has not learned from vectors"):
        Hasher.load(small_hasher).encode_vectors(vectors)
    assert hasher.read(["", " ", "a"], features=vectors).known.all()


def test_a_model_of_words_beside_vectors_needs_the_text(vector_corpus: PreparedCorpus) -> None:
    hasher = Hasher.of(fitted(vector_corpus, "itq"), vector_corpus)
    vectors = np.ones((1, 24), np.float32)
    with pytest.raises(UsageError, match="reads words"):
        hasher.encode_vectors(vectors)
    read = hasher.read(["sort an array"], features=vectors, vectors="features")
    np.testing.assert_allclose(read.vectors, unit(vectors))
