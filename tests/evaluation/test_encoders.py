"""Codes cut from a sentence encoder's vectors, their cosine, and models that read another corpus."""

from __future__ import annotations

import numpy as np
import pytest

from texthash.config import EvaluationConfig
from texthash.errors import CorpusError, UsageError
from texthash.evaluation.baselines.cosine import float_cosine, float_cosine_reference
from texthash.evaluation.baselines.quantized_embeddings import QuantizedEmbeddings
from texthash.evaluation.hard_queries import worst_queries
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.experiments.cross_corpus import RawTextEncoder
from texthash.hamming.codes import unpack
from texthash.models.hasher import Hasher

WIDTH = 16


@pytest.fixture
def vectors(small_corpus, monkeypatch):
    """Vectors of each split that tell labels apart, off the origin."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((len(small_corpus.label_names), WIDTH))
    made = {}
    for name in ("train", "validation", "test"):
        labels = small_corpus.split(name).labels.argmax(axis=1).A1
        made[name] = (centres[labels] + rng.standard_normal((len(labels), WIDTH)) + 0.5).astype(np.float32)
    monkeypatch.setattr("texthash.corpora.prepared.corpus.Split.dense", lambda split, encoder: made[split.name])
    return made


def test_cuts_are_what_they_say(small_corpus, vectors):
    train, queries = vectors["train"], vectors["validation"]
    split = small_corpus.validation

    def bits(cut, count=None):
        return unpack(QuantizedEmbeddings(small_corpus, "made", cut, count).encode_split(split))

    np.testing.assert_array_equal(bits("sign"), queries > 0)
    np.testing.assert_array_equal(bits("centred_sign"), queries > train.mean(axis=0))
    np.testing.assert_array_equal(bits("prefix", 8), queries[:, :8] > 0)
    assert bits("itq", 8).shape == (len(queries), 8)
    assert (
        np.abs(unpack(QuantizedEmbeddings(small_corpus, "made", "itq", 8).quantize(train)).mean(axis=0) - 0.5).max()
        < 0.2
    )


@pytest.mark.parametrize(("cut", "bits"), [("prefix", 24), ("itq", 12), ("sign", 8)])
def test_widths_that_cannot_be_are_refused(small_corpus, vectors, cut, bits):
    with pytest.raises(UsageError, match=f"{cut} of made's {WIDTH} dimensions gives no code of {bits} bits"):
        QuantizedEmbeddings(small_corpus, "made", cut, bits)


def test_the_cosine_of_vectors_is_above_their_codes(small_corpus, vectors):
    config = EvaluationConfig(k=20, curve=(20,))
    found = float_cosine(small_corpus, 20, "validation", "made")
    train, queries = (vectors[s] / np.linalg.norm(vectors[s], axis=1)[:, None] for s in ("train", "validation"))
    nearest = np.argsort(-(queries @ train.T), axis=1)[:, :20]
    own = small_corpus.validation.labels.argmax(axis=1).A1
    hits = small_corpus.train.labels.argmax(axis=1).A1[nearest] == own[:, None]
    np.testing.assert_allclose(found, hits.mean(axis=1))
    protocol = EvaluationProtocol(small_corpus, config)
    figures = [
        protocol.validate(QuantizedEmbeddings(small_corpus, "made", cut, bits))["p_at_20"]
        for cut, bits in (("centred_sign", None), ("itq", 8), ("prefix", 8))
    ]
    assert float_cosine_reference(small_corpus, 20, "validation", "made") > max(figures) > 0.2


def test_vectors_that_were_not_made_are_named(small_corpus):
    for use in (QuantizedEmbeddings, lambda corpus, name, cut: float_cosine(corpus, 20, "validation", name)):
        with pytest.raises(CorpusError, match="no sentence vectors"):
            use(small_corpus, "made", "sign")


def test_a_model_reads_its_own_corpus_as_raw_text_alike(small_corpus, small_hasher):
    hasher = Hasher.load(small_hasher)
    codes = RawTextEncoder(hasher)
    split = small_corpus.validation
    same = (codes.encode_split(split) == hasher.encode_split(split)).all(axis=1).mean()
    assert same > 0.99
    assert (codes.documents, codes.unknown) == (len(split), 0)


def test_worst_queries_are_the_lowest_with_their_nearest_documents(small_corpus, small_hasher):
    hasher = Hasher.load(small_hasher)
    found = EvaluationProtocol(small_corpus, EvaluationConfig(k=20, curve=(20,))).evaluate_validation(hasher)
    answers = worst_queries(found, small_corpus, count=3, hits=4)
    assert [answer.figure for answer in answers] == sorted(found.per_query)[:3]
    ids = small_corpus.validation.ids
    for answer in answers:
        row = ids.index(answer.query.id)
        assert found.per_query[row] == answer.figure
        distances = np.unpackbits(found.query_codes[row] ^ found.database_codes, axis=1).sum(axis=1)
        order = np.argsort(distances, kind="stable")[:4]
        assert [hit.document.id for hit in answer.hits] == [small_corpus.train.ids[i] for i in order]
        assert [hit.distance for hit in answer.hits] == distances[order].tolist()
        for hit in answer.hits:
            assert hit.relevant == bool(set(hit.document.labels) & set(answer.query.labels))
